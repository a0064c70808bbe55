"""The command `wait`: returns when the feeds that this deployment asked for are loaded and current.

Looks at the ledger of feeds again and again, and tells each family that is loaded. A family that this release cannot load
is named and not waited for. Writes nothing.
Exit codes: 0 all are loaded; 1 one fails for good: its last run failed and it never succeeded, or nothing fetches it
before the matcher's next start; 2 wrong use or configuration; 3 not all within the time, or the ledger cannot be read.
Environment: TIMEOUT in seconds (7200).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Optional

from ..errors import NO, UNDECIDED, Problem
from ..host.read_arguments import Parser
from ..host.read_logs import log_reason
from ..host.show_progress import Progress
from ..host.watch_start import containers
from ..settings import Deployment, load_deployment
from .judge_feeds import NEVER_LOADS, FamilyState
from .match_updaters import duration
from .read_feeds import FeedLedger, read_feed_ledger
from .read_runs import MatcherLogs, Run
from .show_feeds import family_rows

TIMEOUT_SECONDS = 7200.0
POLL_SECONDS = 3.0
# With an external database every look starts a container.
SLOW_POLL_SECONDS = 15.0
# Without a terminal, a line that says nothing new comes this often.
REPORT_SECONDS = 30.0
LOOK_SECONDS = 60.0
# A wait reads the log once from here on, then only what is new.
LINES = 50000
# Looks in a row that may fail, as while the database restarts.
ATTEMPTS = 5
# Below these a pace says nothing.
PACE_UPDATERS = 5
PACE_SECONDS = 20.0


class Wait:
    """One wait: what was told already, and what is still missing."""

    def __init__(self, deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
        self._deployment = deployment
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._logs = MatcherLogs(deployment, LINES)
        self._told: set[str] = set()
        self._reported = time.monotonic()
        self._poll_seconds = POLL_SECONDS if deployment.bundled_database else SLOW_POLL_SECONDS

    def run(self) -> list[FamilyState]:
        """Return the families once each is loaded or hopeless. Raises Problem (3) when the time is over."""
        failed = 0
        while True:
            found: Optional[FeedLedger] = None
            try:
                found = read_feed_ledger(self._deployment, self._look_seconds(), self._logs)
                failed = 0
            except Problem as problem:
                failed += 1
                # The tables are made by the matcher, a moment after its start.
                if failed >= ATTEMPTS or problem.code != UNDECIDED:
                    raise
                self._say(f"not readable yet: {problem.sentence}")
            if found is not None:
                waited_for = [family for family in found.families if family.state != NEVER_LOADS]
                self._tell(waited_for, found)
                left = [family for family in waited_for if not family.complete]
                if all(family.hopeless for family in left):
                    return found.families
                self._say(self._waiting(left, found.run))
            if self._progress.seconds + self._poll_seconds > self._timeout_seconds:
                raise self._late(found)
            time.sleep(self._poll_seconds)

    def _look_seconds(self) -> float:
        return max(1.0, min(LOOK_SECONDS, self._timeout_seconds - self._progress.seconds))

    def _tell(self, families: Sequence[FamilyState], found: FeedLedger) -> None:
        for family in families:
            if family.name in self._told or not (family.complete or family.hopeless):
                continue
            self._told.add(family.name)
            if family.complete:
                rows = family_rows(family, found)
                many = f", {rows} rows" if rows is not None else ""
                updaters = f"{len(family.counted)} updater{'s' if len(family.counted) != 1 else ''}"
                self._line(f"{family.name}: loaded, {updaters}{many} ({self._progress.seconds:.0f} s)")
            else:
                self._line(f"{family.name}: {family.state}, {family.reason} ({self._progress.seconds:.0f} s)")

    def _waiting(self, left: Sequence[FamilyState], run: Optional[Run]) -> str:
        names = ", ".join(family.name for family in left if not family.hopeless)
        if run is None or run.ended:
            reason = (
                self._matcher() or "the matcher's log tells nothing of a run" if run is None else "no run is under way"
            )
            return f"waiting for {names}: {reason}, no estimate yet"
        if run.total is None:
            return f"waiting for {names}: the matcher asks for the lists of feeds, no estimate yet"
        return f"waiting for {names}: {run.finished} of {run.total} updaters done, {estimate(run, time.time())}"

    def _matcher(self) -> str:
        """Return what is wrong with the matcher, or nothing."""
        found = [container for container in containers(self._deployment) if container.service == "matcher"]
        bad = next((container for container in found if container.state != "running"), None)
        if bad is not None:
            return f"{bad.name} is {bad.health}, {log_reason(bad.id)}"
        return "" if found else "the matcher has no container"

    def _say(self, text: str) -> None:
        if self._progress.stream.isatty():
            self._progress.waiting(text)
        elif time.monotonic() - self._reported >= REPORT_SECONDS or (not self._told and self._progress.seconds < 1):
            self._line(f"{text} ({self._progress.seconds:.0f} s)")

    def _line(self, text: str) -> None:
        self._progress.line(text)
        self._reported = time.monotonic()

    def _late(self, found: Optional[FeedLedger]) -> Problem:
        left = (
            [family for family in found.families if not family.complete and family.state != NEVER_LOADS]
            if found
            else []
        )
        names = _named(left) or "the ledger could not be read"
        hint = next((family.hint for family in left if family.hint), "./clair logs matcher")
        matcher = self._matcher() if found is None or found.run is None else ""
        why = f"; {matcher}" if matcher else ""
        return Problem(
            f"feeds not complete, {self._deployment.name}: after {duration(self._timeout_seconds)} {names}{why}",
            "./clair up" if matcher else hint,
            UNDECIDED,
        )


def estimate(run: Run, now: float) -> str:
    """Return how long a run may still take, and what that is based on; `now` is in seconds since 1970."""
    seconds = now - run.started_at
    if run.total is None or run.finished < PACE_UPDATERS or seconds < PACE_SECONDS or run.finished >= run.total:
        return "no estimate yet"
    left = seconds / run.finished * (run.total - run.finished)
    return f"about {duration(left)} more at the pace of the first {run.finished}; large feeds take longer"


def main(argv: Sequence[str]) -> int:
    """Run `wait`."""
    parser = Parser("wait", "Wait until the feeds that this deployment asked for are loaded and current.")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    progress = Progress()
    try:
        families = Wait(deployment, options.timeout, progress).run()
    finally:
        progress.end()
    for family in families:
        if family.state == NEVER_LOADS:
            progress.line(f"{family.name}: never loads in Clair {deployment.release}, {family.reason}")
    left = [family for family in families if not family.complete and family.state != NEVER_LOADS]
    if deployment.facts["feeds"]["offline"] and left:
        raise Problem(
            f"feeds not complete, {deployment.name}: {_named(left)}; nothing loads them here but a pack",
            left[0].hint,
            UNDECIDED,
        )
    if left:
        raise Problem(f"feeds fail for good, {deployment.name}: {_named(left)}", left[0].hint, NO)
    if all(family.state == NEVER_LOADS for family in families):
        raise Problem(
            f"feeds not complete, {deployment.name}: no family that this release can load was asked for",
            "copier update --trust",
            UNDECIDED,
        )
    print(f"feeds complete ({progress.seconds:.0f} s)", file=sys.stderr)
    return 0


def _named(families: Sequence[FamilyState]) -> str:
    return "; ".join(
        f"{family.name} {family.state}: {family.reason}" if family.reason else f"{family.name}: the run is not over"
        for family in families
    )
