"""What an import of a feed pack comes to, by what clairctl said and what the database holds then.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import USAGE, Problem
from .follow_process import Outcome
from .list_needed import asked_families, is_enrichment, missing_updaters
from .match_updaters import CLOCK_TOLERANCE_SECONDS, Ledger, duration
from .parse_reference import printable
from .read_console import read_entry
from .read_pack import Pack
from .run_clairctl import usage
from .settings import Deployment
from .show_feeds import moment

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
    for name in pack.manifest["families"]:
        # An updater without any vulnerability has no line in a pack and stores nothing.
        missing = missing_updaters(catalogue.get(name) or {}, [*ledger.rows, *pack.manifest["updaters"]])
        if missing:
            return f"{missing[0]} of {name} is not in update_operation{more(missing)}"
    return ""


def more(names: Sequence[str]) -> str:
    """Return how many names there are beside the first, in words; empty for one."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def remember(pack: Pack, log: ImportLog, before: Mapping[str, Any], unproven: set[str], now: float) -> dict[str, Any]:
    """Return what `state/feed-pack.json` holds after an import; `before` is what it held.

    An updater of an earlier pack that this one does not hold keeps its date. So does one in `unproven`: clairctl skipped it
    without being able to tell whether it is the same.
    """
    earlier = before.get("updaters") if isinstance(before.get("updaters"), dict) else {}
    updaters: dict[str, Any] = {
        key: entry for key, entry in (earlier or {}).items() if key not in pack.manifest["updaters"]
    }
    for key, entry in pack.manifest["updaters"].items():
        if key in unproven:
            updaters.update({key: earlier[key]} if earlier and key in earlier else {})
        else:
            date = {"exported_at": pack.manifest["exported_at"]}
            updaters[key] = {**entry, **date, **({} if key in log.seen else {"empty": True})}
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
