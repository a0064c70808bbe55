"""The checks of `verify` that read the feed ledger: are the feeds that were asked for there, and how old are they.

Pure. A family counts as loaded by the rule of match_updaters; what a single image needs is decided by `scan`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

from ..feeds.match_updaters import FRESH, NEVER, NO_AGE, STALE, Feeds, Ledger, State, Updaters, duration
from .verify_edge import OK, UNKNOWN, WARNING, Check


def feed_checks(settings: Mapping[str, Any], feeds: Feeds, ledger: Ledger, now: Optional[float] = None) -> list[Check]:
    """Return a check for each family that was asked for, and for the enrichment. `now` is in seconds since 1970."""
    now = time.time() if now is None else now
    updaters = Updaters(feeds, ledger, now)
    enrichments = [name for name, family in feeds.catalogue.items() if _is_enrichment(name, family)]
    names = [*feeds.asked, *(enrichments if settings.get("enrichment") else [])]
    return [_family(name, feeds.catalogue.get(name) or {}, updaters, now, feeds.offline) for name in names]


def _is_enrichment(name: str, family: Mapping[str, Any]) -> bool:
    return "clair.cvss" in (family.get("sets") or [name])


def _family(name: str, family: Mapping[str, Any], updaters: Updaters, now: float, offline: bool) -> Check:
    title = f"feed {name}"
    states = [updaters.judge_one(updater) for updater in updaters.matching(family.get("updaters"))]
    loaded = [state for state in states if state.state != NEVER]
    fresh = [state for state in states if state.state == FRESH]
    if family.get("never_loads"):
        return Check(title, WARNING, f"cannot be loaded: {family['never_loads']}")
    if not loaded and _is_enrichment(name, family):
        # No verdict needs the scores: without them, what Clair cannot rate counts as at the limit.
        return Check(title, WARNING, states[0].reason if states else "nothing loaded yet", "./clair logs matcher")
    if not loaded:
        reasons = [state.reason for state in states]
        detail = reasons[0] if reasons else "nothing loaded yet"
        return Check(title, UNKNOWN, detail, "./clair logs matcher")
    ages = [now - state.succeeded_at for state in loaded if state.succeeded_at is not None]
    age = f", the oldest {duration(max(0.0, *ages))} ago" if ages else ""
    told = f"{len(fresh)} of {len(states)} updaters fresh{age}"
    if not fresh:
        hint = "./clair restart matcher" if not offline else "./clair scan --help"
        return Check(title, UNKNOWN, f"{told}: {_worst(states).reason}", hint)
    if len(fresh) < len(states):
        return Check(title, WARNING, f"{told}: {_worst(states).reason}", "./clair logs matcher")
    return Check(title, OK, told)


def _worst(states: list[State]) -> State:
    order = (FRESH, STALE, NO_AGE, NEVER)
    return max(states, key=lambda state: order.index(state.state))
