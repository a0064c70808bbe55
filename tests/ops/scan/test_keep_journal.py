"""Where a fleet's run stands: what is taken up again after a cut, and what is not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ops.errors import Problem
from ops.scan.keep_journal import FleetJournal

OPTIONS = {"clair_release": "4.9.0", "options": "x"}


def result(image: str, *findings: str, digest: str = "sha256:1") -> str:
    """Return a result's document."""
    found = [{"id": one, "package": "libc6", "severity": "High"} for one in findings]
    times = {"time": "2026-11-25T00:00:00Z", "index_state": "s1"}
    return json.dumps({"image": image, "digest": digest, "findings": found, **times})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a list's runs."""
    path = tmp_path / "list"
    path.mkdir()
    return path


def begun(folder: Path, options: Any = OPTIONS, restart: bool = False) -> tuple[FleetJournal, bool]:
    """Return a journal and whether its run goes on."""
    journal = FleetJournal(folder, folder.parent / "reports")
    return journal, journal.begin(options, restart)


def test_what_is_written_is_there_for_the_next_process(folder: Path) -> None:
    first, goes_on = begun(folder)
    first.write("a linux/amd64", 1, result("a", "CVE-1"))
    first.write("b linux/amd64", 3, result("b"))
    second, goes_on_again = begun(folder)

    assert (goes_on, goes_on_again) == (False, True)
    assert second.done == {"a linux/amd64": 1, "b linux/amd64": 3}
    assert second.name == first.name
    assert [one["image"] for one in second.results(["b linux/amd64", "a linux/amd64"])] == ["b", "a"]


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(b'0\tb linux/amd64\t{"image": "b', id="half a line"),
        pytest.param(b"0\tb", id="half a head"),
        pytest.param(b"\0" * 512, id="zeros"),
        pytest.param(b'0\tb linux/amd64\t{"x": "\0\0"}\n', id="zeros in a line"),
    ],
)
def test_a_torn_line_is_dropped_and_written_over(folder: Path, torn: bytes) -> None:
    first, _ = begun(folder)
    first.write("a linux/amd64", 0, result("a"))
    with (folder / "journal").open("ab") as stream:
        stream.write(torn)

    second, _ = begun(folder)
    second.write("c linux/amd64", 0, result("c"))
    third, _ = begun(folder)

    assert list(second.done) == ["a linux/amd64", "c linux/amd64"]
    assert list(third.done) == ["a linux/amd64", "c linux/amd64"]
    assert [one["image"] for one in third.results(["c linux/amd64"])] == ["c"]


@pytest.mark.parametrize(
    ("options", "restart", "age_hours"),
    [
        pytest.param({"clair_release": "4.8.0"}, False, 0, id="other options"),
        pytest.param(OPTIONS, True, 0, id="restart"),
        pytest.param(OPTIONS, False, 25, id="cut a day ago"),
        pytest.param(OPTIONS, False, -1, id="begun in the future"),
    ],
)
def test_a_run_begins_anew(folder: Path, options: Any, restart: bool, age_hours: float) -> None:
    first, _ = begun(folder)
    first.write("a linux/amd64", 0, result("a"))
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, "started_at": time.time() - age_hours * 3600}))

    second, goes_on = begun(folder, options, restart)

    assert (goes_on, second.done) == (False, {})
    assert len(list((folder.parent / "reports").iterdir())) == 1


def test_a_damaged_header_begins_anew(folder: Path) -> None:
    begun(folder)[0].write("a linux/amd64", 0, result("a"))
    (folder / "run.json").write_text("{")

    assert begun(folder)[1] is False


def test_two_runs_in_the_same_second_have_reports_of_their_own(tmp_path: Path) -> None:
    names = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        names.append(begun(tmp_path / name)[0].name)

    assert len(set(names)) == 3


def test_the_report_is_whole_and_the_last_run_is_remembered(folder: Path) -> None:
    first, _ = begun(folder)
    first.write("b linux/amd64", 0, result("b", digest="sha256:2"))
    first.write("a linux/amd64", 1, result("a", "CVE-1"))
    report = first.finish(["a linux/amd64", "b linux/amd64"])
    first.forget()
    second, goes_on = begun(folder)

    assert [json.loads(line)["image"] for line in report.read_text().splitlines()] == ["a", "b"]
    assert goes_on is False
    assert second.indexed == {"sha256:1": "s1", "sha256:2": "s1"}
    assert second.previous("a linux/amd64") == {
        "time": "2026-11-25T00:00:00Z",
        "digest": "sha256:1",
        "findings": [["CVE-1", "libc6", "High"]],
    }


def test_a_cut_between_report_and_end_does_the_same_again(folder: Path) -> None:
    first, _ = begun(folder)
    first.write("a linux/amd64", 1, result("a", "CVE-1"))
    report = first.finish(["a linux/amd64"])
    second, goes_on = begun(folder)

    assert goes_on is True
    assert second.finish(["a linux/amd64"]) == report
    assert len(list((folder.parent / "reports").iterdir())) == 1


def test_a_full_disk_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, _ = begun(folder)
    journal.write("a linux/amd64", 1, result("a"))

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ops.scan.store_lines.os.fsync", refuse)
    with pytest.raises(Problem) as refusal:
        journal.finish(["a linux/amd64"])

    assert refusal.value.sentence == f"results not written, {journal.name}.jsonl: no space left on device"
    assert refusal.value.hint == "df -h ."
