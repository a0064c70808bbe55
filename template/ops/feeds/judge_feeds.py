"""What the feed ledger says of each family the deployment asked for: the rules of `feeds`, `wait` and the two packs.

Pure. A family is fresh if each updater it cannot do without is loaded and each that the last run had succeeded lately.
Which updaters those are stands in deployment.json, `feeds.catalogue`; sources in the template repository,
extensions/data/families.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import NO, UNDECIDED
from ..host.escape_text import printable
from .find_excluded import excluded_families
from .list_needed import asked_families, is_name, missing_updaters, needed_updaters
from .match_updaters import FRESH as FRESH_DATA
from .match_updaters import NEVER, Feeds, Ledger, LedgerRow, Updaters, duration
from .read_runs import Run

FRESH, STALE, FAILING, NEVER_RAN = "fresh", "stale", "failing", "never ran"
EXCLUDED, NEVER_LOADS, RETIRED = "excluded", "never loads", "retired"
# From the best to the worst: a family is as bad as its worst updater.
_ORDER = (FRESH, STALE, FAILING, NEVER_RAN)
# A log's times have whole seconds.
_LOG_SECONDS = 1.0


@dataclass(frozen=True)
class UpdaterState:
    """One updater: a state of this module, `succeeded_at` in seconds since 1970, and why it is not fresh.

    `current` says that its data is young enough for a verdict, whatever became of the last run.
    """

    name: str
    state: str
    row: LedgerRow
    succeeded_at: Optional[float] = None
    reason: str = ""
    current: bool = False


@dataclass(frozen=True)
class FamilyState:
    """One family or the enrichment.

    `succeeded_at` is the oldest success of its updaters in seconds since 1970, None where one has none. `missing` are the
    updaters without any row. `complete`: all of it is loaded and current. `hopeless`: nothing more comes of this run for
    it. `hint` is what helps.
    """

    name: str
    state: str
    reason: str = ""
    updaters: tuple[UpdaterState, ...] = ()
    missing: tuple[str, ...] = ()
    succeeded_at: Optional[float] = None
    complete: bool = False
    hopeless: bool = False
    hint: str = ""

    @property
    def counted(self) -> list[UpdaterState]:
        """The updaters that the family's state depends on."""
        return [updater for updater in self.updaters if updater.state != RETIRED]

    @property
    def retired(self) -> list[str]:
        """The updaters that the feed does not offer any more."""
        return [updater.name for updater in self.updaters if updater.state == RETIRED]


def judge_feeds(
    settings: Mapping[str, Any], feeds: Feeds, ledger: Ledger, run: Optional[Run], now: float
) -> list[FamilyState]:
    """Return the state of each family of `asked_families`.

    `settings` is deployment.json's `feeds`, `run` the matcher's last run, None if it is not known or `feeds` is offline;
    `now` is in seconds since 1970.
    """
    judge = _Judge(settings, feeds, ledger, None if feeds.offline else run, now)
    return [judge.family(name) for name in asked_families(settings)]


def exit_code(families: Sequence[FamilyState]) -> int:
    """Return 0 if every family that this release can load is fresh, 3 if one never ran, else 1.

    3 also if there is none that can be loaded: then nothing is decided by any feed.
    """
    states = {family.state for family in families if family.state != NEVER_LOADS}
    if NEVER_RAN in states or not states:
        return UNDECIDED
    return 0 if states == {FRESH} else NO


class _Judge:
    def __init__(
        self, settings: Mapping[str, Any], feeds: Feeds, ledger: Ledger, run: Optional[Run], now: float
    ) -> None:
        self._offline = feeds.offline
        self._ledger = ledger
        self._updaters = Updaters(feeds, ledger, now)
        self._run = run
        self._now = now
        self._catalogue = feeds.catalogue
        self._excluded = excluded_families(settings, self._catalogue, ledger, run)

    def family(self, name: str) -> FamilyState:
        """Return the state of one family."""
        family = self._catalogue.get(name) or {}
        found = tuple(self._updater(self._ledger.rows[updater], family) for updater in self._names(family))
        counted = [updater for updater in found if updater.state != RETIRED]
        missing = tuple(missing_updaters(family, (updater.name for updater in counted)))
        never_loads = str(family.get("never_loads") or "")
        if never_loads and not any(updater.row.stored_at is not None for updater in found):
            return FamilyState(name, NEVER_LOADS, never_loads, found)
        times = [updater.succeeded_at for updater in counted]
        oldest = None if None in times or not times else min(time for time in times if time is not None)
        state, reason = self._state(name, family, counted, missing)
        return FamilyState(
            name,
            state,
            reason,
            found,
            missing,
            oldest,
            self._complete(family, counted, missing),
            self._hopeless(name, family, state, counted),
            "" if state == FRESH else self._hint(family, state),
        )

    def _names(self, family: Mapping[str, Any]) -> list[str]:
        return self._updaters.matching(family.get("updaters"))

    def _state(
        self, name: str, family: Mapping[str, Any], counted: Sequence[UpdaterState], missing: Sequence[str]
    ) -> tuple[str, str]:
        excluded = self._excluded.get(name)
        if excluded is not None and not counted:
            return EXCLUDED, f"left out of the run, its list of feeds could not be read: {excluded}"
        if not family or not needed_updaters(family):
            return NEVER_RAN, "this release does not know what it needs"
        if missing or not counted:
            what = f"the feed {missing[0]} never ran" if missing else "no feed of it ran"
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            return NEVER_RAN, f"{what}{more}{self._loading()}"
        worst = max(counted, key=lambda updater: _ORDER.index(updater.state))
        if worst.state == FRESH and self._first_load(family, counted):
            return NEVER_RAN, f"not all of it is loaded yet{self._loading()}"
        if excluded is not None and worst.state in (FRESH, STALE):
            return FAILING, f"left out of the last run, its list of feeds could not be read: {excluded}"
        several = sum(updater.state == worst.state for updater in counted)
        more = f" (and {several - 1} more)" if several > 1 and worst.state != FRESH else ""
        return worst.state, f"{worst.reason}{more}"

    def _updater(self, row: LedgerRow, family: Mapping[str, Any]) -> UpdaterState:
        judged = self._updaters.judge_one(row.updater)
        error = "" if self._offline else row.error
        if row.unused:
            return UpdaterState(row.updater, FAILING, row, None, judged.reason)
        if judged.state == NEVER:
            reason = judged.reason if error else f"the feed {printable(row.updater)} ran, and nothing of it is stored"
            return UpdaterState(row.updater, FAILING if error else NEVER_RAN, row, None, reason)
        if self._retired(row, family):
            return UpdaterState(row.updater, RETIRED, row, judged.succeeded_at, "the feed does not offer it any more")
        current = judged.state == FRESH_DATA
        if error:
            reason = f"the feed {printable(row.updater)} failed: {printable(error, 200)}"
            return UpdaterState(row.updater, FAILING, row, judged.succeeded_at, reason, current)
        return UpdaterState(row.updater, FRESH if current else STALE, row, judged.succeeded_at, judged.reason, current)

    def _retired(self, row: LedgerRow, family: Mapping[str, Any]) -> bool:
        """Return whether a whole run has passed that had the family but not this updater, as with an ended Ubuntu.

        Never one that the family needs by its very name: without it nothing is fresh.
        """
        if self._offline:
            since = self._ledger.pack_exported_at
        else:
            since = self._run.started_at if self._run is not None and self._run.ended else None
        if since is None or self._last_seen(row) >= since - _LOG_SECONDS:
            return False
        if any(is_name(pattern) and re.fullmatch(pattern, row.updater) for pattern in needed_updaters(family)):
            return False
        seen = any(self._last_seen(self._ledger.rows[name]) >= since - _LOG_SECONDS for name in self._names(family))
        return seen or bool(family.get("fetched_at_start"))

    def _last_seen(self, row: LedgerRow) -> float:
        """Return when a run, or the newest pack, last had an updater, in seconds since 1970."""
        if self._offline:
            return self._ledger.exported_at(row.updater) or 0.0
        # RHEL's unchanged list renews the success of all at once.
        return max(row.last_attempt or 0.0, row.last_success or 0.0)

    def _first_load(self, family: Mapping[str, Any], counted: Sequence[UpdaterState]) -> bool:
        """Return whether the family's first load is under way, which may still add updaters nobody can name beforehand."""
        run = self._run
        if run is None or not self._may_grow(family):
            return False
        return all((updater.row.stored_at or 0.0) >= run.started_at - _LOG_SECONDS for updater in counted)

    def _may_grow(self, family: Mapping[str, Any]) -> bool:
        if self._run is None or self._run.ended:
            return False
        return not all(map(is_name, needed_updaters(family)))

    def _complete(self, family: Mapping[str, Any], counted: Sequence[UpdaterState], missing: Sequence[str]) -> bool:
        if missing or not counted or not needed_updaters(family) or self._may_grow(family):
            return False
        return all(updater.current for updater in counted)

    def _loading(self) -> str:
        run = self._run
        if run is None or run.ended:
            return ""
        done = f", {run.finished} of {run.total} updaters done" if run.total else ""
        return f"; the matcher is loading{done}"

    def _hopeless(self, name: str, family: Mapping[str, Any], state: str, counted: Sequence[UpdaterState]) -> bool:
        """Return whether waiting helps no more: the next run comes hours later, or brings nothing new."""
        if self._offline:
            return state != FRESH
        if state == EXCLUDED or (state != FRESH and name in self._excluded):
            return True
        if any(updater.state == FAILING and updater.row.last_success is None for updater in counted):
            return True
        ended = self._run is not None and self._run.ended
        return bool(family.get("fetched_at_start")) and state == STALE and ended

    def _hint(self, family: Mapping[str, Any], state: str) -> str:
        if self._offline:
            return "./clair feeds-import FILE"
        if family.get("fetched_at_start") and state == STALE:
            return "./clair restart matcher"
        return "./clair logs matcher"


def told(families: Sequence[FamilyState]) -> str:
    """Return in one line what is not fresh: at most three families with their reasons."""
    bad = [family for family in families if family.state not in (FRESH, NEVER_LOADS)]
    parts = [f"{family.name} {family.state}: {family.reason}" for family in bad[:3]]
    more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
    return "; ".join(parts) + more if parts else "no family that this release can load was asked for"


def age(family: FamilyState, now: float) -> str:
    """Return how old the oldest data of a family is, in words."""
    return "" if family.succeeded_at is None else duration(max(0.0, now - family.succeeded_at))
