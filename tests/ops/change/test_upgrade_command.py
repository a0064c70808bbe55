"""`upgrade` and `rollback` as a user runs them, against a fake docker: what they refuse, and what they leave alone."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from ops.change.go_forward import steps_from
from ops.state.apply_state import apply_state
from ops.state.create_secrets import create_missing
from ops.state.track_change import begin_change

from tests.ops.lifecycle.conftest import Clair, clair, clair_of  # noqa: F401 - fixtures

SCHEMA = "indexer 8000000 7\nmatcher 16000000 13\nnotifier 8000000 3\n"


@pytest.fixture
def older(clair: Clair) -> Clair:  # noqa: F811
    """A project that runs an older release than the rendered one, with its data."""
    create_missing(clair.deployment)
    facts = clair.deployment.facts
    release = {**facts["release"], "number": 4008000, "schema": {"indexer": 7, "matcher": 13, "notifier": 3}}
    clair.change_facts(clair_release="4.8.0", release=release)
    apply_state(clair.deployment)
    clair.change_facts(clair_release=facts["clair_release"], release=facts["release"])
    clair.docker.on(r"^volume ls", "clair_database\n")
    clair.docker.healthy("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")
    clair.docker.on(r"^exec --interactive \S+ bash -s", SCHEMA)
    return clair


def test_plan_is_data_and_changes_nothing(older: Clair) -> None:
    before = sorted(path.as_posix() for path in older.folder.rglob("*"))

    result = older("upgrade", "--plan", "--json")

    assert result.code == 0
    assert json.loads(result.out)["schema"]["matcher"] == {"from": 13, "to": 16}
    assert sorted(path.as_posix() for path in older.folder.rglob("*")) == before
    assert not older.docker.calls("up --detach")


def test_without_a_terminal_and_yes_nothing_is_done(older: Clair) -> None:
    result = older("upgrade", ALLOW_SMALL="1")

    assert result.code == 2
    assert result.err.splitlines()[-2:] == [
        "not confirmed, upgrade: no terminal to ask at",
        "HINT: ./clair upgrade --yes",
    ]
    assert not older.docker.calls("up --detach")


def test_nothing_to_do_is_said_and_is_no_failure(clair: Clair) -> None:  # noqa: F811
    create_missing(clair.deployment)
    apply_state(clair.deployment)
    clair.docker.on(r"^volume ls", "clair_database\n")

    result = clair("upgrade")

    assert (result.code, result.out) == (0, "")
    assert result.err == "nothing to upgrade: clair runs Clair 4.9.0, which is what is rendered\n"


def test_nothing_to_do_is_a_document_for_a_program(clair: Clair) -> None:  # noqa: F811
    create_missing(clair.deployment)
    apply_state(clair.deployment)
    clair.docker.on(r"^volume ls", "clair_database\n")

    results = [clair("upgrade", "--json"), clair("upgrade", "--plan", "--json")]

    assert [result.code for result in results] == [0, 0]
    assert json.loads(results[0].out)["nothing_to_do"].startswith("nothing to upgrade: clair runs Clair 4.9.0")
    assert results[0].out == results[1].out


def test_steps_go_on_after_the_turn_of_a_service_that_is_rendered_no_more(older: Clair) -> None:
    older.change_facts(services=["clair-database", "traefik", "indexer", "matcher"])

    assert steps_from(older.deployment, "roll-notifier") == ["roll-traefik", "admin-post", "verify", "thaw"]
    assert steps_from(older.deployment, "roll-matcher")[:2] == ["roll-matcher", "roll-traefik"]


def test_a_deployment_that_never_started_has_nothing_to_upgrade(clair: Clair) -> None:  # noqa: F811
    result = clair("upgrade", "--yes")

    assert result.code == 2
    assert result.err == "nothing to upgrade, clair: it was never started\nHINT: ./clair up\n"


def test_an_older_release_is_refused_with_the_answer_to_go_back_to(older: Clair) -> None:
    facts = older.deployment.facts
    older.change_facts(clair_release="4.7.4", release={**facts["release"], "number": 4007004})

    for command, code in (("upgrade", 2), ("up", 2), ("check", 1)):
        result = older(command, ALLOW_SMALL="1")
        assert result.code == code
        assert result.err == (
            "release not applied, Clair 4.7.4: this deployment holds data of 4.8.0, and migrations only go up\n"
            "HINT: copier update --trust --defaults --data clair_version=4.8.0\n"
        )


def test_nothing_to_go_back_from(older: Clair) -> None:
    result = older("rollback", "--yes")

    assert result.code == 2
    assert result.err == "nothing to go back from, clair: no upgrade was made\nHINT: ./clair backup\n"


@pytest.mark.parametrize("command", ["up", "database", "traefik", "services"])
def test_starting_commands_refuse_an_unfinished_change(older: Clair, command: str) -> None:
    begin_change(older.deployment, "upgrade", "roll-indexer", **{"from": "4.8.0", "to": "4.9.0"})

    result = older(command, ALLOW_SMALL="1")

    assert result.code == 2
    assert result.err.splitlines()[-1] == "HINT: ./clair upgrade"
    assert "it stands at step roll-indexer; ./clair rollback goes back\n" in result.err


def test_an_upgrade_to_another_release_than_the_one_begun_is_refused(older: Clair) -> None:
    begin_change(older.deployment, "upgrade", "freeze", **{"from": "4.8.0", "to": "4.8.9"})

    result = older("upgrade", "--yes", ALLOW_SMALL="1")

    assert result.code == 2
    assert result.err.splitlines()[-2:] == [
        "upgrade not continued, clair: it leads to Clair 4.8.9, and 4.9.0 is rendered",
        "HINT: ./clair rollback",
    ]


def test_conflict_markers_of_an_update_stop_upgrade(older: Clair) -> None:
    text = (older.folder / "config" / "matcher" / "config.yaml").read_text(encoding="utf-8")
    older.write("config/matcher/config.yaml", f"<<<<<<< before updating\n{text}=======\n>>>>>>> after updating\n")

    result = older("upgrade", "--yes", ALLOW_SMALL="1")

    assert result.code in (1, 2)
    assert not older.docker.calls("up --detach")
    assert not (older.folder / "state" / "journal.json").exists()


def test_an_answer_that_comes_after_another_command_changed_it_is_refused(older: Clair) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-s", "-m", "ops", "upgrade", "--allow-small"],
        cwd=older.folder,
        env={**os.environ, **older.environment_of_a_command()},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    asked = ""
    while "[y/N]" not in asked and process.poll() is None:
        asked += process.stderr.read(1)
    apply_state(older.deployment)  # as the other terminal's upgrade leaves it

    os.write(ours, b"y\n")
    said = process.communicate(timeout=60)[1]

    assert process.returncode == 3
    assert said.splitlines()[-2:] == [
        "not begun, upgrade of clair: another command changed it while the question stood open",
        "HINT: ./clair upgrade",
    ]
    assert not (older.folder / "state" / "journal.json").exists()


@pytest.mark.parametrize("command", ["upgrade", "database-upgrade"])
def test_plan_of_an_unfinished_change_says_where_it_stands(older: Clair, command: str) -> None:
    volumes = {"old_volume": "clair_database", "new_volume": "clair_database-18"}
    begin_change(older.deployment, command, "freeze", **{"from": "4.8.0", "to": "4.9.0", **volumes})

    told, data = older(command, "--plan"), older(command, "--plan", "--json")

    assert (told.code, told.err, data.code) == (0, "", 0)
    assert (
        told.out == f"unfinished: {command} from 4.8.0 to 4.9.0, which stands at step freeze and goes on from there\n"
    )
    assert json.loads(data.out)["unfinished"] == {
        "operation": command,
        "from": "4.8.0",
        "to": "4.9.0",
        "step": "freeze",
    }


def test_plan_starts_nothing_and_names_the_command_that_does(older: Clair) -> None:
    older.docker.healthy("traefik")

    result = older("upgrade", "--plan")

    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "no plan, clair: its database does not run, and --plan starts nothing; without it the plan comes first too\n"
        "HINT: ./clair upgrade\n"
    )
    assert not older.docker.calls("up --detach")


def test_upgrade_starts_the_database_that_its_plan_reads(older: Clair) -> None:
    older.docker.healthy("traefik")
    older.docker.healthy("clair-database", "traefik", after="up --detach")

    result = older("upgrade", ALLOW_SMALL="1")

    assert result.err.splitlines()[-1] == "HINT: ./clair upgrade --yes"
    assert len(older.docker.calls("up --detach")) == 1


def test_too_little_disk_for_the_way_back_refuses_the_upgrade(older: Clair) -> None:
    older.docker.on(r"^exec --interactive \S+ bash -s", SCHEMA.replace("16000000", str(10**18)))

    result = older("upgrade", "--yes", ALLOW_SMALL="1")

    assert result.code == 1
    assert result.err.splitlines()[-2].startswith("disk too small, backups/, the dump: ")
    assert not (older.folder / "state" / "journal.json").exists()
