"""`./clair wait`: it ends when the feeds are there, or says why they will not be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ops.feeds import wait_feeds
from ops.feeds.read_runs import Run as MatcherRun
from ops.feeds.wait_feeds import estimate
from ops.settings import Deployment

from tests.support.places import copy_commands

from .conftest import Run, World, log_line, row, rows
from .test_feeds_command import changed


def plain(text: str) -> list[str]:
    """Return a command's messages without seconds."""
    return [re.sub(r" \(\d+ s\)$", "", line) for line in text.splitlines()]


def test_fresh_feeds_are_complete_at_once(run: Run) -> None:
    outcome = run("wait")

    assert (outcome.code, outcome.out) == (0, "")
    assert plain(outcome.err) == [
        "alpine: loaded, 2 updaters, 14 rows",
        "debian: loaded, 1 updater, 7 rows",
        "clair.cvss: loaded, 1 updater, 7 rows",
        "feeds complete",
    ]


def once_asked(world: World, change: Callable[[], None], times: int = 1) -> None:
    """Change the world as soon as the database was asked so many times: at the second, the first was answered."""

    def watch() -> None:
        limit = time.monotonic() + 30
        while sum("exec" in call for call in world.calls) < times and time.monotonic() < limit:
            time.sleep(0.01)
        change()

    threading.Thread(target=watch, daemon=True).start()


def test_each_family_is_told_when_it_is_loaded(run: Run, world: World) -> None:
    world.set(rows=[row("debian/updater")], log=[log_line("running updaters", total=4)])
    once_asked(
        world,
        lambda: world.set(rows=rows(), log=[log_line("running updaters", total=4), log_line("GC started")]),
        times=2,
    )

    outcome = run("wait", "--timeout", "60")

    lines = plain(outcome.err)
    assert outcome.code == 0
    assert lines[0] == "debian: loaded, 1 updater, 7 rows"
    assert sorted(lines[1:-1]) == ["alpine: loaded, 2 updaters, 14 rows", "clair.cvss: loaded, 1 updater, 7 rows"]
    assert lines[-1] == "feeds complete"


def test_a_family_whose_updaters_nobody_can_count_waits_for_the_end_of_the_run(run: Run, world: World) -> None:
    world.set(log=[log_line("running updaters", total=40)])

    outcome = run("wait", "--timeout", "1")

    assert outcome.code == 3
    assert plain(outcome.err)[:2] == ["debian: loaded, 1 updater, 7 rows", "clair.cvss: loaded, 1 updater, 7 rows"]


def test_when_the_time_is_over_it_says_what_is_missing(run: Run, world: World) -> None:
    world.set(rows=changed(["debian/updater"]), log=[log_line("running updaters", total=9)])

    outcome = run("wait", "--timeout", "1")

    assert outcome.code == 3
    assert plain(outcome.err)[-2:] == [
        "feeds not complete, clair: after 1 s alpine: the run is not over; "
        "debian never ran: the feed debian/updater never ran; the matcher is loading, 0 of 9 updaters done",
        "HINT: ./clair logs matcher",
    ]


def test_a_matcher_that_does_not_run_is_named(run: Run, world: World) -> None:
    world.set(rows=[], ps="")

    outcome = run("wait", "--timeout", "1")

    assert outcome.code == 3
    assert outcome.err.endswith("; the matcher has no container\nHINT: ./clair up\n")


def test_a_feed_that_never_succeeded_and_failed_ends_the_wait(run: Run, world: World) -> None:
    world.set(rows=changed(row("debian/updater", None, stored=False, error="404")))

    outcome = run("wait", "--timeout", "60")

    reason = "debian failing: the feed debian/updater never loaded: 404"
    assert outcome.code == 1
    assert plain(outcome.err)[1] == "debian: failing, the feed debian/updater never loaded: 404"
    assert plain(outcome.err)[-2:] == [f"feeds fail for good, clair: {reason}", "HINT: ./clair logs matcher"]


def test_an_excluded_family_ends_the_wait(run: Run, world: World) -> None:
    failure = "debian: examining remote: no answer"
    log = [
        log_line("failed constructing factory, excluding from run", error=failure),
        log_line("running updaters", total=3),
        log_line("GC started"),
    ]
    world.set(rows=changed(["debian/updater"]), log=log)

    outcome = run("wait", "--timeout", "60")

    assert outcome.code == 1
    assert plain(outcome.err)[-2].startswith("feeds fail for good, clair: debian excluded: left out of the run")


def test_osv_that_only_a_restart_fetches_ends_the_wait(run: Run, world: World, document: dict[str, Any]) -> None:
    document["feeds"] |= {"families": ["osv"], "enrichment": False}
    log = [log_line("running updaters", total=3), log_line("GC started")]
    world.set(rows=[row(f"osv/{name}", 30) for name in ("go", "maven", "pypi", "rubygems")], log=log)

    outcome = run("wait", "--timeout", "60")

    assert outcome.code == 1
    assert outcome.err.endswith("HINT: ./clair restart matcher\n")


def test_a_run_that_failed_once_after_a_young_success_is_complete(run: Run, world: World) -> None:
    world.set(rows=changed(row("debian/updater", 2, error="404")))

    assert run("wait", "--timeout", "60").code == 0


def test_a_family_that_never_loads_is_named_and_not_waited_for(run: Run, document: dict[str, Any]) -> None:
    document["feeds"]["families"] = ["alpine", "photon"]

    outcome = run("wait", "--timeout", "60")

    assert outcome.code == 0
    assert plain(outcome.err)[-2:] == ["photon: never loads in Clair 4.9.0, its address answers 403", "feeds complete"]


def test_nothing_that_loads_is_undecided(run: Run, document: dict[str, Any]) -> None:
    document["feeds"] |= {"families": ["photon"], "enrichment": False}

    outcome = run("wait", "--timeout", "60")

    assert outcome.code == 3
    assert plain(outcome.err)[-2:] == [
        "feeds not complete, clair: no family that this release can load was asked for",
        "HINT: copier update --trust",
    ]


def test_offline_nothing_is_waited_for(run: Run, world: World, document: dict[str, Any]) -> None:
    document["feeds"]["offline"] = True
    world.set(rows=[])
    started = time.monotonic()

    outcome = run("wait")

    assert outcome.code == 3
    assert time.monotonic() - started < 20
    assert plain(outcome.err)[-2].endswith("; nothing loads them here but a pack")
    assert plain(outcome.err)[-1] == "HINT: ./clair feeds-import FILE"


def test_a_database_that_comes_up_late_is_waited_for(run: Run, world: World) -> None:
    world.set(complaint="Error response from daemon: No such container: clair-database")

    def repair() -> None:
        world._state.pop("complaint")
        world.set()

    once_asked(world, repair)

    assert run("wait", "--timeout", "60").code == 0


def test_a_database_that_stays_away_ends_the_wait(run: Run, world: World) -> None:
    world.set(complaint="Error response from daemon: No such container: clair-database")

    outcome = run("wait", "--timeout", "60")

    assert outcome.code == 3
    assert plain(outcome.err)[-2:] == [
        "feed ledger unreadable, database matcher: the database's container is not running",
        "HINT: ./clair database",
    ]


@pytest.mark.parametrize(
    ("run_of_matcher", "text"),
    [
        (MatcherRun(0.0, None), "no estimate yet"),
        (MatcherRun(0.0, 100, 2), "no estimate yet"),
        (MatcherRun(90.0, 100, 50), "no estimate yet"),
        (MatcherRun(0.0, 100, 100), "no estimate yet"),
        (MatcherRun(0.0, 100, 20), "about 6 min more at the pace of the first 20; large feeds take longer"),
        (MatcherRun(0.0, 40, 20), "about 100 s more at the pace of the first 20; large feeds take longer"),
    ],
    ids=["lists", "too-few", "too-soon", "all-done", "minutes", "seconds"],
)
def test_an_estimate_says_what_it_is_based_on_or_is_none(run_of_matcher: MatcherRun, text: str) -> None:
    assert estimate(run_of_matcher, 100.0) == text


def test_without_a_terminal_it_tells_what_it_waits_for(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_feeds, "REPORT_SECONDS", 0.0)
    finished = [log_line("finished update", time.time() - 100, updater=str(number)) for number in range(10)]
    world.set(rows=[], log=[log_line("running updaters", time.time() - 100, total=20), *finished])

    lines = plain(run("wait", "--timeout", "1").err)

    waiting = re.sub(r"about \d+ s", "about N s", lines[0])
    assert waiting == (
        "waiting for alpine, debian, clair.cvss: 10 of 20 updaters done, "
        "about N s more at the pace of the first 10; large feeds take longer"
    )


def test_ctrl_c_ends_a_wait_in_one_line(deployment: Callable[[], Deployment], world: World) -> None:
    world.set(rows=[], log=[log_line("running updaters", total=9)])
    root = deployment().root
    copy_commands(root)
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "wait"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 30
    while not any(call[0] == "logs" for call in world.calls) and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(1)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert plain(err)[-1] == "interrupted"
    assert len(plain(err)) <= 2
