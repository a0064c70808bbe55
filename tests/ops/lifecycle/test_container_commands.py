"""`ps`, `logs`, `restart`, `down`, `diff`, `images`, `destroy`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from ops.state.apply_state import apply_state
from ops.state.create_secrets import create_missing
from ops.state.show_diff import file_difference, mask
from ops.state.track_change import begin_change

from tests.ops.lifecycle.conftest import EVERYTHING, Clair
from tests.ops.lifecycle.fake_docker import CONTAINERS

SERVICES = ", ".join(EVERYTHING)


class TestPs:
    """`ps` answers whether everything is healthy."""

    def test_everything_healthy_is_0(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)

        result = clair("ps")

        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines()[0].split() == ["CONTAINER", "SERVICE", "HEALTH", "STATUS"]
        assert [line.split()[:3] for line in result.out.splitlines()[1:]] == [
            [f"clair-{name}", name, "healthy"] for name in EVERYTHING
        ]

    def test_what_is_missing_or_not_healthy_is_1(self, clair: Clair) -> None:
        clair.docker.containers(
            ("clair-database", "running", "Up 1 hour (healthy)"),
            ("indexer", "running", "Up 1 hour (unhealthy)"),
            ("matcher", "running", "Up 2 seconds (health: starting)"),
            ("notifier", "restarting", "Restarting (1) 2 seconds ago"),
            ("receiver", "running", "Up 1 hour"),
        )

        result = clair("ps")

        assert (result.code, result.err) == (1, "not healthy: indexer, matcher, notifier, traefik\n")

    def test_json_is_a_list(self, clair: Clair) -> None:
        clair.docker.healthy("indexer")

        rows = json.loads(clair("ps", "--json").out)

        assert rows == [
            {
                "id": "id-indexer",
                "state": "running",
                "status": "Up 9 seconds (healthy)",
                "service": "indexer",
                "name": "clair-indexer",
                "health": "healthy",
            }
        ]


class TestLogs:
    """`logs` prints the last 200 lines and ends."""

    def test_lines_of_all_containers_come_in_the_order_of_time(self, clair: Clair) -> None:
        clair.docker.healthy("indexer", "matcher")
        clair.docker.on(r"^logs .*id-indexer", "2026-01-01T00:00:01Z one\n2026-01-01T00:00:03Z three\n")
        clair.docker.on(r"^logs .*id-matcher", stderr="2026-01-01T00:00:02Z two\n")

        result = clair("logs")

        expected = "clair-indexer | one\nclair-matcher | two\nclair-indexer | three\n"
        assert (result.code, result.out, result.err) == (0, expected, "")

    def test_200_lines_are_the_limit_for_all_together(self, clair: Clair) -> None:
        clair.docker.healthy("indexer", "matcher")
        for name in ("indexer", "matcher"):
            lines = [f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z {i}\n" for i in range(200)]
            clair.docker.on(rf"^logs .*id-{name}", "".join(lines))

        lines = clair("logs").out.splitlines()

        assert len(lines) == 200
        assert lines[-1] == "clair-matcher | 199"

    @pytest.mark.parametrize("name", ["indexer", "clair-indexer"])
    def test_one_service_is_chosen_by_its_or_its_containers_name(self, clair: Clair, name: str) -> None:
        clair.docker.healthy("indexer", "matcher")

        clair("logs", SERVICE=name)

        assert [call.args[-1] for call in clair.docker.calls("logs ")] == ["id-indexer"]

    def test_the_database_goes_by_its_container_name_too(self, clair: Clair) -> None:
        clair.docker.healthy("clair-database")

        assert clair("logs", "clair-database").code == clair("logs", "database").code == 0

    def test_a_service_of_the_operators_override_is_known_by_its_container(self, clair: Clair) -> None:
        clair.docker.healthy("indexer", "mirror")
        clair.docker.on(r"^logs .*id-mirror", "2026-01-01T00:00:01Z one\n")

        assert clair("logs", "mirror").out == "clair-mirror | one\n"

    def test_an_unknown_service_lists_the_ones_there_are(self, clair: Clair) -> None:
        result = clair("logs", "indxer")

        expected = f"service unknown, indxer: choose one of {SERVICES}\nHINT: make logs SERVICE=indexer\n"
        assert (result.code, result.err) == (2, expected)

    def test_no_container_is_no_empty_answer(self, clair: Clair) -> None:
        clair.docker.containers()

        result = clair("logs", "indexer")

        assert (result.code, result.err) == (2, "no logs, indexer: no container\nHINT: make up\n")

    def test_follow_hands_over_to_compose(self, clair: Clair) -> None:
        clair.docker.on(r"compose .*logs", "clair-indexer | x\n")

        result = clair("logs", "--follow", "indexer")

        assert (result.code, result.out) == (0, "clair-indexer | x\n")
        assert clair.docker.calls("compose --project")[0].line.endswith("logs --no-color --follow --tail 200 indexer")

    def test_follow_comes_from_the_environment(self, clair: Clair) -> None:
        clair("logs", FOLLOW="1")

        assert "--follow" in clair.docker.calls("compose --project")[0].args

    @pytest.mark.parametrize("value", ["", "0", "no"])
    def test_follow_can_be_switched_off_there(self, clair: Clair, value: str) -> None:
        clair.docker.healthy("indexer")

        clair("logs", FOLLOW=value)

        assert clair.docker.calls("compose --project") == []


class TestUnfinishedChange:
    """A change that was cut short is said by `ps`, whatever it finds."""

    def test_ps_names_it_first_and_ends_as_it_would(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)
        change = begin_change(clair.deployment, "upgrade", "roll-indexer", **{"from": "4.8.0", "to": "4.9.0"})

        result = clair("ps")

        assert (result.code, result.err) == (
            0,
            f"warning: change not finished, upgrade of {change.started_at}: it stands at step roll-indexer; "
            "./clair rollback goes back\nHINT: ./clair upgrade\n",
        )

    def test_ps_works_with_a_journal_that_cannot_be_read(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING[1:])
        clair.write("state/journal.json", "{")

        result = clair("ps", "--json")

        assert result.code == 1
        assert result.err.startswith("warning: journal unreadable, state/journal.json: ")
        assert result.err.endswith("HINT: cat state/journal.json\nnot healthy: clair-database\n")
        assert len(json.loads(result.out)) == 5


class TestRestart:
    """`restart` restarts what is applied and waits."""

    def test_all_services_are_restarted(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)

        result = clair("restart")

        assert result.code == 0
        assert re.sub(r"\d+\.\d", "N", result.err) == f"restarted: {SERVICES} (N s)\n"
        assert clair.docker.calls("compose --project")[0].line.endswith("restart " + SERVICES.replace(",", ""))

    def test_in_the_middle_of_a_change_nothing_is_restarted(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)
        begin_change(clair.deployment, "upgrade", "roll-indexer", **{"from": "4.8.0", "to": "4.9.0"})

        result = clair("restart", SERVICE="indexer")

        assert result.code == 2
        assert result.err.splitlines()[-2].startswith("change not finished, upgrade of ")
        assert not clair.docker.calls("restart")

    def test_one_service_is_restarted(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)

        clair("restart", SERVICE="clair-matcher")

        assert clair.docker.calls("compose --project")[0].line.endswith("restart matcher")

    def test_a_service_of_the_operators_override_is_restarted(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING, "mirror")

        result = clair("restart", "mirror")

        assert (result.code, re.sub(r"\d+\.\d", "N", result.err)) == (0, "restarted: mirror (N s)\n")

    def test_nothing_to_restart_is_said(self, clair: Clair) -> None:
        clair.docker.containers()

        result = clair("restart", "indexer")

        assert (result.code, result.err) == (2, "nothing restarted, not running: indexer\nHINT: ./clair up\n")

    def test_where_nothing_was_ever_applied_they_are_named_at_once(self, clair: Clair) -> None:
        clair.docker.healthy("clair-database", "traefik")

        result = clair("restart")

        expected = "nothing restarted, not running: indexer, matcher, notifier, receiver\nHINT: ./clair up\n"
        assert (result.code, result.err) == (2, expected)
        assert clair.docker.calls("restart") == []

    def test_what_has_no_container_is_started_as_it_was_applied(self, clair: Clair) -> None:
        create_missing(clair.deployment)
        apply_state(clair.deployment)
        clair.docker.healthy("clair-database", "traefik")
        clair.docker.healthy(*EVERYTHING, after="up --detach")

        result = clair("restart")

        assert result.code == 0
        assert [call.line.split(" restart ")[1] for call in clair.docker.calls(" restart ")] == [
            "clair-database traefik"
        ]
        (started,) = clair.docker.calls("up --detach")
        assert started.line.endswith("up --detach --no-recreate indexer matcher notifier receiver")

    def test_a_service_that_does_not_come_back_is_named(self, clair: Clair) -> None:
        clair.docker.containers(("indexer", "running", "Up 9 seconds (unhealthy)"))
        clair.docker.on(r"^logs", "FATAL:  no\n")

        result = clair("restart", "indexer")

        assert result.code == 1
        assert result.err.endswith(
            "start failed, clair-indexer: unhealthy, FATAL:  no\nHINT: make logs SERVICE=indexer\n".replace("  ", " ")
        )


class TestDown:
    """`down` keeps all data."""

    def test_all_profiles_go_and_no_volume_does(self, clair: Clair) -> None:
        clair.docker.healthy(*EVERYTHING)

        result = clair("down")

        assert (result.code, result.out, result.err) == (0, "", "removed 6 containers; all data stays\n")
        words = clair.docker.calls("compose --project")[0].args
        assert words[words.index("--profile") + 1 :] == ["*", "down", "--remove-orphans"]

    def test_twice_is_as_good(self, clair: Clair) -> None:
        clair.docker.containers()

        assert clair("down").code == clair("down").code == 0


class TestDiff:
    """`diff` shows what `up` would apply, without secrets."""

    def test_nothing_to_apply_is_0(self, started: Clair) -> None:
        started("up")

        result = started("diff")

        assert (result.code, result.out, result.err) == (0, "", "")

    def test_a_change_is_a_unified_diff_and_1(self, started: Clair) -> None:
        started("up")
        started.write("config/indexer/config.yaml.d/own.yaml", "log_level: debug\n")

        result = started("diff")

        assert result.code == 1
        assert result.out == (
            "--- /dev/null\n+++ rendered/indexer/config.yaml.d/own.yaml\n@@ -0,0 +1 @@\n+log_level: debug\n"
        )

    def test_secrets_are_named_and_never_shown(self, started: Clair) -> None:
        started("up")
        old = {path.name: path.read_text() for path in (started.folder / "secrets").iterdir()}
        for name in ("psk", "database-indexer", "database-superuser"):
            started("secrets", "rotate", name)
        new = {path.name: path.read_text() for path in (started.folder / "secrets").iterdir()}

        result = started("diff")

        assert result.code == 1
        assert result.out.splitlines() == [
            "secret changed: database/superuser-password",
            "secret changed: indexer/config.yaml.d/zz-psk.yaml",
            "secret changed: indexer/pgpass",
            "secret changed: matcher/config.yaml.d/zz-psk.yaml",
            "secret changed: notifier/config.yaml.d/zz-psk.yaml",
            "secret changed: receiver/psk",
            "secret changed: tools/config.yaml",
            "secret changed: tools/pgpass",
        ]
        assert not [value for value in (*old.values(), *new.values()) if value in result.out]

    def test_the_key_in_an_old_releases_main_file_is_masked(self, clair_of: Callable[[str], Clair]) -> None:
        clair = clair_of("oldest-release")
        create_missing(clair.deployment)
        key = clair.deployment.secret("psk")

        result = clair("diff")

        assert result.code == 1
        assert "+++ rendered/indexer/config.yaml" in result.out
        assert key not in result.out
        assert '"key": <secret>' in result.out

    def test_before_the_secrets_are_made_it_says_so(self, clair: Clair) -> None:
        result = clair("diff")

        assert (result.code, result.err) == (
            2,
            "secret missing, secrets/database-superuser: no such file\nHINT: make secrets\n",
        )

    @pytest.mark.parametrize(
        ("text", "masked"),
        [
            ('"key": "c2VjcmV0"', '"key": <secret>'),
            ("key: c2VjcmV0c2VjcmV0c2VjcmV0", "key: <secret>"),
            ("http://user:word@proxy:3128/", "http://user:<secret>@proxy:3128/"),
            ("host=db password=word user=x", "host=db password=<secret> user=x"),
            ("routing_key: notifications", "routing_key: notifications"),
            ("http://indexer:6060/", "http://indexer:6060/"),
        ],
    )
    def test_keys_and_passwords_inside_files_are_masked(self, text: str, masked: str) -> None:
        assert mask(text) == masked

    def test_files_that_are_no_text_are_only_named(self) -> None:
        assert file_difference("ca/own.der", None, b"\xff\x00") == ["binary file differs: ca/own.der"]


class TestImages:
    """`images` lists everything that must be there, one a line."""

    def test_every_image_is_listed_once_and_docker_is_not_asked(self, clair: Clair) -> None:
        result = clair("images")

        images = sorted(set(clair.deployment.facts["images"].values()))
        assert (result.code, result.out, result.err) == (0, "".join(f"{image}\n" for image in images), "")
        assert clair.docker.calls() == []

    def test_json_tells_what_each_is_for(self, clair: Clair) -> None:
        assert json.loads(clair("images", "--json").out) == clair.deployment.facts["images"]


class TestDestroy:
    """`destroy` lists, asks for the name, and deletes by label."""

    @pytest.fixture
    def running(self, clair: Clair) -> Clair:
        """A deployment with something of every kind."""
        create_missing(clair.deployment)
        clair.write("state/applied/env", "x")
        clair.write("backups/one", "kept")
        clair.write("reports/one", "kept")
        clair.docker.on(r"^ps --all --format \{\{\.ID", "c1\tclair-indexer\nc2\tclair-database\n")
        clair.docker.on(r"^volume ls", "clair_database\tclair_database\n")
        clair.docker.on(r"^network ls", "n1\tclair_edge\n")
        return clair

    LISTING = (
        "container clair-database\ncontainer clair-indexer\nvolume clair_database\nnetwork clair_edge\n"
        "secret secrets/database-indexer\nsecret secrets/database-ledger\nsecret secrets/database-matcher\n"
        "secret secrets/database-notifier\nsecret secrets/database-superuser\nsecret secrets/psk\nfolder state/\n"
    )

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ([], "its name is needed as confirmation"),
            (["--confirm", "other"], "'other' is not its name"),
            (["--confirm", "Clair"], "'Clair' is not its name"),
            (["--confirm="], "its name is needed as confirmation"),
        ],
    )
    def test_without_the_name_everything_is_listed_and_nothing_deleted(
        self, running: Clair, words: list[str], reason: str
    ) -> None:
        result = running("destroy", *words)

        expected = f"nothing destroyed, clair: {reason}\nHINT: if this is what you intend: make destroy CONFIRM=clair\n"
        assert (result.code, result.out, result.err) == (2, self.LISTING, expected)
        assert not [call for call in running.docker.calls() if " rm" in f" {call.line}"]
        assert (running.folder / "secrets/psk").exists()

    def test_with_the_name_all_of_it_goes(self, running: Clair) -> None:
        result = running("destroy", CONFIRM="clair")

        assert (result.code, result.out) == (0, self.LISTING)
        assert result.err == "destroyed: 11 things; backups/ and reports/ stay\n"
        assert [call.line for call in running.docker.calls(" rm ")] == [
            "volume rm --force clair_database",
            "network rm n1",
        ]
        assert [call.line for call in running.docker.calls("rm --force --volumes")] == ["rm --force --volumes c1 c2"]
        assert not (running.folder / "secrets").exists()
        assert not (running.folder / "state").exists()
        assert (running.folder / "backups/one").exists()
        assert (running.folder / "reports/one").exists()

    def test_everything_is_found_by_the_label_of_this_deployment(self, running: Clair) -> None:
        running("destroy", "--confirm", "clair")

        asked = [call.line for call in running.docker.calls() if re.match(r"ps|volume ls|network ls", call.line)]
        own = ("--filter label=com.docker.compose.project=clair", "--filter label=clair.scratch=clair")
        assert all(line.endswith(own) for line in asked)

    def test_twice_is_as_good(self, clair: Clair) -> None:
        result = clair("destroy", "--confirm", "clair")

        assert (result.code, result.out, result.err) == (0, "", "destroyed: 0 things; backups/ and reports/ stay\n")
        assert not (clair.folder / "state").exists()

    def test_half_of_it_gone_is_no_failure(self, running: Clair) -> None:
        running.docker.on(r"^network rm", stderr="Error: No such network: n1\n", code=1)
        (running.folder / "compose.yaml").unlink()

        assert running("destroy", "--confirm", "clair").code == 0

    def test_what_docker_refuses_is_said_and_the_secrets_stay(self, running: Clair) -> None:
        running.docker.on(
            r"^volume rm", stderr="Error response from daemon: remove clair_database: volume is in use\n", code=1
        )

        result = running("destroy", "--confirm", "clair")

        assert result.code == 1
        assert result.err == (
            "not all destroyed, clair: Error response from daemon: remove clair_database: volume is in use\n"
            "HINT: make destroy CONFIRM=clair\n"
        )
        assert (running.folder / "secrets/psk").exists()

    def test_without_docker_nothing_is_deleted(self, running: Clair) -> None:
        running.docker.on(r".", stderr="Cannot connect to the Docker daemon\n", code=1)

        result = running("destroy", "--confirm", "clair")

        assert result.code == 3
        assert (running.folder / "secrets/psk").exists()

    def test_what_a_killed_restore_test_left_goes_too(self, running: Clair) -> None:
        running.docker.on(r"^ps --all .*label=clair\.scratch=clair", "s1\tclair-scratch-restore-test\n")

        result = running("destroy", CONFIRM="clair")

        assert "container clair-scratch-restore-test" in result.out.splitlines()
        assert [call.line for call in running.docker.calls("rm --force --volumes")] == ["rm --force --volumes c1 c2 s1"]


def test_down_removes_what_a_killed_notify_test_left_in_its_networks(clair: Clair) -> None:
    clair.docker.on(r"^ps --all --quiet --filter label=clair\.scratch=clair", "s1\n")
    clair.docker.on(r"^network ls --quiet --filter label=clair\.scratch=clair", "n9\n")

    assert clair("down").code == 0

    lines = [call.line for call in clair.docker.calls()]
    removed, gone, down = (
        next(number for number, line in enumerate(lines) if text in line)
        for text in ("rm --force --volumes s1", "network rm n9", " down ")
    )
    assert removed < gone < down

    def test_the_state_of_another_name_is_not_deleted(self, running: Clair) -> None:
        running.write(
            "state/applied/deployment.json", json.dumps({**running.deployment.facts, "deployment_name": "one"})
        )

        result = running("destroy", "--confirm", "clair")

        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("deployment not renamed, one to clair: ")
        assert (running.folder / "secrets/psk").exists()


def test_a_name_in_a_status_line_that_is_no_row_is_ignored(clair: Clair) -> None:
    clair.docker.on(CONTAINERS, "WARNING: something\n")

    assert clair("ps").code == 1
