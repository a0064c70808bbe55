"""`./clair feeds-import`: what it refuses, what it remembers, and that it takes nothing for done that is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops.clair.follow_process import Outcome as Ended
from ops.feeds.read_ledger import empty_updaters, pack_dates, pack_exported_at
from ops.host.state_lock import hold_lock
from ops.packs.judge_import import ImportLog, summary
from ops.packs.read_pack import open_pack
from ops.settings import Deployment

from tests.support.places import copy_commands

from .conftest import HOUR, NAMES, ZSTD, Run, World, console, manifest

Write = Callable[..., Path]
Place = Callable[[], Deployment]

STORED = [
    console("update imported", component="m", enrichment_count="0", updater=name, vuln_count="7") for name in NAMES
]
SCORES = console("update imported", component="m", enrichment_count="11", updater="clair.cvss", vuln_count="0")
SKIPPED = [
    console("fingerprint match, skipping", component="m", updater=name) for name in NAMES if name != "clair.cvss"
]


def imported(*names: str) -> list[list[Any]]:
    """Return rows as an import leaves them: stored now, without a status."""
    return [[name, time.time(), None, None, None] for name in names]


@pytest.fixture
def offline(document: dict[str, Any], world: World) -> None:
    """A deployment without internet and an empty database, which an import fills."""
    document["feeds"] |= {"offline": True, "max_age_hours": 720}
    world.set(rows=[], rows_after=imported(*NAMES))
    world.clairctl(*STORED)


def told(text: str) -> list[str]:
    """Return a command's messages without those that say what it is about to do."""
    return [
        line
        for line in text.splitlines()
        if not line.startswith(("importing into", "limits: ")) and ": alpine, " not in line
    ]


@pytest.mark.usefixtures("offline")
def test_an_import_brings_the_feeds_in_and_shows_the_ledger(
    run: Run, world: World, pack: Write, deployment: Place
) -> None:
    path = pack()

    outcome = run("feeds-import", str(path))

    assert outcome.code == 0
    assert (world.folder / "taken").read_bytes() == ZSTD
    assert [line.split()[:2] for line in outcome.out.splitlines()[1:]] == [
        ["alpine", "fresh"],
        ["debian", "fresh"],
        ["clair.cvss", "fresh"],
    ]
    remembered = json.loads((deployment().state / "feed-pack.json").read_text(encoding="utf-8"))
    assert remembered["exported_at"] == open_pack(str(path)).manifest["exported_at"]
    assert sorted(remembered["updaters"]) == NAMES
    assert remembered["members"]["updaters.zst"]["size"] == len(ZSTD)
    assert (
        abs(time.time() - time.mktime(time.strptime(remembered["imported_at"], "%Y-%m-%dT%H:%M:%SZ")) + time.timezone)
        < 60
    )


@pytest.mark.usefixtures("offline")
def test_an_import_tells_what_the_pack_is_and_what_it_used(run: Run, pack: Write) -> None:
    path = pack()

    lines = run("feeds-import", str(path)).err.splitlines()

    date = open_pack(str(path)).manifest["exported_at"]
    assert lines[0] == (
        f"{path}: alpine, debian, scores for Clair 4.9.0, exported {date} (60 min ago), 4 updaters, 0 KiB; whole"
    )
    assert lines[1:3] == [
        "importing into the database matcher of clair",
        "limits: 4096 MiB of memory and 24 GiB of disk in its container",
    ]
    assert lines[3].startswith("imported 4 updaters, in ")
    assert lines[4:] == [f"the newest pack was exported {date}, 60 min ago"]


@pytest.mark.usefixtures("offline")
def test_clairctl_reads_the_pack_from_its_standard_input(run: Run, world: World, pack: Write) -> None:
    run("feeds-import", "--file", str(pack()))

    call = next(call for call in world.calls if "--entrypoint" in call)
    begin = call.index("run")
    words = [
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "--name",
        "clair-feeds-import",
        "--entrypoint",
        "bash",
        "feeds-import",
        "-c",
    ]
    assert call[begin : begin + len(words)] == words
    assert call[-4:] == ["clairctl", "import-updaters", "-z", "-"]


@pytest.mark.usefixtures("offline")
def test_the_same_pack_again_is_harmless_and_says_so(run: Run, world: World, pack: Write) -> None:
    path = pack()
    run("feeds-import", str(path))
    world.clairctl(*SKIPPED, SCORES)

    outcome = run("feeds-import", str(path))

    assert outcome.code == 0
    sentence = (
        "nothing new, this pack was imported before: 3 updaters were there already, clair.cvss stored once more, in "
    )
    assert any(line.startswith(sentence) for line in outcome.err.splitlines())


@pytest.mark.usefixtures("offline")
def test_an_updater_without_vulnerabilities_counts_as_loaded(
    run: Run, world: World, pack: Write, deployment: Place
) -> None:
    empty = "alpine-community-v3.18-updater"
    world.set(rows_after=imported(*(name for name in NAMES if name != empty)))
    world.clairctl(*(line for line in STORED if empty not in line))

    outcome = run("feeds-import", str(pack()))

    remembered = json.loads((deployment().state / "feed-pack.json").read_text(encoding="utf-8"))
    assert outcome.code == 0
    assert remembered["updaters"][empty]["empty"] is True
    assert "alpine      fresh" in outcome.out


@pytest.mark.parametrize(
    ("change", "sentence", "hint"),
    [
        (
            {"clair_release": "4.8.0"},
            "it is of Clair 4.8.0, this deployment runs 4.9.0",
            "./clair feeds-export where this deployment is rendered with clair_version 4.9.0",
        ),
        (
            {"kind": "backup"},
            "its manifest is not readable: it is none of a feed pack",
            "copy it again, or ./clair feeds-export where it came from",
        ),
    ],
    ids=["release", "kind"],
)
@pytest.mark.usefixtures("offline")
def test_a_refused_pack_touches_nothing(
    *, run: Run, world: World, pack: Write, deployment: Place, change: dict[str, Any], sentence: str, hint: str
) -> None:
    path = pack(**change)

    outcome = run("feeds-import", str(path))

    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"pack refused, {path}: {sentence}\nHINT: {hint}\n")
    assert world.calls == []
    assert not (deployment().state / "feed-pack.json").exists()


@pytest.mark.usefixtures("offline")
def test_a_pack_cut_short_touches_nothing(run: Run, world: World, pack: Write) -> None:
    path = pack()
    path.write_bytes(path.read_bytes()[:1000])

    outcome = run("feeds-import", str(path))

    sentence = f"pack refused, {path}: it ends after 1000 bytes, before it is complete\n"
    assert (outcome.code, outcome.err) == (
        2,
        f"{sentence}HINT: copy it again, or ./clair feeds-export where it came from\n",
    )
    assert world.calls == []


@pytest.mark.usefixtures("offline")
def test_a_database_that_does_not_answer_ends_it_before_a_byte_is_imported(
    run: Run, world: World, pack: Write, deployment: Place
) -> None:
    world.set(complaint='psql:<stdin>:5: ERROR:  relation "updater_status" does not exist')

    outcome = run("feeds-import", str(pack()))

    assert outcome.code == 3
    assert told(outcome.err) == [
        "feed ledger unreadable, database matcher: the matcher has not made its tables yet",
        "HINT: ./clair database",
    ]
    assert not any("--entrypoint" in call for call in world.calls)
    assert not (deployment().state / "feed-pack.json").exists()


RANGE = "unable to encode &claircore.Range{} into text format"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            {"lines": [STORED[0], console("", "ERR", error=RANGE)], "code": 1},
            f"clairctl ended with exit code 1: {RANGE}; 1 of 4 updaters are in",
            id="clairctl-cannot",
        ),
        pytest.param(
            {"lines": STORED[:2], "code": 137},
            "clairctl was killed, its memory limit is 4096 MiB; 2 of 4 updaters are in",
            id="memory",
        ),
        pytest.param({"lines": []}, "clairctl names no updater", id="silence"),
        pytest.param(
            {"lines": [*STORED, console("update imported", updater="debian/other", vuln_count="1")]},
            "debian/other was imported and is not in update_operation",
            id="not-in-the-database",
        ),
    ],
)
@pytest.mark.usefixtures("offline")
def test_an_import_that_is_not_complete_says_what_is_in_and_to_do_it_again(
    *, run: Run, world: World, pack: Write, deployment: Place, content: dict[str, Any], reason: str
) -> None:
    world.set(clairctl=content)
    path = pack()

    outcome = run("feeds-import", str(path))

    assert (outcome.code, outcome.out) == (3, "")
    assert told(outcome.err)[0] == f"feeds not imported completely, {path}: {reason}"
    assert not (deployment().state / "feed-pack.json").exists()


@pytest.mark.usefixtures("offline")
def test_a_clairctl_that_reads_half_of_the_pack_is_not_believed(run: Run, world: World, pack: Write) -> None:
    world.set(clairctl={"lines": STORED, "take": 10})
    # More than a pipe holds, so that the rest cannot be written.
    block = (100_000 << 3).to_bytes(3, "little") + bytes(100_000)
    last = (1 << 3 | 1).to_bytes(3, "little") + b"x"
    path = pack(content=bytes.fromhex("28b52ffd0000") + block * 20 + last)

    outcome = run("feeds-import", str(path))

    assert outcome.code == 3
    assert "it did not read all of the pack" in outcome.err


@pytest.mark.usefixtures("offline")
def test_a_family_that_is_not_in_the_database_afterwards_is_a_failure(run: Run, world: World, pack: Write) -> None:
    updaters = {name: {} for name in NAMES if not name.startswith("debian")}
    world.set(rows_after=imported(*updaters))
    world.clairctl(*(line for line in STORED if "debian" not in line))
    path = pack(updaters=updaters)

    outcome = run("feeds-import", str(path))

    assert outcome.code == 3
    assert told(outcome.err)[0] == (
        f"feeds not imported completely, {path}: debian/updater of debian is not in update_operation"
    )


@pytest.mark.usefixtures("offline")
def test_a_family_the_pack_does_not_hold_is_told(run: Run, document: dict[str, Any], pack: Write) -> None:
    document["feeds"]["families"] = ["alpine", "debian", "ubuntu", "photon"]

    outcome = run("feeds-import", str(pack()))

    assert outcome.code == 0
    assert "warning: this deployment asks for ubuntu, which the pack does not hold" in outcome.err.splitlines()
    assert "photon" not in outcome.err
    assert outcome.err.splitlines()[-1] == "not fresh yet: ubuntu never ran: the feed ubuntu/updater/* never ran"


@pytest.mark.usefixtures("offline")
def test_a_pack_from_the_future_is_told(run: Run, pack: Write) -> None:
    outcome = run("feeds-import", str(pack(exported_at="2199-01-01T00:00:00Z")))

    sentence = (
        "warning: the pack was exported 2199-01-01T00:00:00Z, after this host's time: its age will count as unknown"
    )
    assert sentence in outcome.err.splitlines()
    assert "stale" in outcome.out


@pytest.mark.usefixtures("offline")
def test_an_updater_of_an_earlier_pack_keeps_its_date(run: Run, world: World, pack: Write, deployment: Place) -> None:
    older = manifest(48)
    run(
        "feeds-import",
        str(
            pack(
                "older.tar",
                exported_at=older["exported_at"],
                updaters={key: {} for key in [*NAMES, "alpine-main-v3.4-updater"]},
            )
        ),
    )
    world.clairctl(*STORED)

    run("feeds-import", str(pack("newer.tar")))

    dates = pack_dates(deployment().state / "feed-pack.json")
    assert dates is not None
    assert 47 * HOUR < time.time() - dates["alpine-main-v3.4-updater"] < 49 * HOUR
    assert time.time() - dates["debian/updater"] < 2 * HOUR


@pytest.mark.usefixtures("offline")
def test_an_updater_skipped_without_a_fingerprint_keeps_its_date(
    run: Run, world: World, pack: Write, deployment: Place
) -> None:
    older = manifest(48)["exported_at"]
    run("feeds-import", str(pack("older.tar", exported_at=older)))
    world.set(unproven=["debian/updater", "clair.cvss"], rows=imported(*NAMES))
    world.clairctl(*SKIPPED, SCORES)
    newer = pack("newer.tar", content=ZSTD + ZSTD)

    outcome = run("feeds-import", str(newer))

    dates = pack_dates(deployment().state / "feed-pack.json")
    assert dates is not None
    assert time.time() - dates["debian/updater"] > 47 * HOUR
    assert time.time() - dates["alpine-main-v3.18-updater"] < 2 * HOUR
    assert (
        "debian/updater: the feed's server sends no fingerprint, so Clair keeps what it has; its age counts from the pack it came with"
        in outcome.err.splitlines()
    )


def test_a_pack_warms_up_a_deployment_with_internet(run: Run, world: World, pack: Write) -> None:
    world.set(rows=[], rows_after=imported(*NAMES))
    world.clairctl(*STORED)

    outcome = run("feeds-import", str(pack()))

    assert outcome.code == 0
    assert outcome.out.count(" fresh ") == 3


@pytest.mark.usefixtures("offline")
def test_an_import_waits_for_no_other_command(run: Run, world: World, pack: Write, deployment: Place) -> None:
    path = pack()
    with hold_lock(deployment(), "up"):
        outcome = run("feeds-import", str(path))

    assert outcome.code == 3
    assert told(outcome.err)[0].startswith("deployment busy, state/lock: held by `up`")
    assert not any("--entrypoint" in call for call in world.calls)


@pytest.mark.usefixtures("offline")
def test_an_interrupted_import_says_what_to_do(deployment: Place, world: World, pack: Write) -> None:
    world.set(clairctl={"lines": STORED[:1], "seconds": 60})
    root, path = deployment().root, pack()
    copy_commands(root)
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "feeds-import", str(path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 30
    while not any("--entrypoint" in call for call in world.calls) and time.monotonic() < limit:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert told(err) == [
        f"feeds not imported completely, {path}: broken off; what is in stays, the rest is missing",
        f"HINT: ./clair feeds-import {path}",
        "interrupted",
    ]
    assert world.calls[-1] == ["rm", "--force", "--volumes", "clair-feeds-import"]
    assert not (root / "state" / "feed-pack.json").exists()


@pytest.mark.parametrize(
    ("text", "date", "dates", "empty"),
    [
        pytest.param("", None, None, [], id="nothing"),
        pytest.param("[]", None, None, [], id="a-list"),
        pytest.param('{"exported_at": "2026-11-25T00:00:00Z"}', 1795564800.0, None, [], id="written-by-hand"),
        pytest.param('{"exported_at": "x", "updaters": []}', None, {}, [], id="no-updaters"),
        pytest.param('{"updaters": {"a": 1, "b": {"exported_at": "x"}}}', None, {}, [], id="no-dates"),
        pytest.param(
            '{"exported_at": "2026-11-25T00:00:00Z", "imported_at": "2026-11-25T01:00:00Z", "updaters":'
            ' {"a": {"exported_at": "2026-11-24T00:00:00Z"}, "b": {"exported_at": "2026-11-25T00:00:00Z", "empty": true}}}',
            1795564800.0,
            {"a": 1795478400.0, "b": 1795564800.0},
            ["b"],
            id="ours",
        ),
    ],
)
def test_what_is_known_of_the_imported_packs(
    tmp_path: Path, text: str, date: float | None, dates: dict[str, float] | None, empty: list[str]
) -> None:
    path = tmp_path / "feed-pack.json"
    path.write_text(text, encoding="utf-8")

    assert (pack_exported_at(path), pack_dates(path), list(empty_updaters(path))) == (date, dates, empty)


@pytest.mark.parametrize(
    ("stored", "scores", "skipped", "known", "text"),
    [
        ({"a"}, set(), set(), False, "imported 1 updater, "),
        ({"a", "b"}, {"b"}, {"c"}, False, "imported 2 updaters, 1 updaters were there already, "),
        ({"a", "b"}, {"b"}, {"c"}, True, "imported 2 updaters, 1 updaters were there already, "),
        (
            {"b"},
            {"b"},
            {"a"},
            True,
            "nothing new, this pack was imported before: 1 updaters were there already, b stored once more, ",
        ),
        (set(), set(), {"a"}, True, "nothing new, this pack was imported before: 1 updaters were there already, "),
    ],
)
def test_what_an_import_did_in_one_line(
    stored: set[str], scores: set[str], skipped: set[str], known: bool, text: str
) -> None:
    log = ImportLog()
    log.stored, log.scores, log.skipped = stored, scores, skipped

    line = summary(log, Ended(0, seconds=5.0), known)

    assert line == f"{text}in 5 s; too short to see what it used"


@pytest.mark.usefixtures("offline")
def test_scores_that_a_pack_does_not_hold_are_not_taken_for_loaded(
    run: Run, world: World, pack: Write, deployment: Place
) -> None:
    """The clairctl of 4.5 and 4.6 runs their updater and leaves them out (seen with 4.5.1)."""
    world.set(rows_after=imported(*(name for name in NAMES if name != "clair.cvss")))
    world.clairctl(*(line for line in STORED if "clair.cvss" not in line))

    outcome = run("feeds-import", str(pack()))

    dates = pack_dates(deployment().state / "feed-pack.json")
    assert outcome.code == 0
    assert "clair.cvss: the pack holds nothing of it" in outcome.err.splitlines()
    assert "clair.cvss  never ran" in outcome.out
    assert dates is not None
    assert "clair.cvss" not in dates


@pytest.mark.usefixtures("offline")
def test_a_feed_that_is_needed_by_name_cannot_be_empty(run: Run, world: World, pack: Write) -> None:
    world.set(rows_after=imported(*(name for name in NAMES if name != "debian/updater")))
    world.clairctl(*(line for line in STORED if "debian/updater" not in line))
    path = pack()

    outcome = run("feeds-import", str(path))

    assert outcome.code == 3
    assert told(outcome.err)[0] == (
        f"feeds not imported completely, {path}: debian/updater of debian is not in update_operation"
    )
