"""The journal of a change: on disk before its work, unreadable is never guessed, and every other command is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops.errors import Problem
from ops.settings import Deployment
from ops.state import track_change
from ops.state.track_change import (
    advance,
    begin_change,
    finish_change,
    last_change,
    refuse_unfinished,
    turn_back,
    unfinished_change,
)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A deployment of which only the folder matters."""
    return Deployment({"deployment_name": "clair"}, tmp_path)


def test_a_step_is_on_disk_when_it_begins(deployment: Deployment) -> None:
    change = begin_change(deployment, "upgrade", "freeze", to="4.9.0")
    advance(deployment, change, "backup", backup="backups/x")

    found = unfinished_change(deployment)
    assert found is not None
    assert (found.step, found.facts) == ("backup", {"to": "4.9.0", "backup": "backups/x"})


def test_a_finished_change_is_the_last_one(deployment: Deployment) -> None:
    finish_change(deployment, begin_change(deployment, "upgrade", "thaw"))

    last = last_change(deployment)
    assert last is not None
    assert last.step == "done"
    assert unfinished_change(deployment) is None


def test_a_change_that_turns_back_is_a_rollback_of_what_it_was(deployment: Deployment) -> None:
    change = turn_back(deployment, begin_change(deployment, "database-upgrade", "load"), "close")

    assert (change.operation, change.facts["of"], change.step) == ("rollback", "database-upgrade", "close")
    assert unfinished_change(deployment) == change


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        ("upgrade", "./clair upgrade or ./clair rollback"),
        ("rollback", "./clair rollback"),
        ("database-upgrade", "./clair database-upgrade or ./clair rollback"),
        ("restore", "./clair restore"),
    ],
)
def test_other_commands_name_the_way_out(deployment: Deployment, operation: str, hint: str) -> None:
    begin_change(deployment, operation, "freeze")

    with pytest.raises(Problem) as caught:
        refuse_unfinished(deployment)

    assert caught.value.code == 2
    assert caught.value.hint == hint
    assert caught.value.sentence.endswith("it stands at step freeze")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"operation": "upgrade"}', '{"operation": "x", "id": "", "started_at": "", "step": "", "facts": {}}'])  # fmt: skip
def test_a_journal_that_cannot_be_read_stops_everything(deployment: Deployment, content: str) -> None:
    deployment.state.mkdir()
    track_change.journal_path(deployment).write_text(content, encoding="utf-8")

    with pytest.raises(Problem, match=r"journal unreadable, state/journal\.json"):
        refuse_unfinished(deployment)


def test_the_journal_is_for_its_owner_only(deployment: Deployment) -> None:
    begin_change(deployment, "upgrade", "freeze")

    assert track_change.journal_path(deployment).stat().st_mode & 0o777 == 0o600
