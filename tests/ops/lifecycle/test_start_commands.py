"""`database`, `traefik`, `services` and `up`: what they start, in which order, and what they say when they cannot."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ops.settings import load_deployment
from ops.state.role_passwords import fits, verifier

from tests.ops.lifecycle.conftest import EVERYTHING, Clair, Result, comes_up
from tests.ops.lifecycle.fake_docker import PSQL, UP

HEALTHY = "Up 9 seconds (healthy)"


def starts(clair: Clair) -> list[list[str]]:
    """Return what each `compose up` was asked to start, options included."""
    return [call.args[call.args.index("up") + 1 :] for call in clair.docker.calls(" up --detach")]


def messages(result: Result) -> str:
    """Return standard error with times and chance taken out."""
    return re.sub(r"\(\d+\.\d s\)", "(N s)", result.err)


def test_up_starts_the_database_first_and_what_needs_it_once_it_answers(started: Clair) -> None:
    result = started("up")

    assert (result.code, result.out) == (0, "")
    assert starts(started) == [
        ["--detach", "--no-deps", "clair-database", "receiver", "traefik"],
        ["--detach", "--no-deps", "--remove-orphans", "indexer", "matcher", "notifier"],
    ]
    lines = [call.line for call in started.docker.calls()]
    kinds = [match.group() for line in lines if (match := re.search(r"\bup\b|pg_isready|psql", line))]
    # Asked as often as it takes.
    assert [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before] == [
        "up",
        "pg_isready",
        "psql",
        "up",
    ]


def test_up_tells_what_it_did(started: Clair) -> None:
    result = started("up")

    created = [f"created secrets/{name}" for name in ("psk", *_passwords())]
    told = [
        f"password set in PostgreSQL: role {role}" for role in ("postgres", "indexer", "matcher", "notifier", "ledger")
    ]
    assert messages(result).splitlines() == [*created, *told, f"healthy: {', '.join(EVERYTHING)} (N s)"]


@pytest.mark.parametrize(
    ("command", "expected", "parts"),
    [
        ("database", [["--detach", "--no-deps", "clair-database"]], ["database", "tools"]),
        ("traefik", [["--detach", "--no-deps", "traefik"]], ["traefik"]),
        (
            "services",
            [
                ["--detach", "--no-deps", "clair-database", "receiver"],
                ["--detach", "--no-deps", "indexer", "matcher", "notifier"],
            ],
            ["ca", "database", "indexer", "matcher", "notifier", "receiver", "tools"],
        ),
    ],
)
def test_each_step_starts_and_applies_its_own(
    started: Clair, command: str, expected: list[list[str]], parts: list[str]
) -> None:
    result = started(command)

    assert result.code == 0, result.err
    assert starts(started) == expected
    assert sorted(path.name for path in (started.folder / "state/applied").iterdir() if path.is_dir()) == parts


def test_passwords_reach_postgresql_as_verifiers_only(started: Clair) -> None:
    started("up")

    secrets = {name: (started.folder / "secrets" / name).read_text() for name in ("psk", *_passwords())}
    seen = "\n".join(call.line + call.input for call in started.docker.calls())
    assert not [name for name, value in secrets.items() if value in seen]
    statements = started.docker.calls("psql")[-1].input
    pairs = dict(re.findall(r"ALTER ROLE \"(\w+)\" PASSWORD '(SCRAM-SHA-256[^']+)';", statements))
    assert set(pairs) == {"postgres", "indexer", "matcher", "notifier", "ledger"}
    assert all(fits(secrets[f"database-{role.replace('postgres', 'superuser')}"], pairs[role]) for role in pairs)


def test_passwords_that_fit_are_left_alone(started: Clair) -> None:
    started("secrets")
    roles = {
        role: started.deployment.secret(f"database-{role}") for role in ("indexer", "matcher", "notifier", "ledger")
    }
    rows = [f"{role} {verifier(password, b'salt')}" for role, password in roles.items()]
    started.docker.stored_passwords(
        *rows, f"postgres {verifier(started.deployment.secret('database-superuser'), b'x')}"
    )

    result = started("up")

    assert "password set" not in result.err
    assert len(started.docker.calls(" psql ")) == 1


def test_a_deleted_secret_is_repaired_while_the_data_remains(started: Clair) -> None:
    started("secrets")
    roles = {
        role: started.deployment.secret(f"database-{role}") for role in ("indexer", "matcher", "notifier", "ledger")
    }
    rows = [f"{role} {verifier(password, b'salt')}" for role, password in roles.items()]
    started.docker.stored_passwords(*rows, f"postgres {verifier('lost', b'x')}")
    (started.folder / "secrets/database-superuser").unlink()
    (started.folder / "secrets/database-indexer").unlink()

    result = started("up")

    assert messages(result).splitlines()[:4] == [
        "created secrets/database-superuser",
        "created secrets/database-indexer",
        "password set in PostgreSQL: role postgres",
        "password set in PostgreSQL: role indexer",
    ]


def test_roles_are_set_up_by_the_rendered_script(started: Clair) -> None:
    started("database")

    script = started.docker.calls(" psql ")[0].input
    assert script.startswith((started.folder / "database/setup.sql").read_text())


def test_run_twice_up_applies_nothing_and_creates_nothing(started: Clair) -> None:
    started("up")
    before = {path: path.stat().st_ino for path in (started.folder / "state").rglob("*")}

    result = started("up")

    assert result.code == 0
    assert "created" not in result.err
    assert before == {path: path.stat().st_ino for path in (started.folder / "state").rglob("*")}


def test_without_a_bundled_receiver_nothing_waits_for_one(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("no-notifier")
    comes_up(clair, "clair-database", "indexer", "matcher", "traefik")

    result = clair("up")

    assert result.code == 0, result.err
    assert starts(clair)[0] == ["--detach", "--no-deps", "clair-database", "traefik"]


def test_services_of_the_operators_override_are_started_too(started: Clair) -> None:
    started.write("compose.override.yaml", "services: {mirror: {image: mirror}}\n")
    started.docker.on(r"compose .* config --services", "".join(f"{name}\n" for name in (*EVERYTHING, "mirror")))

    result = started("up")

    assert result.code == 0, result.err
    assert starts(started)[-1][-4:] == ["indexer", "matcher", "notifier", "mirror"]


def test_every_replica_is_waited_for(clair: Clair) -> None:
    services = clair.deployment.facts["services"]
    clair.change_facts(services={**services, "indexer": {**services["indexer"], "replicas": 2}})
    comes_up(clair)

    result = clair("up", "--timeout", "3")

    sentence = "start not finished, indexer: not healthy within 3 s\nHINT: make logs SERVICE=indexer\n"
    assert result.code == 3
    assert result.err.endswith(sentence)


@pytest.mark.parametrize(
    ("state", "status", "log", "sentence"),
    [
        (
            "running",
            "Up 1 minute (unhealthy)",
            '{"level":"info","message":"starting"}\n'
            '{"level":"error","message":"fatal error","error":"mode \\"notifier\\" requires a notifier service"}\n',
            'clair-matcher: unhealthy, fatal error: mode "notifier" requires a notifier service',
        ),
        (
            "exited",
            "Exited (1) 2 seconds ago",
            "2026/11/24 00:10:37 invalid compression type: 'none', using no compression as default\n"
            '2026/11/24 00:10:37 failed loading config: error decoding config "/config/config.yaml": unknown field "x"\n',
            'clair-matcher: exited, failed loading config: error decoding config "/config/config.yaml": unknown field "x"',
        ),
        ("exited", "Exited (137) 2 seconds ago", "", "clair-matcher: exited, its log is empty"),
    ],
    ids=["unhealthy", "exited", "silent"],
)
def test_a_service_that_fails_is_named_with_the_reason_of_its_log(
    clair: Clair, state: str, status: str, log: str, sentence: str
) -> None:
    comes_up(clair)
    rows = [(name, "running", HEALTHY) for name in EVERYTHING if name != "matcher"]
    clair.docker.containers(*rows, ("matcher", state, status), after=r"up --detach.* matcher")
    clair.docker.on(r"^logs .*id-matcher", stderr=log)

    result = clair("up")

    assert result.code == 1
    assert result.err.endswith(f"start failed, {sentence}\nHINT: make logs SERVICE=matcher\n")


def test_a_container_that_restarts_for_ever_is_given_up(clair: Clair) -> None:
    comes_up(clair)
    rows = [(name, "running", HEALTHY) for name in EVERYTHING if name != "indexer"]
    clair.docker.containers(
        *rows, ("indexer", "restarting", "Restarting (1) 1 second ago"), after=r"up --detach.* indexer"
    )
    clair.docker.on(r"^inspect .*RestartCount", "1\n")
    clair.docker.on(r"^inspect .*RestartCount", "4\n", after=r"^inspect .*RestartCount")
    clair.docker.on(r"^logs .*id-indexer", "FATAL: no\n")

    result = clair("up")

    assert result.code == 1
    assert result.err.endswith("start failed, clair-indexer: restarting, FATAL: no\nHINT: make logs SERVICE=indexer\n")


def test_a_start_ends_with_its_time_and_says_what_is_late(clair: Clair) -> None:
    comes_up(clair)
    rows = [(name, "running", HEALTHY) for name in EVERYTHING if name != "matcher"]
    clair.docker.containers(
        *rows, ("matcher", "running", "Up 2 seconds (health: starting)"), after=r"up --detach.* matcher"
    )
    clair.docker.on(r"^logs", '{"level":"warn","message":"failed to connect","error":"no route"}\n')

    result = clair("up", TIMEOUT="3")

    expected = (
        "start not finished, matcher: not healthy within 3 s; clair-matcher is starting, failed to connect: no route\n"
        "HINT: make logs SERVICE=matcher\n"
    )
    assert result.code == 3
    assert result.err.endswith(expected)


def test_what_compose_says_is_passed_on_in_words(started: Clair) -> None:
    started.docker.on(
        UP, stderr=" Network x Creating\nError response from daemon: could not find an available pool\n", code=1
    )

    result = started("traefik")

    expected = "call failed, compose up: could not find an available pool\nHINT: make check\n"
    assert result.code == 3
    assert result.err.endswith(expected)


def test_a_statement_that_postgresql_refuses_is_named_by_its_line(started: Clair) -> None:
    started.docker.on(PSQL, stderr="psql:<stdin>:7: ERROR:  permission denied to create role\nLINE 1: x\n", code=3)

    result = started("database")

    sentence = "database set-up failed, database/setup.sql: line 7: ERROR: permission denied to create role"
    assert result.code == 1
    assert result.err.endswith(f"{sentence}\nHINT: make logs SERVICE=clair-database\n")


@pytest.mark.parametrize("command", ["up", "services", "traefik", "database"])
def test_another_release_with_data_is_the_work_of_upgrade(started: Clair, command: str) -> None:
    assert started("up").code == 0
    release = started.deployment.facts["release"]
    started.change_facts(clair_release="5.0.0", release={**release, "number": 5000000})
    started.docker.on(r"^volume ls", "clair_database\n")
    count = len(starts(started))

    result = started(command)

    expected = (
        "release not applied, Clair 5.0.0: this deployment holds data of 4.9.0, which an upgrade changes after a backup\n"
        "HINT: ./clair upgrade\n"
    )
    assert (result.code, result.out, result.err) == (2, "", expected)
    assert len(starts(started)) == count
    assert load_deployment(started.folder).release == "4.9.0"


def test_another_release_without_data_is_applied(started: Clair) -> None:
    started("up")
    started.change_facts(clair_release="4.8.0")

    assert started("up").code == 0

    assert load_deployment(started.folder).release == "4.8.0"


@pytest.mark.parametrize("command", ["up", "services", "traefik", "database"])
def test_another_name_is_another_deployment(started: Clair, command: str) -> None:
    assert started("up").code == 0
    started.change_facts(deployment_name="clair-two")
    before, count = (started.folder / "state/applied/deployment.json").read_bytes(), len(starts(started))

    result = started(command)

    expected = (
        "deployment not renamed, clair to clair-two: state/ is what the containers of clair run on; another name is another "
        "deployment, in a folder of its own\nHINT: copier update --trust --defaults --data deployment_name=clair\n"
    )
    assert (result.code, result.out, result.err) == (2, "", expected)
    assert (started.folder / "state/applied/deployment.json").read_bytes() == before
    assert len(starts(started)) == count


def test_a_clone_under_another_name_starts_beside_the_first(started: Clair, tmp_path: Path) -> None:
    assert started("up").code == 0
    # What git ignores is not in a clone.
    clone = shutil.copytree(started.folder, tmp_path / "two")
    for name in ("state", "secrets"):
        shutil.rmtree(clone / name)
    second = Clair(clone, started.docker)
    second.change_facts(deployment_name="clair-two")

    assert second("up").code == 0


@pytest.mark.parametrize("command", ["up", "services", "database"])
def test_the_data_does_not_stay_behind_in_the_bundled_database(started: Clair, command: str) -> None:
    assert started("up").code == 0
    database = started.deployment.facts["database"]
    started.change_facts(database={**database, "mode": "external", "host": "db", "port": 5432})
    started.docker.on(r"^volume ls", "clair_database\n")

    result = started(command)

    expected = (
        "database_mode not changed, bundled to external: the data stays in the bundled database, and moves only as a backup "
        "that is restored in a new folder\n"
        "HINT: ./clair backup; copier update --trust --defaults --data database_mode=bundled\n"
    )
    assert (result.code, result.out, result.err) == (2, "", expected)


@pytest.mark.parametrize("command", ["up", "services", "database"])
def test_another_postgresql_major_is_the_work_of_database_upgrade(started: Clair, command: str) -> None:
    started("up")
    database = started.deployment.facts["database"]
    started.change_facts(database={**database, "version": "18"})
    started.docker.on(r"^volume ls", "clair_database\n")
    started.docker.on(r"^run .*PG_VERSION", "17\n")

    result = started(command)

    expected = "database not started, PostgreSQL 18: its data folder is of PostgreSQL 17\nHINT: make database-upgrade\n"
    assert (result.code, result.err) == (2, expected)


def test_the_data_folder_is_asked_where_nothing_is_applied(started: Clair) -> None:
    started("secrets")
    started.docker.on(r"^volume ls", "clair_database\n")
    started.docker.on(r"^run .*PG_VERSION", "16\n")

    result = started("up")

    expected = "database not started, PostgreSQL 17: its data folder is of PostgreSQL 16\nHINT: make database-upgrade\n"
    assert (result.code, result.err) == (2, expected)
    assert not (started.folder / "state/applied").exists()


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            "2026-11-24 00:11:26.123 UTC [1] FATAL:  database files are incompatible with server\n"
            "2026-11-24 00:11:26.123 UTC [1] DETAIL:  The data directory was initialized by PostgreSQL version 15, which "
            "is not compatible with this version 17.10.\n",
            "PostgreSQL 15",
        ),
        ("Error: in 18+, these Docker images are configured to store database data in a\n", "another major"),
        ('initdb: error: directory "/var/lib/postgresql/data" exists but is not empty\n', "another major"),
    ],
    ids=["older", "older layout", "newer layout"],
)
def test_a_data_folder_that_postgresql_itself_refuses_names_the_command_that_moves_it(
    started: Clair, log: str, found: str
) -> None:
    started("secrets")
    started.docker.containers(("clair-database", "exited", "Exited (1)"), after="up --detach")
    started.docker.on(r"^logs", stderr=log)

    result = started("database")

    expected = f"database not started, PostgreSQL 17: its data folder is of {found}\nHINT: make database-upgrade\n"
    assert result.code == 2
    assert result.err.endswith(expected)


def test_volume_of_the_rendered_major_is_found_again_where_the_state_was_lost(started: Clair) -> None:
    started("secrets")
    started.docker.on(r"^volume ls", "clair_database\nclair_database-17\n")
    started.docker.on(r"^run .*clair_database:/data.*PG_VERSION", "16\n")
    started.docker.on(r"^run .*clair_database-17:/data.*PG_VERSION", "17\n")

    assert started("up").code == 0

    overlay = json.loads((started.folder / "state/applied/overlay.json").read_text(encoding="utf-8"))
    assert overlay["volumes"] == {"database": {"name": "clair_database-17"}}


def test_two_volumes_of_the_rendered_major_are_not_guessed_between(started: Clair) -> None:
    started("secrets")
    started.docker.on(r"^volume ls", "clair_database\nclair_database-17\n")
    started.docker.on(r"^run .*PG_VERSION", "17\n")

    result = started("up")

    assert (result.code, result.err.splitlines()[-2:]) == (
        2,
        [
            "database not started, PostgreSQL 17: clair_database and clair_database-17 both hold its data, and the one "
            "that was in use must be the only one",
            "HINT: docker volume inspect --format '{{.CreatedAt}} {{.Name}}' clair_database clair_database-17",
        ],
    )


FITTING = {"indexer": 8, "matcher": 16, "notifier": 3}
NEWER = (
    "release not applied, Clair 4.9.0: the data is of a newer release, at migration matcher 17, not 16, and migrations "
    "only go up\nHINT: copier update --trust --defaults --data clair_version=newest\n"
)
OLDER = (
    "release not applied, Clair 4.9.0: the data is of an older release, at migration indexer 7, not 8, matcher 14, not 16; "
    "render that release and start it, then update and upgrade, which makes a backup\n"
    "HINT: git log -p -- ops/deployment.json | grep '\"clair_release\"'\n"
)


@pytest.fixture
def lost(started: Clair) -> Clair:
    """A project whose `state/` was lost while its data and its secrets remain."""
    started("secrets")
    started.docker.on(r"^volume ls", "clair_database\n")
    started.docker.on(r"^run .*PG_VERSION", "17\n")
    return started


@pytest.mark.parametrize("command", ["up", "services"])
@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({**FITTING, "matcher": 17}, NEWER),
        ({"indexer": 7, "matcher": 17, "notifier": 3}, NEWER),
        ({"indexer": 7, "matcher": 14, "notifier": 3}, OLDER),
    ],
    ids=["newer", "newer in one", "older"],
)
def test_data_of_another_release_is_found_where_nothing_is_applied(
    lost: Clair, command: str, versions: dict[str, int], expected: str
) -> None:
    lost.docker.migrations(**versions)

    result = lost(command)
    again = lost(command)

    assert (result.code, result.out) == (2, "")
    assert result.err.endswith(expected)
    assert again.err.endswith(expected)  # what the first one applied does not count
    assert {tuple(words) for words in starts(lost)} == {("--detach", "--no-deps", "clair-database")}
    assert not (lost.folder / "state/applied/indexer").exists()


@pytest.mark.parametrize("first", ["traefik", "database"])
def test_starting_a_part_first_does_not_hide_data_of_another_release(lost: Clair, first: str) -> None:
    lost.docker.migrations(**{**FITTING, "matcher": 17})

    assert lost(first).code == 0
    result = lost("up")

    assert result.code == 2
    assert result.err.endswith(NEWER)


def test_the_release_that_ran_is_named_by_its_containers(lost: Clair) -> None:
    lost.docker.migrations(**{**FITTING, "matcher": 17})
    lost.docker.on(r"^inspect --format \{\{.Config.Image", "quay.io/projectquay/clair:5.0.1\n" * 3)

    result = lost("up")

    assert result.err.endswith(
        "release not applied, Clair 4.9.0: the data is of 5.0.1, at migration matcher 17, not 16, and migrations only go "
        "up\nHINT: copier update --trust --defaults --data clair_version=5.0.1\n"
    )


@pytest.mark.parametrize("versions", [FITTING, {"indexer": 0, "matcher": 0, "notifier": 0}], ids=["same", "empty"])
def test_data_that_fits_is_started_and_the_release_counts_as_applied(lost: Clair, versions: dict[str, int]) -> None:
    lost.docker.migrations(**versions)

    result = lost("up")

    assert result.code == 0, result.err
    assert (lost.folder / "state/applied/deployment.json").exists()
    assert starts(lost)[-1][-3:] == ["indexer", "matcher", "notifier"]


def test_databases_that_cannot_be_read_are_not_taken_for_empty(lost: Clair) -> None:
    lost.docker.on(r"bash -s$", stderr="psql: error: no such database\n", code=2)

    result = lost("up")

    assert result.code == 3
    assert "database unreadable, indexer: psql: error: no such database\n" in result.err
    assert not (lost.folder / "state/applied/deployment.json").exists()


def test_images_that_are_missing_are_pulled_for_the_architecture_before_anything_starts(started: Clair) -> None:
    started.docker.on(r"^image inspect", code=1)

    result = started("up")

    images = sorted(
        started.deployment.facts["images"][name] for name in ("clair", "clair-database", "receiver", "traefik")
    )
    pulls = sorted(call.args for call in started.docker.calls("pull --quiet"))
    assert pulls == [["pull", "--quiet", "--platform", "linux/amd64", image] for image in images]
    lines = [call.line for call in started.docker.calls()]
    first_start = next(i for i, line in enumerate(lines) if " up --detach" in line)
    assert all(i < first_start for i, line in enumerate(lines) if line.startswith("pull"))
    assert f"pulling {', '.join(images)}" in result.err
    assert result.err.count("pulled ") == len(images)


def test_an_image_that_cannot_be_had_stops_before_anything_is_applied(started: Clair) -> None:
    started.docker.on(r"^image inspect .*clair:", code=1)
    started.docker.on(r"^pull", stderr='Error response from daemon: Get "https://quay.io/v2/": no such host\n', code=1)

    result = started("up")

    expected = (
        'image not available, quay.io/projectquay/clair:4.9.0: Get "https://quay.io/v2/": no such host\n'
        "HINT: make images lists all; docker load --input FILE brings them in without a registry\n"
    )
    assert result.code == 3
    assert result.err.endswith(expected)
    assert not (started.folder / "state/applied").exists()


def test_one_failed_check_is_the_whole_answer(started: Clair) -> None:
    started("secrets")
    started.docker.info(MemTotal=2 * 1024**3)

    result = started("up")

    expected = (
        "memory too small, this host: 2.0 GiB, and deployment_size small needs 8 GiB\nHINT: ALLOW_SMALL=1 ./clair up\n"
    )
    assert (result.code, result.err) == (1, expected)
    assert starts(started) == []


def test_a_small_host_is_a_warning_on_request(started: Clair) -> None:
    started("secrets")
    started.docker.info(MemTotal=2 * 1024**3)

    result = started("up", ALLOW_SMALL="1")

    assert result.code == 0
    assert result.err.startswith(
        "warning: memory too small, this host: 2.0 GiB, and deployment_size small needs 8 GiB\n"
    )


def test_several_failed_checks_are_all_told(started: Clair) -> None:
    started("secrets")
    started.docker.info(MemTotal=2 * 1024**3, NCPU=1)

    result = started("up")

    lines = result.err.splitlines()
    assert result.code == 1
    assert lines[0].startswith("memory too small") and lines[2].startswith("too few CPUs")
    assert lines[-2:] == ["not started, clair: 2 checks failed, see above", "HINT: make check"]


def test_a_daemon_that_is_down_is_undecided(started: Clair) -> None:
    started("secrets")
    down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
    started.docker.on(r".", stderr=down, code=1)

    result = started("up")

    expected = "docker unreachable, its daemon: not running\nHINT: sudo systemctl start docker\n"
    assert (result.code, result.err) == (3, expected)


def test_a_missing_docker_is_the_only_finding(started: Clair) -> None:
    started("secrets")

    result = started("up", DOCKER="no-such-docker")

    assert result.code == 2
    assert result.err.splitlines()[0] == "docker missing, no-such-docker: command not found"


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_a_timeout_that_is_no_time_is_refused(clair: Clair, value: str) -> None:
    result = clair("up", f"--timeout={value}")

    sentence = f"wrong use, clair up: argument --timeout: '{value}' is no number of seconds above 0"
    assert (result.code, result.err) == (2, f"{sentence}\nHINT: ./clair up --help\n")


def test_a_flag_wins_over_the_environment(started: Clair) -> None:
    assert started("up", "--timeout", "30", TIMEOUT="soon").code == 0


def test_an_empty_variable_counts_as_unset(started: Clair) -> None:
    assert started("up", TIMEOUT="", ALLOW_SMALL="").code == 0


class TestExternalDatabase:
    """The database is somebody else's: nothing is started, and what it must learn is printed."""

    @pytest.fixture
    def external(self, clair_of: Callable[[str], Clair]) -> Clair:
        """A project with an external database whose passwords are in place."""
        clair = clair_of("external-database")
        comes_up(clair, "indexer", "matcher", "notifier", "receiver", "traefik")
        for role in ("indexer", "matcher", "notifier", "ledger"):
            clair.write(f"secrets/database-{role}", f"own-word-of-{role}")
        clair("secrets")
        answers = {"indexer": "t|f", "matcher": "t|t", "notifier": "t|f", "ledger": "f|t"}
        self.answers(clair, {role: (0, text) for role, text in answers.items()})
        return clair

    @staticmethod
    def answers(clair: Clair, rows: dict[str, tuple[int, str]]) -> None:
        """Make the tool container answer."""
        lines = [f"{role}\t{code}\t{text}\n" for role, (code, text) in rows.items()]
        clair.docker.on(r"run --rm .*database-client", "".join(lines), script="uuid-ossp")

    def test_database_checks_and_starts_nothing(self, external: Clair) -> None:
        result = external("database")

        assert result.code == 0, result.err
        assert starts(external) == []
        assert messages(result).endswith("database ready (N s)\n")

    def test_up_starts_the_rest(self, external: Clair) -> None:
        result = external("up")

        assert result.code == 0, result.err
        assert starts(external) == [
            ["--detach", "--no-deps", "receiver", "traefik"],
            ["--detach", "--no-deps", "--remove-orphans", "indexer", "matcher", "notifier"],
        ]

    def test_data_of_another_release_is_found_before_anything_starts(self, external: Clair) -> None:
        external.docker.migrations(**{**FITTING, "matcher": 17})

        result = external("up")

        assert (result.code, result.err) == (2, NEWER)
        assert starts(external) == []
        assert not (external.folder / "state/applied/deployment.json").exists()

    def test_its_data_does_not_stay_behind_there(self, external: Clair) -> None:
        assert external("up").code == 0
        external.change_facts(database={**external.deployment.facts["database"], "mode": "bundled"})

        result = external("up")

        assert result.code == 2
        assert result.err.startswith("database_mode not changed, external to bundled: the data stays in the external")
        assert result.err.endswith(
            "HINT: ./clair backup; copier update --trust --defaults --data database_mode=external\n"
        )

    def test_no_password_is_in_the_script_or_the_arguments(self, external: Clair) -> None:
        external("database")

        assert "own-word" not in "".join(call.line + call.input for call in external.docker.calls())

    def test_a_missing_password_is_made_and_the_sql_printed(self, external: Clair) -> None:
        external("database")
        (external.folder / "secrets/database-indexer").unlink()

        result = external("up")

        host = external.deployment.facts["database"]["host"]
        assert result.code == 2
        assert result.err == (
            "created secrets/database-indexer\n"
            f"database not prepared, {host}: it does not know the new secrets/database-indexer before its administrator "
            "has run the SQL above\nHINT: ./clair up\n"
        )
        assert result.out.startswith((external.folder / "database/setup.sql").read_text())
        verifiers = dict(re.findall(r"ALTER ROLE \"(\w+)\" PASSWORD '([^']+)';", result.out))
        assert set(verifiers) == {"indexer", "matcher", "notifier", "ledger"}
        assert fits(external.deployment.secret("database-indexer"), verifiers["indexer"])
        assert external.deployment.secret("database-indexer") not in result.out

    def test_the_sql_can_be_printed_again(self, external: Clair) -> None:
        result = external("database", "--print-sql")

        assert (result.code, result.err) == (0, "")
        assert result.out.count("ALTER ROLE") == 5
        assert external.docker.calls() == []

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('FATAL:  password authentication failed for user "matcher"', "wrong password, or no such role"),
            ('FATAL:  database "matcher" does not exist', "no such database"),
            ('FATAL:  no pg_hba.conf entry for host "10.0.0.2"', "the server's pg_hba.conf lets this host not in"),
            (
                "server does not support SSL, but SSL was required",
                "the server speaks no TLS, and database_sslmode asks for it",
            ),
            ("SSL error: certificate verify failed", "its certificate is signed by no CA known here"),
            (
                'server certificate for "a" does not match host name "b"',
                "its certificate is for another host name",
            ),
            ("FATAL:  something else", "FATAL:  something else"),
        ],
    )
    def test_a_role_that_cannot_log_in_is_named(self, external: Clair, text: str, reason: str) -> None:
        fine = {"indexer": (0, "t|f"), "notifier": (0, "t|f"), "ledger": (0, "f|t")}
        self.answers(external, {**fine, "matcher": (2, text)})

        result = external("database")

        where = f"{external.deployment.facts['database']['host']}:{external.deployment.facts['database']['port']}"
        assert result.code == 1
        assert result.err == (
            f"database login failed, role matcher, database matcher: {reason}\n"
            "HINT: ./clair database --print-sql\n"
            f"database check failed, {where}: 1 findings above\n"
            "HINT: ./clair database --print-sql\n"
        )

    def test_rights_and_the_extension_are_checked(self, external: Clair) -> None:
        self.answers(
            external, {"indexer": (0, "f|f"), "matcher": (0, "t|f"), "notifier": (0, "t|f"), "ledger": (0, "f|t")}
        )

        result = external("database")

        assert result.code == 1
        assert result.err.splitlines()[:4] == [
            "database right missing, role indexer, database indexer: it may not create tables",
            "HINT: as administrator: ALTER DATABASE indexer OWNER TO indexer",
            "database extension missing, database matcher: uuid-ossp",
            'HINT: as administrator, in this database: CREATE EXTENSION "uuid-ossp"',
        ]

    def test_a_server_that_does_not_answer_is_undecided_and_said_once(self, external: Clair) -> None:
        refused = 'connection to server at "10.0.0.5", port 5432 failed: Connection refused'
        self.answers(external, dict.fromkeys(("indexer", "matcher", "notifier", "ledger"), (2, refused)))

        result = external("database")

        database = external.deployment.facts["database"]
        assert result.code == 3
        assert result.err == (
            f"database unreachable, {database['host']}:{database['port']}: connection refused\n"
            f"HINT: pg_isready --host={database['host']} --port={database['port']}\n"
        )

    def test_a_client_that_does_not_run_is_no_clean_answer(self, external: Clair) -> None:
        external.docker.on(r"run --rm .*database-client", stderr="Error response from daemon: broken\n", code=1)

        result = external("database")

        assert (result.code, result.err) == (3, "call failed, compose run database-client: broken\nHINT: make check\n")


def _passwords() -> list[str]:
    return [f"database-{role}" for role in ("superuser", "indexer", "matcher", "notifier", "ledger")]


def test_the_overlay_names_no_service_that_is_not_there(started: Clair) -> None:
    started("up")

    overlay = json.loads((started.folder / "state/applied/overlay.json").read_text())
    assert set(overlay["services"]) == {"indexer", "matcher", "notifier", "receiver", "traefik"}
