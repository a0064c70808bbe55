"""`./clair feeds-export`: a pack is whole, or there is none."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ops.clair.read_console import read_entry
from ops.clair.run_clairctl import size
from ops.errors import Problem
from ops.packs.export_feeds import plan_export
from ops.packs.judge_export import ExportLog
from ops.packs.read_pack import open_pack
from ops.settings import Deployment

from extensions.catalogue import Catalogue
from tests.ops.scan.conftest import facts
from tests.support.places import copy_commands

from .conftest import NAMES, ZSTD, Run, World, console, log_line

DONE = [console("successful update", component="m", ref="1", updater=name) for name in NAMES]
RUNNING = console("running updaters", batchSize="2", component="m", total="4")
HARMLESS = "2026/11/25 02:10:33 invalid compression type: 'none', using no compression as default"
GOOD = [HARMLESS, RUNNING, *DONE]


def told(text: str) -> list[str]:
    """Return a command's messages without what differs from run to run."""
    return [line for line in text.splitlines() if not line.startswith(("exporting ", "limits: ", "next: "))]


def test_an_export_is_a_pack_of_what_clairctl_wrote(run: Run, world: World, tmp_path: Path) -> None:
    world.clairctl(*GOOD)

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    pack = open_pack(str(tmp_path / "feeds.tar"))
    assert (outcome.code, outcome.out) == (0, f"{tmp_path}/feeds.tar\n")
    assert b"".join(pack.chunks()) == ZSTD
    assert pack.release == "4.9.0"
    assert pack.manifest["families"] == ["alpine", "debian"]
    assert pack.manifest["sets"] == ["alpine", "clair.cvss", "debian"]
    assert pack.manifest["enrichment"] is True
    assert pack.manifest["left_out"] == {}
    assert pack.manifest["template_release"] == "unknown"
    assert list(pack.manifest["updaters"]) == NAMES
    assert abs(pack.exported_at - time.time()) < 60


def test_an_export_says_what_it_does_needs_and_used(run: Run, world: World, tmp_path: Path) -> None:
    world.clairctl(*GOOD)

    lines = run("feeds-export", str(tmp_path / "feeds.tar")).err.splitlines()

    assert lines[:2] == [
        f"exporting alpine, debian, clair.cvss for Clair 4.9.0 to {tmp_path}/feeds.tar",
        "limits: 4096 MiB of memory and 24 GiB of disk in its container",
    ]
    assert lines[2].startswith("exported 4 updaters in ")
    assert lines[3:] == ["next: copy feeds.tar and run ./clair feeds-import feeds.tar"]


def test_clairctl_runs_in_its_container_without_a_secret(run: Run, world: World, tmp_path: Path) -> None:
    world.clairctl(*GOOD)

    run("feeds-export", "--file", str(tmp_path / "feeds.tar"))

    call = next(call for call in world.calls if "--entrypoint" in call)
    begin = call.index("run")
    words = ["run", "--rm", "-T", "--no-deps", "--name", "clair-clairctl", "--entrypoint", "bash", "clairctl", "-c"]
    assert call[begin : begin + len(words)] == words
    assert call[-6:] == ["clairctl", "-c", "/tmp/config.json", "export-updaters", "--strict", "-z"]
    written = json.loads((world.folder / "config.json").read_text(encoding="utf-8"))
    assert written == {"updaters": {"sets": ["alpine", "clair.cvss", "debian"], "config": {}}}
    assert world.calls[0] == world.calls[-1] == ["rm", "--force", "--volumes", "clair-clairctl"]


def test_the_template_release_is_the_answers_files(
    run: Run, world: World, deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    world.clairctl(*GOOD)
    (deployment().root / ".copier-answers.yml").write_text("# x\n_commit: v1.2.3\n_src_path: y\n", encoding="utf-8")

    run("feeds-export", str(tmp_path / "feeds.tar"))

    assert open_pack(str(tmp_path / "feeds.tar")).manifest["template_release"] == "v1.2.3"


FACTORY = "failed constructing factory, excluding from run"
REFUSED = 'alpine: error requesting "http://x/last-update": connection refused'


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param(
            [console(FACTORY, "ERR", error=REFUSED, component="m"), *GOOD],
            f"the list of feeds could not be read: {REFUSED}",
            id="set-left-out",
        ),
        pytest.param(
            [console("failed configuring updater, excluding from current run", "WRN", error="no slash", updater="x"), *GOOD],
            "an updater refuses its settings: no slash",
            id="updater-left-out",
        ),
        pytest.param(
            [console("unexpected status reported", component="alpine/Factory.UpdaterSet", status="503 Busy"), *GOOD],
            "a file of the feed was refused: 503 Busy",
            id="file-left-out",
        ),
        pytest.param([RUNNING, *DONE[:3]], "only 3 of 4 updaters succeeded", id="updater-missing"),
        pytest.param([], "no updater ran", id="silence"),
        pytest.param([console("running updaters", total="0")], "the feed alpine-main-v*-updater of alpine did not run (and 1 more)", id="nothing"),
        pytest.param(
            [console("running updaters", total="3"), *DONE[:3]], "the feed debian/updater of debian did not run", id="family-missing"
        ),
        pytest.param([*GOOD, "bufio.Scanner: token too long"], "clairctl said: bufio.Scanner: token too long", id="error-while-writing"),
    ],
)  # fmt: skip
def test_an_export_that_is_not_whole_fails_although_clairctl_exits_0(
    run: Run, world: World, tmp_path: Path, lines: list[str], reason: str
) -> None:
    world.clairctl(*lines)

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    assert (outcome.code, outcome.out) == (3, "")
    assert told(outcome.err)[-2:] == [
        f"feeds not exported, feeds.tar: {reason}",
        "HINT: ./clair feeds-export, once the feed answers",
    ]
    assert not list(tmp_path.glob("*feeds.tar*"))


ERRORS = 'updating errors:\ndebian/updater: Get "http://x": 404\nclair.cvss: timeout\n'


@pytest.mark.parametrize(
    ("lines", "content", "sentence"),
    [
        pytest.param(
            [RUNNING, *DONE[:2], console("", "ERR", error=ERRORS)],
            {"code": 1},
            'clairctl ended with exit code 1: debian/updater: Get "http://x": 404 (and 1 more)',
            id="strict",
        ),
        pytest.param(
            [RUNNING, "panic: programmer error: invalid vector constructed", "goroutine 1 [running]:"],
            {"code": 2},
            "clairctl ended with exit code 2: clairctl said: panic: programmer error: invalid vector constructed (and 1 more)",
            id="panic",
        ),
        pytest.param([RUNNING], {"code": 137}, "clairctl was killed, its memory limit is 4096 MiB", id="memory"),
    ],
)
def test_an_export_that_fails_tells_the_first_reason(
    *, run: Run, world: World, tmp_path: Path, lines: list[str], content: dict[str, Any], sentence: str
) -> None:
    world.set(clairctl={"lines": lines, "output": ZSTD.hex(), **content})

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    assert (outcome.code, outcome.out) == (3, "")
    assert told(outcome.err)[-2] == f"feeds not exported, feeds.tar: {sentence}"
    assert not list(tmp_path.glob("*feeds.tar*"))


def test_a_spool_that_grows_beyond_its_limit_ends_the_export(
    run: Run, world: World, document: dict[str, Any], tmp_path: Path
) -> None:
    document["feeds"]["tools"]["spool_gib"] = 0
    world.set(clairctl={"lines": [RUNNING], "file": 5000, "seconds": 20})

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    assert outcome.code == 3
    assert told(outcome.err) == ["feeds not exported, feeds.tar: its files grew beyond 0 GiB", "HINT: docker system df"]


def test_an_export_that_takes_too_long_is_ended(run: Run, world: World, tmp_path: Path) -> None:
    world.set(clairctl={"lines": [RUNNING], "seconds": 30})

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"), "--timeout", "1")

    assert outcome.code == 3
    assert told(outcome.err) == ["clairctl not ended, its container: the time is over", "HINT: add --timeout SECONDS"]
    assert world.calls[-1] == ["rm", "--force", "--volumes", "clair-clairctl"]
    assert not list(tmp_path.glob("*feeds.tar*"))


def test_what_clairctl_used_is_measured(run: Run, world: World, tmp_path: Path) -> None:
    world.set(clairctl={"lines": GOOD, "output": ZSTD.hex(), "file": 3 * 1024 * 1024, "seconds": 1})

    outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    assert outcome.code == 0
    assert " MiB of memory and 3.0 MiB of disk in its container" in outcome.err


def test_a_second_export_is_told_of_the_first(
    run: Run, world: World, deployment: Callable[[], Deployment], tmp_path: Path
) -> None:
    state = deployment().state
    with (state / "feeds-export.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        outcome = run("feeds-export", str(tmp_path / "feeds.tar"))

    sentence = "deployment busy, state/feeds-export.lock: another export is running\nHINT: ./clair ps\n"
    assert (outcome.code, outcome.err) == (3, sentence)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(
    deployment: Callable[[], Deployment], world: World, tmp_path: Path, number: signal.Signals
) -> None:
    world.set(clairctl={"lines": [RUNNING], "seconds": 60})
    root = deployment().root
    copy_commands(root)
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "feeds-export", str(tmp_path / "feeds.tar")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 30
    while not any("--entrypoint" in call for call in world.calls) and time.monotonic() < limit:
        time.sleep(0.05)

    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out, told(err)) == (130, "", ["interrupted"])
    assert world.calls[-1] == ["rm", "--force", "--volumes", "clair-clairctl"]
    assert not list(tmp_path.glob("*feeds.tar*"))


def feeds_of(catalogue: Catalogue, release: str, **changes: Any) -> dict[str, Any]:
    return {**facts(catalogue, release)["feeds"], **changes}


def test_what_this_release_cannot_load_is_left_out_and_named(catalogue: Catalogue) -> None:
    settings = feeds_of(catalogue, "4.8.0", families=["debian", "photon"])

    plan = plan_export(settings, {"sets": ["clair.cvss", "debian", "photon"], "config": {}})

    assert (list(plan.families), plan.sets) == (["debian"], ["debian"])
    assert plan.left_out == {
        "photon": "its address answers 403",
        "clair.cvss": "NVD removed the JSON 1.1 files in August 2025",
    }
    assert plan.config == {"updaters": {"sets": ["debian"], "config": {}}}


@pytest.mark.parametrize("name", ["clair.cvss", "photon-updater-photon2"])
def test_a_place_of_its_own_brings_a_family_back(catalogue: Catalogue, name: str) -> None:
    settings = feeds_of(catalogue, "4.8.0", families=["debian", "photon"])

    plan = plan_export(
        settings, {"sets": ["clair.cvss", "debian", "photon"], "config": {name: {"url": "http://mirror"}}}
    )

    family = "photon" if name.startswith("photon") else name
    assert family in plan.families
    assert family in plan.sets


def test_without_a_list_of_sets_only_those_asked_for_run(catalogue: Catalogue) -> None:
    plan = plan_export(
        feeds_of(catalogue, "4.9.0", families=["debian", "osv"]), {"config": {"osv": {"allowlist": ["go"]}}}
    )

    assert plan.sets == ["clair.cvss", "debian", "osv"]
    assert plan.config["updaters"]["config"] == {"osv": {"allowlist": ["go"]}}


def test_nothing_that_loads_is_no_export(catalogue: Catalogue) -> None:
    with pytest.raises(Problem) as found:
        plan_export(feeds_of(catalogue, "4.8.0", families=["photon"]), {"sets": ["photon", "clair.cvss"]})

    sentence = "feeds not exported, updater_families: none of them can be loaded by this release"
    assert (found.value.sentence, found.value.code) == (sentence, 2)


@pytest.mark.parametrize(
    ("line", "level", "message", "fields"),
    [
        (
            "\x1b[90m2026-11-25T02:10:53Z\x1b[0m \x1b[32mINF\x1b[0m \x1b[1mrunning updaters\x1b[0m \x1b[36mtotal=\x1b[0m6",
            "INF",
            "running updaters",
            {"total": "6"},
        ),
        (
            '2026-11-25T02:14:11Z ERR failed error="Get \\"https://x\\": no such host" component=m',
            "ERR",
            "failed",
            {"error": 'Get "https://x": no such host', "component": "m"},
        ),
        ('2026-11-25T02:14:11Z ERR error="a\\nb"', "ERR", "", {"error": "a\nb"}),
        ("2026-11-25T02:14:11Z INF nothing", "INF", "nothing", {}),
        ('2026-11-25T02:14:11Z INF x error="\\x1b"', "INF", "x", {"error": "\\x1b"}),
    ],
    ids=["coloured", "quoted", "no-message", "no-fields", "escape-of-go"],
)
def test_a_log_line_of_clairctl_is_read(line: str, level: str, message: str, fields: Mapping[str, str]) -> None:
    entry = read_entry(line)

    assert entry is not None
    assert (entry.level, entry.message, entry.fields) == (level, message, fields)


@pytest.mark.parametrize("line", ["", "panic: x", log_line("running updaters", 0.0, total=3), "2026-11-25 02:14 ERR x"])
def test_what_is_no_log_line_of_clairctl_is_none(line: str) -> None:
    assert read_entry(line) is None


def test_a_whole_export_has_no_problem(catalogue: Catalogue) -> None:
    log = ExportLog()
    for line in GOOD:
        assert log.read(line) is None

    assert log.problem({name: catalogue.family(name, "4.9.0") for name in ("alpine", "debian", "clair.cvss")}) is None


@pytest.mark.parametrize(("count", "text"), [(0, "0 KiB"), (2585, "3 KiB"), (5 << 20, "5.0 MiB"), (3 << 29, "1.5 GiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text
