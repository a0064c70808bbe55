"""What an import of a feed pack comes to, by what clairctl said and what the database holds then.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..clair.follow_process import Outcome
from ..clair.read_console import read_entry
from ..clair.run_clairctl import usage
from ..errors import USAGE, Problem
from ..feeds.list_needed import asked_families, is_enrichment, is_name, missing_updaters, needed_updaters
from ..feeds.match_updaters import CLOCK_TOLERANCE_SECONDS, Ledger, duration
from ..feeds.show_feeds import moment
from ..host.escape_text import printable
from ..settings import Deployment
from .read_pack import Pack

IMPORTED, SKIPPED = "update imported", "fingerprint match, skipping"


class ImportLog:
    """What an import has said so far: which updaters it stored, which of them are scores, and which it took for known."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.scores: set[str] = set()
        self.skipped: set[str] = set()
        self.error = ""

    def read(self, line: str) -> None:
        """Take a line of clairctl in."""
        entry = read_entry(line)
        if entry is None:
            return
        name = entry.fields.get("updater", "")
        if entry.message == IMPORTED:
            self.stored.add(name)
            if entry.fields.get("enrichment_count", "0") != "0":
                self.scores.add(name)
        elif entry.message == SKIPPED:
            self.skipped.add(name)
        elif entry.level in ("ERR", "FTL", "PNC") and entry.fields.get("error"):
            self.error = printable(entry.fields["error"], 300)

    @property
    def seen(self) -> set[str]:
        """Every updater that the pack had a line of."""
        return self.skipped | self.stored


def refuse_other_release(pack: Pack, deployment: Deployment, name: str) -> None:
    """Raise Problem (2) if the pack's feeds are another Clair release's: names and forms of feeds change between them."""
    if pack.release != deployment.release:
        pack.stream.close()
        raise Problem(
            f"pack refused, {name}: it is of Clair {pack.release}, this deployment runs {deployment.release}",
            f"./clair feeds-export where this deployment is rendered with clair_version {deployment.release}",
            USAGE,
        )


def warnings(pack: Pack, deployment: Deployment, now: float) -> Iterator[str]:
    """Yield what a reader should know of a pack that is not refused; `now` is in seconds since 1970."""
    settings = deployment.facts["feeds"]
    held = set(pack.manifest["families"])
    for name in asked_families(settings):
        family = settings["catalogue"].get(name) or {}
        is_held = pack.manifest["enrichment"] if is_enrichment(name, family) else name in held
        if not is_held and not family.get("never_loads"):
            yield f"this deployment asks for {name}, which the pack does not hold"
    if pack.exported_at > now + CLOCK_TOLERANCE_SECONDS:
        yield f"the pack was exported {moment(pack.exported_at)}, after this host's time: its age will count as unknown"


def incomplete(pack: Pack, log: ImportLog, ledger: Ledger, catalogue: Mapping[str, Any]) -> str:
    """Return what of a pack is not in the database after an import without an error; empty if all is."""
    lost = sorted(name for name in log.seen if ledger.rows.get(name) is None or ledger.rows[name].stored_at is None)
    if lost:
        return f"{lost[0]} was imported and is not in update_operation{more(lost)}"
    if not log.seen and pack.manifest["updaters"]:
        return "clairctl names no updater"
    stored = [name for name, row in ledger.rows.items() if row.stored_at is not None]
    for name in pack.manifest["families"]:
        missing = missing_updaters(catalogue.get(name) or {}, [*stored, *empty_updaters(pack, log, catalogue)])
        if missing:
            return f"{missing[0]} of {name} is not in update_operation{more(missing)}"
    return ""


def empty_updaters(pack: Pack, log: ImportLog, catalogue: Mapping[str, Any]) -> list[str]:
    """Return the updaters of a pack that ran and found no vulnerability: a pack has no line of them, nothing is stored.

    So it may be with one release of a distribution among many, not with a feed that its family needs by name, nor with
    scores, which the clairctl of old releases leaves out of a pack (claircore libvuln/jsonblob at v1.4.12).
    """
    may_be_empty = [
        str(family["updaters"])
        for name, family in catalogue.items()
        if not is_enrichment(name, family) and not any(map(is_name, needed_updaters(family)))
    ]
    unseen = [name for name in pack.manifest["updaters"] if name not in log.seen]
    return [name for name in unseen if any(re.fullmatch(pattern, name) for pattern in may_be_empty)]


def more(names: Sequence[str]) -> str:
    """Return how many names there are beside the first, in words; empty for one."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def remember(
    pack: Pack, log: ImportLog, before: Mapping[str, Any], *, kept: set[str], empty: set[str], now: float
) -> dict[str, Any]:
    """Return what `state/feed-pack.json` holds after an import; `before` is what it held.

    An updater of an earlier pack that this one does not hold keeps its date, and so does one in `kept`, of which the
    database still has what it had. `empty` are those that ran and found nothing.
    """
    earlier = before.get("updaters") if isinstance(before.get("updaters"), dict) else {}
    updaters: dict[str, Any] = {
        key: entry for key, entry in (earlier or {}).items() if key not in pack.manifest["updaters"]
    }
    for key, entry in pack.manifest["updaters"].items():
        if key in empty or (key in log.seen and key not in kept):
            date = {"exported_at": pack.manifest["exported_at"]}
            updaters[key] = {**entry, **date, **({"empty": True} if key in empty else {})}
        elif earlier and key in earlier:
            updaters[key] = earlier[key]
    return {**pack.manifest, "updaters": updaters, "imported_at": moment(now)}


def summary(log: ImportLog, outcome: Outcome, known: bool) -> str:
    """Return what an import did, for a person; `known` says that it was the pack that was imported last."""
    there = f"{len(log.skipped)} updaters were there already"
    if known and log.scores == log.stored:
        # Scores are stored anew by each import.
        again = f", {', '.join(sorted(log.scores))} stored once more" if log.scores else ""
        what = f"nothing new, this pack was imported before: {there}{again}"
    else:
        number = len(log.stored)
        what = f"imported {number} updater{'' if number == 1 else 's'}{f', {there}' if log.skipped else ''}"
    return f"{what}, in {duration(outcome.seconds)}; {usage(outcome)}"
