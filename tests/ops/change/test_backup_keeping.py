"""How many backups are kept, and which never go."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops.backup import backup_database
from ops.backup.backup_database import make_backup
from ops.backup.dump_databases import Dump, Dumped
from ops.backup.keep_backups import kept_number, prune, remove_leftovers
from ops.host.show_progress import Progress
from ops.settings import Deployment
from ops.state.track_change import begin_change, finish_change

from tests.ops.change.made_backups import deployment_at, make

AHEAD = [f"2999-01-0{day}T00:00:00Z" for day in range(1, 4)]
DAYS = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 6)]


def names(folder: Path) -> list[str]:
    return sorted(path.name[-16:-8] for path in folder.iterdir())


@pytest.fixture
def without_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dumps are made without PostgreSQL."""

    def dump(deployment: Deployment, databases: list[str], folder: Path, *_: object) -> Dumped:
        for name in databases:
            (folder / name).mkdir()
            (folder / name / "toc.dat").write_bytes(b"toc")
        return Dumped("17.10", {name: Dump(schema=1) for name in databases})

    monkeypatch.setattr(backup_database, "dump_databases", dump)
    monkeypatch.setattr(backup_database, "image_identities", lambda deployment: {})
    monkeypatch.setattr(backup_database, "database_container", lambda deployment: "id")


@pytest.mark.usefixtures("without_server")
def test_the_backup_just_made_stays_where_others_are_dated_in_the_future(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 2})
    for day in AHEAD[:2]:
        make(tmp_path / "backups", day)

    made = [make_backup(deployment, Progress(), 10, reason="backup") for _ in range(2)]

    assert all(backup.path.is_dir() for backup in made)
    assert len(list((tmp_path / "backups").iterdir())) == 4
    assert capsys.readouterr().err.splitlines()[-1] == (
        "warning: 2 backups are dated in the future (backups/clair-29990101T000000Z): "
        "not counted for backup_keep and not deleted"
    )


def test_a_backup_that_is_held_stays(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 1})
    held, *_ = [make(tmp_path / "backups", day) for day in DAYS]

    prune(deployment, held={held.name})

    assert names(tmp_path / "backups") == ["20260101", "20260105"]


def test_a_backup_dated_in_the_future_drives_out_none_and_stays(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 2})
    for day in (*DAYS[:3], *AHEAD):
        make(tmp_path / "backups", day)

    prune(deployment)

    assert names(tmp_path / "backups") == ["20260102", "20260103", "29990101", "29990102", "29990103"]


def test_backups_without_the_matcher_drive_out_no_whole_one(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, backup={"keep": 2})
    for day in DAYS[:2]:
        make(tmp_path / "backups", day)
    for day in DAYS[2:]:
        make(tmp_path / "backups", day, skipped=["matcher"])

    prune(deployment)

    assert names(tmp_path / "backups") == ["20260101", "20260102", "20260104", "20260105"]


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
    change = begin_change(
        deployment, "upgrade", "backup", backup=f"backups/{held.name}", **{"from": "4.8.0", "to": "4.9.0"}
    )
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
