"""The command `feeds`: how old the feeds are that this deployment asked for, and what is wrong with those that are not fresh.

Asks the matcher's database as the role `ledger`, and the matcher's log; reads `state/feed-pack.json`; writes nothing.
Exit codes: 0 every family that this release can load is fresh; 1 one is stale, failing or excluded; 2 wrong use or
configuration; 3 one never ran, or the ledger cannot be read. Environment: JSON=1, TIMEOUT in seconds (60).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Optional

from ..errors import Problem
from ..host.escape_text import printable
from ..host.read_arguments import Parser
from ..host.show_activity import Activity
from ..host.write_output import write_output
from ..settings import Deployment, load_deployment
from .count_rows import Count, total
from .judge_feeds import FRESH, NEVER_LOADS, FamilyState, UpdaterState, age, exit_code, told
from .match_updaters import duration
from .read_feeds import FeedLedger, read_feed_ledger

TIMEOUT_SECONDS = 60.0
HEADINGS = ("FAMILY", "STATE", "LAST SUCCESS", "AGE", "ROWS", "UPDATERS", "DETAIL")


def table(found: FeedLedger) -> Iterator[str]:
    """Yield the lines of the table without their ends."""
    rows = [HEADINGS, *(_row(family, found) for family in found.families)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _row(family: FamilyState, found: FeedLedger) -> tuple[str, ...]:
    counted = family.counted
    rows = family_rows(family, found)
    detail = family.reason
    if family.retired:
        names = ", ".join(printable(name) for name in family.retired[:3])
        more = f" and {len(family.retired) - 3} more" if len(family.retired) > 3 else ""
        detail += f"{'; ' if detail else ''}not offered any more: {names}{more}"
    current = sum(updater.current for updater in counted)
    return (
        family.name,
        family.state,
        moment(family.succeeded_at) or "-",
        age(family, found.now) or "-",
        "-" if rows is None else str(rows),
        f"{current} of {len(counted) + len(family.missing)}",
        detail or "-",
    )


def family_rows(family: FamilyState, found: FeedLedger) -> Optional[Count]:
    """Return how many vulnerabilities the latest updates of a family hold; None if that is not known."""
    return total([found.counts[updater.name] for updater in family.counted if updater.name in found.counts])


def document(found: FeedLedger, deployment: Deployment) -> dict[str, Any]:
    """Return the ledger as one JSON object."""
    feeds, run = deployment.facts["feeds"], found.run
    return {
        "format": 1,
        "deployment": deployment.name,
        "clair_release": deployment.release,
        "time": moment(found.now),
        "exit_code": exit_code(found.families),
        "offline": bool(feeds["offline"]),
        "max_age_hours": feeds["max_age_hours"],
        "pack_exported_at": moment(found.ledger.pack_exported_at),
        "run": run
        and {
            "started_at": moment(run.started_at),
            "updaters": run.total,
            "finished": run.finished,
            "ended": run.ended,
            "failures": [printable(failure, 500) for failure in run.failures],
        },
        "families": [_family(family, found) for family in found.families],
    }


def _family(family: FamilyState, found: FeedLedger) -> dict[str, Any]:
    seconds = None if family.succeeded_at is None else max(0, round(found.now - family.succeeded_at))
    return {
        "family": family.name,
        "state": family.state,
        "reason": family.reason,
        "last_success": moment(family.succeeded_at),
        "age_seconds": seconds,
        **_rows(family_rows(family, found)),
        "missing": list(family.missing),
        "updaters": [_updater(updater, found) for updater in family.updaters],
        "hint": family.hint,
    }


def _updater(updater: UpdaterState, found: FeedLedger) -> dict[str, Any]:
    return {
        "name": updater.name,
        "state": updater.state,
        "last_success": moment(updater.succeeded_at),
        "last_attempt": moment(updater.row.last_attempt),
        "stored_at": moment(updater.row.stored_at),
        "last_error": updater.row.error or None,
        **_rows(found.counts.get(updater.name)),
    }


def _rows(count: Optional[Count]) -> dict[str, Any]:
    return {"rows": count and count.number, "rows_exact": count is not None and count.exact}


def moment(seconds: Optional[float]) -> Optional[str]:
    """Return a time as 2026-11-25T07:50:02Z."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a date no calendar has
        return None


def not_fresh(found: FeedLedger, deployment: Deployment) -> Problem:
    """Return the Problem for a ledger in which not everything is fresh."""
    first = next((family for family in found.families if family.state not in (FRESH, NEVER_LOADS)), None)
    hint = first.hint if first is not None else "./clair feeds --json"
    return Problem(f"feeds not fresh, {deployment.name}: {told(found.families)}", hint, exit_code(found.families))


def main(argv: Sequence[str]) -> int:
    """Run `feeds`."""
    parser = Parser("feeds", "Show the age and state of the feeds that this deployment asked for.")
    parser.add_switch("--json", "JSON", "one JSON object on stdout")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    try:
        with Activity("reading the ledger of feeds"):
            found = read_feed_ledger(deployment, options.timeout)
    except Problem as problem:
        if options.json:  # a program that reads standard output must not take nothing for an answer
            failure = {"format": 1, "exit_code": problem.code, "error": problem.sentence, "families": []}
            write_output([json.dumps(failure, indent=1) + "\n"], "")
        raise
    show(found, deployment, options.json)
    if exit_code(found.families):
        raise not_fresh(found, deployment)
    return 0


def show(found: FeedLedger, deployment: Deployment, as_json: bool = False) -> None:
    """Print the ledger on standard output, and on standard error what the table cannot hold."""
    if as_json:
        write_output([json.dumps(document(found, deployment), indent=1) + "\n"], "")
        return
    write_output((line + "\n" for line in table(found)), "")
    exported_at = found.ledger.pack_exported_at
    if exported_at is not None:
        ago = duration(max(0.0, found.now - exported_at))
        print(f"the newest pack was exported {moment(exported_at)}, {ago} ago", file=sys.stderr)
