"""What is compared after a load, what is said of a run that failed, and whether there is room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ops.backup import dump_databases
from ops.backup.follow_script import Client, reason
from ops.backup.load_backup import LoadFollower
from ops.backup.measure_tables import Table, differences, from_json, parse_table, to_json
from ops.backup.read_backup import read_manifest
from ops.errors import NO, UNDECIDED, USAGE, Problem
from ops.host.show_progress import Progress

from tests.ops.change.made_backups import make

ONE = {"public.one": Table(1, "42")}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (ONE, []),
        ({}, ["table public.one is missing"]),
        ({**ONE, "public.two": Table(0, "0")}, ["table public.two is too many"]),
        ({"public.one": Table(2, "42")}, ["table public.one has 2 rows instead of 1"]),
        ({"public.one": Table(1, "-42")}, ["table public.one has other content in its 1 rows"]),
    ],
    ids=["same", "missing", "too-many", "rows", "content"],
)
def test_every_difference_is_told(found: dict[str, Table], told: list[str]) -> None:
    assert differences(ONE, found) == told


def test_a_manifest_holds_tables_as_they_were(tmp_path: Path) -> None:
    assert from_json(to_json(ONE)) == ONE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ("@table|matcher|public.vuln|12|-345", ("matcher", "public.vuln", Table(12, "-345"))),
        ('@table|matcher|public."a|b"|1|2', ("matcher", 'public."a|b"', Table(1, "2"))),
        ("@size|matcher|1|2|17.1", None),
        ("SET", None),
    ],
)
def test_a_line_of_a_measure_is_read(line: str, table: object) -> None:
    assert parse_table(line) == table


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["psql:<stdin>:3: ERROR:  relation \"x\" does not exist"], 'relation "x" does not exist'),
        (["pg_dump: error: Dumping the contents of table \"x\" failed", "FATAL:  terminating connection"],
         "terminating connection"),
        (["bash: warning", "pg_dump: error: could not write to file \"x\": No space left on device"],
         'could not write to file "x": No space left on device'),
        (["Killed"], "Killed"),
        ([], "no message"),
    ],
)  # fmt: skip
def test_of_many_lines_the_one_that_says_why_is_told(lines: list[str], told: str) -> None:
    assert reason(lines) == told


def follower(folder: Path) -> LoadFollower:
    made = LoadFollower(read_manifest(make(folder)), Progress())
    for name in ("indexer", "matcher", "notifier"):
        made.line(f"@load|{name}")
        made.line(f"@table|{name}|public.one|1|42")
        made.line(f"@loaded|{name}")
    return made


def test_a_load_of_every_row_is_good(tmp_path: Path) -> None:
    loaded = follower(tmp_path)
    loaded.line("@done")

    loaded.judge(Client(0), "restore")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("pg_restore: error: could not execute query: ERROR:  permission denied", NO),
        ('psql: error: connection to server at "clair-database" failed: Connection refused', UNDECIDED),
        ("pg_restore: error: FATAL:  terminating connection due to administrator command", UNDECIDED),
        ("pg_restore: error: could not extend file: No space left on device", USAGE),
    ],
    ids=["refused", "away", "restarted", "full"],
)
def test_a_failed_load_is_one_sentence_with_its_code(tmp_path: Path, error: str, code: int) -> None:
    loaded = follower(tmp_path)
    loaded.line("@failed|matcher")
    with pytest.raises(Problem) as raised:
        loaded.judge(Client(1, [error]), "restore")

    assert raised.value.code == code
    assert raised.value.sentence.startswith("restore failed, database matcher: ")


def test_a_run_that_ends_without_its_last_word_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="restore failed"):
        follower(tmp_path).judge(Client(0), "restore")


def test_too_little_disk_is_said_before_the_dump_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taker = dump_databases._Follower(["matcher"], tmp_path, Progress())
    taker.line("@size|matcher|9000000000|8000000000|17.10 (Debian 17.10-1)")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3 * 1024**3))
    with pytest.raises(Problem) as raised:
        taker.line("@ask")

    assert raised.value.code == USAGE
    assert raised.value.sentence == "backup not begun, backups/: 3.0 GiB free, and up to 3.8 GiB are needed"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * 1024**3))
    assert taker.line("@ask") == "go\n"


def test_the_script_ends_with_its_command_from_its_first_question_on() -> None:
    text = dump_databases.script(["indexer", "matcher"])

    assert text.index("\nguard_line\n") < text.index("psql_in indexer")
