"""Reads from the matcher's log how its last run of the updaters went, and which lists of feeds it could not read.

The database does not tell either: an updater whose set could not be made leaves no row at all. Reads the newest lines of
the matcher's containers with `docker logs`, so many that it stays cheap; writes nothing. Messages: claircore
libvuln/updates/manager.go at v1.5.48, the same in every release from 4.5.0 on (seen by running 4.5.1 and 4.9.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Optional

from ..errors import Problem
from ..host import engine
from ..settings import Deployment

# A run writes about four lines an updater; requests of scans and warnings about single entries stand in between.
LINES = 5000
TIMEOUT_SECONDS = 20
# A run that lists more failures than this is told by its first ones.
FAILURES = 20

STARTED = "starting initial updates"
RUNNING = "running updaters"
FINISHED = "finished update"
FACTORY_FAILED = "failed constructing factory, excluding from run"
# The first is missing where update_retention is 0, the second in every run but the first.
ENDED = ("GC started", "starting background updates", "errors encountered during updater run")


@dataclass(frozen=True)
class Run:
    """The last run that a matcher began. Times are seconds since 1970.

    `total` is how many updaters it runs, None while it still asks for the lists of feeds; `failures` says why the sets
    that were left out could not be made.
    """

    started_at: float
    total: Optional[int] = None
    finished: int = 0
    ended: bool = False
    failures: tuple[str, ...] = ()


class RunReader:
    """Follows the log of one matcher: give it lines as they come, `run` is what they come to."""

    def __init__(self) -> None:
        self.run: Optional[Run] = None

    def read(self, lines: Iterable[str]) -> None:
        """Take over what log lines say; those that are no JSON or of something else are passed over."""
        for line in lines:
            if '"message":"' not in line:
                continue
            try:
                entry = json.loads(line)
            except ValueError:  # cut off by the log's own limit
                continue
            if isinstance(entry, dict):
                self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        message, at = entry.get("message"), _seconds(entry.get("time"))
        if at is None or not isinstance(message, str):
            return
        if message == STARTED:
            self.run = Run(at)
        elif message in (RUNNING, FACTORY_FAILED):
            # The sets are made before the updaters run: one of these after the count is the beginning of another run.
            if self.run is None or self.run.total is not None:
                self.run = Run(at)
            if message == RUNNING:
                self.run = replace(self.run, total=_count(entry.get("total")))
            elif len(self.run.failures) < FAILURES:
                self.run = replace(self.run, failures=(*self.run.failures, str(entry.get("error", ""))))
        elif self.run is not None and message == FINISHED:
            self.run = replace(self.run, finished=self.run.finished + 1)
        elif self.run is not None and message in ENDED:
            self.run = replace(self.run, ended=True)


def combine(runs: Sequence[Run]) -> Optional[Run]:
    """Return what the runs of several matchers come to: they share the updaters of one database among them."""
    if not runs:
        return None
    totals = [run.total for run in runs if run.total is not None]
    return Run(
        min(run.started_at for run in runs),
        max(totals) if totals else None,
        sum(run.finished for run in runs),
        all(run.ended for run in runs),
        tuple(dict.fromkeys(failure for run in runs for failure in run.failures)),
    )


class MatcherLogs:
    """The logs of a deployment's matchers, from the last `lines` on; each `last_run` reads what is new since the one before."""

    def __init__(self, deployment: Deployment, lines: int = LINES) -> None:
        self._lines = lines
        replicas = int(deployment.facts["services"]["matcher"].get("replicas", 1))
        name = f"{deployment.name}-matcher"
        self._readers = {
            container: RunReader()
            for container in ([name] if replicas == 1 else [f"{name}-{n + 1}" for n in range(replicas)])
        }
        self._seen: dict[str, str] = {}

    def last_run(self) -> Optional[Run]:
        """Return the last run as far as it can be told; None without a container or without a run in its log."""
        for container, reader in self._readers.items():
            reader.read(self._new_lines(container))
        return combine([reader.run for reader in self._readers.values() if reader.run is not None])

    def _new_lines(self, container: str) -> list[str]:
        seen = self._seen.get(container)
        bound = ["--since", seen] if seen else ["--tail", str(self._lines)]
        try:
            result = engine.docker(
                ["logs", "--timestamps", *bound, container], timeout_seconds=TIMEOUT_SECONDS, check=False
            )
        except Problem:  # the log is told by what else is known then
            return []
        # --since takes the last line in once more. Clair writes to standard error, and an older one's panics stand there, too.
        stamped = [line.partition(" ") for line in (result.stdout + result.stderr).splitlines()]
        new = [(stamp, text) for stamp, _, text in stamped if stamp[:1].isdigit() and stamp > (seen or "")]
        if new:
            self._seen[container] = max(stamp for stamp, _ in new)
        return [text for _, text in new]


def _seconds(text: object) -> Optional[float]:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def _count(value: object) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
