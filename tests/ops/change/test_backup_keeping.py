"""How many backups are kept, and which never go."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops.backup.keep_backups import kept_number, prune, remove_leftovers
from ops.state.track_change import begin_change, finish_change

from tests.ops.change.made_backups import deployment_at, make

DAYS = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 6)]


def names(folder: Path) -> list[str]:
    return sorted(path.name[-16:-8] for path in folder.iterdir())


def test_the_oldest_beyond_the_number_go(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 2})
    for day in DAYS:
        make(tmp_path / "backups", day)

    gone = prune(deployment)

    assert len(gone) == 3
    assert names(tmp_path / "backups") == ["20260104", "20260105"]


def test_another_deployments_backups_and_unknown_folders_stay(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 1})
    other = make(tmp_path / "backups", DAYS[0], deployment_name="another")
    (tmp_path / "backups" / "notes").mkdir()
    make(tmp_path / "backups", DAYS[1])
    make(tmp_path / "backups", DAYS[2])

    prune(deployment)

    assert other.is_dir()
    assert (tmp_path / "backups" / "notes").is_dir()
    assert len(list((tmp_path / "backups").iterdir())) == 3


@pytest.mark.parametrize("finished", [True, False], ids=["last change", "unfinished change"])
def test_the_backup_that_a_way_back_needs_stays(tmp_path: Path, finished: bool) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 1})
    held = make(tmp_path / "backups", DAYS[0])
    for day in DAYS[1:]:
        make(tmp_path / "backups", day)
    change = begin_change(deployment, "upgrade", "backup", backup=f"backups/{held.name}")
    if finished:
        finish_change(deployment, change)

    prune(deployment)

    assert names(tmp_path / "backups") == ["20260101", "20260105"]


def test_what_killed_runs_have_left_goes_and_nothing_else(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path)
    folder = tmp_path / "backups"
    whole = make(folder, DAYS[0])
    for name in (
        ".clair-20260101T000000Z.new",
        ".clair-20260101T000000Z.old",
        ".clair2-20260101T000000Z.new",
        ".gitkeep.new",
    ):
        (folder / name).mkdir()

    remove_leftovers(deployment)

    assert sorted(path.name for path in folder.iterdir()) == [
        ".clair2-20260101T000000Z.new",
        ".gitkeep.new",
        whole.name,
    ]


def test_without_the_answer_seven_are_kept(tmp_path: Path) -> None:
    assert kept_number(deployment_at(tmp_path)) == 7
