"""A backup is taken for whole only if every byte of it is what it was; whatever else is said in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ops.backup.read_backup import Backup, backups, check_backup, newest_backup
from ops.errors import NO, USAGE, Problem

from tests.ops.change.made_backups import deployment_at, make, write_sums

FILES = ["SHA256SUMS", "manifest.json", "compose.yaml", "indexer/toc.dat", "matcher/1.dat.zst", "notifier/toc.dat"]


def refusal(path: Path) -> Problem:
    with pytest.raises(Problem) as raised:
        check_backup(path)
    return raised.value


def test_a_whole_backup_is_returned_with_what_it_holds(tmp_path: Path) -> None:
    backup = check_backup(make(tmp_path))

    assert backup.databases == ["indexer", "matcher", "notifier"]
    assert backup.schema == {"indexer": 8, "matcher": 16, "notifier": 3}
    assert backup.postgres_major == 17
    assert backup.tables("matcher")["public.one"].rows == 1


def test_sha256sum_agrees(tmp_path: Path) -> None:
    path = make(tmp_path)

    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, check=False).returncode == 0


@pytest.mark.parametrize("name", FILES)
def test_one_byte_that_changed_is_damage(tmp_path: Path, name: str) -> None:
    path = make(tmp_path)
    content = (path / name).read_bytes()
    for place in {0, len(content) // 2, len(content) - 1}:
        (path / name).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])

        problem = refusal(path)

        assert problem.code == NO
        assert problem.sentence.startswith(f"backup damaged, {path.name}: ")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_short_is_damage(tmp_path: Path, name: str) -> None:
    path = make(tmp_path)
    content = (path / name).read_bytes()
    for length in (0, len(content) - 1):
        (path / name).write_bytes(content[:length])

        assert refusal(path).code == NO


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_missing_file_is_damage_and_named(tmp_path: Path, name: str) -> None:
    path = make(tmp_path)
    (path / name).unlink()

    assert f"{name} is missing" in refusal(path).sentence


def test_a_file_too_many_is_damage(tmp_path: Path) -> None:
    path = make(tmp_path)
    (path / "indexer" / "2.dat.zst").write_bytes(b"more")

    assert refusal(path).sentence.endswith("indexer/2.dat.zst does not belong to it")


def test_sums_that_lead_out_of_the_folder_are_damage(tmp_path: Path) -> None:
    path = make(tmp_path)
    sums = path / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  ../x\n")

    assert refusal(path).sentence.endswith("SHA256SUMS is not readable")


def test_a_dump_without_its_table_of_contents_is_damage_even_if_its_sums_agree(tmp_path: Path) -> None:
    path = make(tmp_path)
    (path / "matcher" / "toc.dat").unlink()
    write_sums(path)

    assert refusal(path).sentence.endswith("matcher/toc.dat is missing")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda path: (path / "manifest.json").unlink(), "it has no manifest.json, so it is no backup"),
    ],
    ids=["gone", "no-manifest"],
)
def test_what_is_no_backup_is_wrong_use(tmp_path: Path, prepare: object, reason: str) -> None:
    path = make(tmp_path)
    prepare(path)  # type: ignore[operator]

    problem = refusal(path)

    assert (problem.code, problem.sentence) == (USAGE, f"backup not found, {path.name}: {reason}")


def test_a_file_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "dump.sql").write_text("")

    assert refusal(tmp_path / "dump.sql").sentence == "backup not found, dump.sql: a backup is a folder"


def test_a_format_of_later_is_not_guessed(tmp_path: Path) -> None:
    problem = refusal(make(tmp_path, format=2))

    assert problem.code == USAGE
    assert problem.sentence.endswith("format 2, and this command reads format 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"databases": {"postgres": {}}},
        {"databases": {"matcher": {}}},
        {"schema": {}},
        {"postgres_version": "x"},
        {"databases": []},
        {"skipped": 5},
        {"skipped": ["postgres"]},
        {"skipped": [["matcher"]]},
        {"skipped": "matcher"},
        {"made_at": [1]},
        {"made_at": "yesterday"},
        {"clair_release": 4},
        {"clair_release": "4.9.0; rm -r backups"},
        {"deployment_name": None},
        {"schema": {"indexer": float("inf"), "matcher": 16, "notifier": 3}},
    ],
    ids=str,
)
def test_a_manifest_that_says_nonsense_is_damage(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "backup"
    # Its sums agree.
    make(tmp_path / "made").rename(path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    write_sums(path)

    problem = refusal(path)

    assert (problem.code, problem.hint) == (NO, "ls backups")
    assert problem.sentence.startswith("backup damaged, backup: manifest.json ")


def test_an_edited_manifest_is_damage_whatever_it_says(tmp_path: Path) -> None:
    path = make(tmp_path)
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"format": 1', '"format": 2'))

    problem = refusal(path)

    assert problem.code == NO
    assert problem.sentence.endswith("manifest.json is not what it was when the backup was made")


def test_only_finished_backups_of_this_deployment_count_oldest_first(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path)
    folder = tmp_path / "backups"
    late, early = make(folder, "2026-03-01T00:00:00Z"), make(folder, "2026-01-01T00:00:00Z")
    make(folder, "2026-04-01T00:00:00Z", deployment_name="another")
    make(folder, "2026-05-01T00:00:00Z").rename(folder / ".clair-20260501T000000Z.new")
    (folder / "notes").mkdir()
    (make(folder, "2026-06-01T00:00:00Z") / "manifest.json").write_text("{")

    assert [backup.path for backup in backups(deployment)] == [early, late]
    newest = newest_backup(deployment)
    assert isinstance(newest, Backup)
    assert newest.path == late


def test_without_a_folder_there_is_no_backup(tmp_path: Path) -> None:
    assert newest_backup(deployment_at(tmp_path)) is None
