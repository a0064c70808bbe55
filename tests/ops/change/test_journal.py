"""The journal of a change: on disk before its work, unreadable is never guessed, and every other command is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ops.change import go_back, move_database
from ops.errors import Problem
from ops.settings import Deployment
from ops.state import track_change
from ops.state.track_change import (
    STEPS,
    advance,
    begin_change,
    finish_change,
    last_change,
    refuse_unfinished,
    turn_back,
    unfinished_change,
)

MOVED = {"from": "17", "to": "18", "old_volume": "clair_database", "new_volume": "clair_database-18"}
FACTS: dict[str, dict[str, Any]] = {
    "upgrade": {"from": "4.8.0", "to": "4.9.0"},
    "rollback": {"from": "4.8.0", "to": "4.9.0"},
    "database-upgrade": MOVED,
    "restore": {"backup": "backups/x", "databases": ["indexer"], "clair": True},
}


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A deployment of which only the folder matters."""
    return Deployment({"deployment_name": "clair"}, tmp_path)


def test_a_step_is_on_disk_when_it_begins(deployment: Deployment) -> None:
    change = begin_change(deployment, "upgrade", "freeze", **FACTS["upgrade"])
    advance(deployment, change, "backup", backup="backups/x")

    found = unfinished_change(deployment)
    assert found is not None
    assert (found.step, found.facts) == ("backup", {**FACTS["upgrade"], "backup": "backups/x"})


def test_a_finished_change_is_the_last_one(deployment: Deployment) -> None:
    finish_change(deployment, begin_change(deployment, "upgrade", "thaw", **FACTS["upgrade"]))

    last = last_change(deployment)
    assert last is not None
    assert last.step == "done"
    assert unfinished_change(deployment) is None


def test_a_change_that_turns_back_is_a_rollback_of_what_it_was(deployment: Deployment) -> None:
    change = turn_back(deployment, begin_change(deployment, "database-upgrade", "load", **MOVED), "close")

    assert (change.operation, change.facts["of"], change.step) == ("rollback", "database-upgrade", "close")
    assert unfinished_change(deployment) == change


@pytest.mark.parametrize(
    ("operation", "step", "back"),
    [
        ("upgrade", "roll-indexer", "; ./clair rollback goes back"),
        ("rollback", "close", ""),
        ("database-upgrade", "freeze", "; ./clair rollback goes back"),
        ("restore", "freeze", ""),
    ],
)
def test_other_commands_name_the_way_out(deployment: Deployment, operation: str, step: str, back: str) -> None:
    begin_change(deployment, operation, step, **FACTS[operation])

    with pytest.raises(Problem) as caught:
        refuse_unfinished(deployment)

    assert caught.value.code == 2
    assert caught.value.hint == f"./clair {operation}"
    assert caught.value.sentence.endswith(f"it stands at step {step}{back}")


def journal(**changes: Any) -> str:
    """Return the text of an upgrade's journal with these changes."""
    fine = {"operation": "upgrade", "id": "1", "started_at": "now", "step": "freeze", "facts": FACTS["upgrade"]}
    return json.dumps({**fine, **changes})


DAMAGED = {
    "empty": ("", "Expecting value: line 1 column 1 (char 0)"),
    "list": ("[]", "list indices must be integers or slices, not str"),
    "cut": ('{"operation": "upgrade"}', "no 'id'"),
    "operation": (journal(operation="x"), "operation 'x'"),
    "list as operation": (journal(operation=[]), "operation []"),
    "step": (journal(step="jump"), "step 'jump' of upgrade"),
    "step of another": (journal(step="swap"), "step 'swap' of upgrade"),
    "number as step": (journal(step=3), "step 3"),
    "list as facts": (journal(facts=[]), "facts []"),
    "no facts": (journal(facts={"from": "4.8.0"}), "no 'to' in its facts"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_a_journal_that_cannot_be_read_stops_everything(deployment: Deployment, content: str, reason: str) -> None:
    deployment.state.mkdir()
    track_change.journal_path(deployment).write_text(content, encoding="utf-8")

    with pytest.raises(Problem) as caught:
        refuse_unfinished(deployment)

    assert caught.value.sentence == f"journal unreadable, state/journal.json: {reason}"
    assert (caught.value.hint, caught.value.code) == ("cat state/journal.json", 2)


def test_a_journal_that_cannot_be_opened_is_named_by_its_path(deployment: Deployment) -> None:
    track_change.journal_path(deployment).mkdir(parents=True)

    with pytest.raises(Problem, match=r"journal unreadable, state/journal\.json: Is a directory") as caught:
        refuse_unfinished(deployment)

    assert caught.value.hint == "ls -l state/journal.json"


def test_every_step_of_a_journal_is_one_that_a_command_does() -> None:
    assert set(STEPS["database-upgrade"]) == set(move_database._WORK)
    assert {*STEPS["rollback"]} - {"return"} == set(go_back._WORK)


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_a_last_change_that_cannot_be_read_is_none_with_a_warning(
    deployment: Deployment, content: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.state.mkdir()
    track_change.last_change_path(deployment).write_text(content.replace("freeze", "done"), encoding="utf-8")

    assert last_change(deployment) is None
    assert capsys.readouterr().err == (
        f"warning: journal unreadable, state/last-change.json: {reason}; there is no way back from that change\n"
    )


def test_the_journal_is_for_its_owner_only(deployment: Deployment) -> None:
    begin_change(deployment, "upgrade", "freeze", **FACTS["upgrade"])

    assert track_change.journal_path(deployment).stat().st_mode & 0o777 == 0o600
