"""Reads everything the ledger of feeds is made of, at once: the matcher's database, its log, the pack that was imported.

Writes nothing. The database is asked as the role `ledger`, the log with `docker logs`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import Problem
from ..host.read_json import Unreadable
from ..host.run_parallel import Running
from ..network.open_connection import Deadline
from ..settings import Deployment
from .count_rows import COUNTS, Count, parse_counts
from .judge_feeds import FamilyState, judge_feeds
from .match_updaters import Ledger, read_feeds
from .read_ledger import LedgerSession
from .read_runs import MatcherLogs, Run

# A matcher holds a lock for each updater that it runs (claircore libvuln/updates/manager.go): its log may have lost the
# lines that tell of a run among warnings.
BUSY = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
"""
# How long ago a run may have begun that only its locks tell of.
RUN_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class FeedLedger:
    """The state of the feeds at one time (`now`, in seconds since 1970).

    `counts` is how many vulnerabilities each updater's latest update holds; empty where that was not asked for.
    """

    families: list[FamilyState]
    ledger: Ledger
    run: Optional[Run]
    now: float
    counts: dict[str, Count] = field(default_factory=dict)


def read_feed_ledger(
    deployment: Deployment,
    timeout_seconds: float,
    logs: Optional[MatcherLogs] = None,
    *,
    with_counts: bool = True,
) -> FeedLedger:
    """Return the ledger of feeds. Raises Problem (3) if the database cannot be read; a log that cannot be is passed over."""
    settings: dict[str, Any] = deployment.facts["feeds"]
    feeds = read_feeds(settings)
    run = None if feeds.offline else Running((logs or MatcherLogs(deployment)).last_run)
    session = LedgerSession(deployment, Deadline(timeout_seconds))
    try:
        ledger = session.ledger()
        busy = session.ask(BUSY) not in ("", "0")
        counts = _counts(session) if with_counts else {}
    finally:
        session.close()
    now = time.time()
    last_run = run.result() if run is not None else None
    if last_run is None and busy:
        last_run = Run(now - RUN_SECONDS)
    return FeedLedger(judge_feeds(settings, feeds, ledger, last_run, now), ledger, last_run, now, counts)


def _counts(session: LedgerSession) -> dict[str, Count]:
    """Return the counts; without them, as with a role that may not read uo_vuln, the states still stand."""
    try:
        return parse_counts(session.ask(COUNTS))
    except (Problem, Unreadable):
        return {}
