"""Whether the updaters a distribution or language needs are loaded, and how old their data is.

Pure. The rule stands in the template repository, extensions/data/families.yaml: an updater is loaded if
update_operation has a row of it; its data is as old as updater_status.last_success, or as the pack it was imported
from (claircore libvuln/updates/manager.go and datastore/postgres/recordupdatetime.go at v1.5.48).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from ..host.escape_text import printable
from ..host.read_json import Object

# A success that lies further in the future than clocks differ says nothing about the age of a feed.
CLOCK_TOLERANCE_SECONDS = 300.0
_FIELD = re.compile(r"\{([a-z_]+)(:dotted)?\}")

FRESH, STALE, NO_AGE, NEVER, NONE = "fresh", "stale", "of unknown age", "never loaded", "none"
# From the best to the worst: what several requirements come to is the worst of them.
_ORDER = (FRESH, STALE, NO_AGE, NEVER, NONE)


@dataclass(frozen=True)
class LedgerRow:
    """What the database knows of one updater; times are seconds since 1970, None where it has none.

    `stored_at` is the last update that stored data: without one the updater is not loaded, whatever its status says.
    `unused`: it is stored, and the matcher does not look at it (read_ledger.ROWS).
    """

    updater: str
    stored_at: Optional[float]
    last_attempt: Optional[float] = None
    last_success: Optional[float] = None
    error: str = ""
    unused: bool = False


@dataclass(frozen=True)
class Ledger:
    """All updaters by name. `pack_exported_at` is when an imported pack left its origin, None without a pack.

    `pack_dates` is when the data of each updater of the imported packs left its origin: an updater that a later pack does
    not hold is as old as the pack it came with. None: a pack of which only the one date is known.
    """

    rows: Mapping[str, LedgerRow]
    pack_exported_at: Optional[float] = None
    pack_dates: Optional[Mapping[str, float]] = None

    def exported_at(self, updater: str) -> Optional[float]:
        """Return when an updater's data left its origin in a pack; None if no pack held it."""
        return self.pack_exported_at if self.pack_dates is None else self.pack_dates.get(updater)


@dataclass(frozen=True)
class Feeds:
    """The deployment's feeds: what it asked for, what Clair knows, how old a feed may be."""

    asked: tuple[str, ...]
    catalogue: Mapping[str, Mapping[str, Any]]
    offline: bool
    max_age_seconds: float


class State(NamedTuple):
    """What one or several updaters come to: a state, who answers, the oldest success, and in words why not fresh."""

    state: str
    updaters: tuple[str, ...]
    succeeded_at: Optional[float]
    reason: str


def read_feeds(settings: Mapping[str, Any], max_age_hours: Optional[float] = None) -> Feeds:
    """Return the feeds of deployment.json's `feeds`, with another age allowed if `max_age_hours` is given."""
    hours = float(settings["max_age_hours"]) if max_age_hours is None else max_age_hours
    return Feeds(tuple(settings["families"]), settings["catalogue"], bool(settings["offline"]), hours * 3600)


class Updaters:
    """The ledger as the deployment's rules see it at the time `now`, in seconds since 1970."""

    def __init__(self, feeds: Feeds, ledger: Ledger, now: float) -> None:
        self._feeds = feeds
        self._ledger = ledger
        self._now = now

    def matching(self, pattern: Optional[str]) -> list[str]:
        """Return the names of the updaters that match a pattern; None matches none."""
        if pattern is None:
            return []
        compiled = re.compile(pattern)
        return sorted(name for name in self._ledger.rows if compiled.fullmatch(name))

    def judge(self, required: Iterable[Mapping[str, str]], fields: Object, aliases: Mapping[str, str]) -> State:
        """Return what the requirements of a family come to for a distribution with these `fields`.

        `any`: the best of the updaters that match counts; `all`: each of them.
        """
        states: list[State] = []
        for requirement in required:
            for mode, template in requirement.items():
                pattern = fill_template(str(template), fields, aliases)
                found = sorted((self.judge_one(name) for name in self.matching(pattern)), key=_rank)
                if not found:
                    wanted = readable(pattern or str(template))
                    found = [State(NEVER, (), None, f"the feed {wanted} never loaded")]
                states += found if mode == "all" else found[:1]
        if not states:
            return State(NONE, (), None, "no feed of Clair covers it")
        worst = max(states, key=_rank)
        times = [state.succeeded_at for state in states if state.succeeded_at is not None]
        names = sorted({name for state in states for name in state.updaters})
        return State(worst.state, tuple(names), min(times) if len(times) == len(states) else None, worst.reason)

    def judge_one(self, name: str) -> State:
        """Return the state of one updater of the ledger."""
        row, ledger = self._ledger.rows[name], self._ledger
        failure = f": {printable(row.error, 200)}" if row.error else ""
        if row.stored_at is None:
            return State(NEVER, (name,), None, f"the feed {printable(name)} never loaded{failure}")
        if row.unused:
            reason = (
                f"the feed {printable(name)} is stored and not in use, Clair's view of the newest updates leaves it out"
            )
            return State(NEVER, (name,), None, reason)
        succeeded_at = row.last_success
        exported_at = ledger.exported_at(name)
        if exported_at is not None and (self._feeds.offline or succeeded_at is None):
            succeeded_at = exported_at  # Clair stamps imported rows with the time of the import
        if succeeded_at is None or succeeded_at > self._now + CLOCK_TOLERANCE_SECONDS:
            return State(NO_AGE, (name,), None, f"nothing tells how old the feed {printable(name)} is")
        age = max(0.0, self._now - succeeded_at)
        if age <= self._feeds.max_age_seconds:
            return State(FRESH, (name,), succeeded_at, "")
        told = f"{duration(age)} ago, {duration(self._feeds.max_age_seconds)} are allowed{failure}"
        return State(STALE, (name,), succeeded_at, f"the feed {printable(name)} last succeeded {told}")


def _rank(state: State) -> tuple[int, float]:
    """Return how bad a state is, and within one kind how old: best first."""
    return _ORDER.index(state.state), -(state.succeeded_at or 0.0)


def fill_template(template: str, fields: Object, aliases: Mapping[str, str]) -> Optional[str]:
    """Return a template of an updater's name with a distribution's fields in it, or None if it lacks one of them."""
    values = {}
    for name, dotted in _FIELD.findall(template):
        value = fields.get(name)
        if not isinstance(value, str) or not value:
            return None
        value = str(aliases.get(value, value))
        values[name, dotted] = re.escape(value.lower().replace(" ", ".") if dotted else value)
    return _FIELD.sub(lambda match: values[match.group(1), match.group(2) or ""], template)


def readable(pattern: str) -> str:
    """Return an updater's pattern without the marks of a regular expression that a name cannot have."""
    return printable(re.sub(r"\\(\W)", r"\1", pattern.replace("?", "")))


def duration(seconds: float) -> str:
    """Return a length of time in the units a reader needs: `90 s`, `12 min`, `31 h 5 min`, `3 d 4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
