"""A fleet's run for a person at a terminal and, as one JSON document, for a program.

Pure. Reads the results one at a time; of each it keeps a few numbers. Names come from images and feeds: they are
printed without control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Optional

from ..errors import NO, UNDECIDED
from ..host.escape_text import printable
from ..host.read_json import Object
from ..verdict.finding import CLEAN, FINDINGS, SEVERITIES, UNDECIDED_VERDICT
from .describe_result import timestamp

FORMAT = 1
# Initials of the severities, the highest first: counts of six columns fit beside an image's name.
HEADINGS = ("VERDICT", *(name[0] for name in reversed(SEVERITIES)), "NEW", "GONE", "IMAGE")
ORDER = (UNDECIDED_VERDICT, FINDINGS, CLEAN)
REASON_LIMIT = 300
# A fleet of thousands is not for reading: its overview and its JSON lines hold all.
LISTED_IMAGES = 200


@dataclass(frozen=True)
class Row:
    """What is shown of one image. `new` and `gone` are None where there is no earlier result to compare with."""

    image: str
    platform: str
    verdict: str
    counts: tuple[int, ...]
    new: Optional[int]
    gone: Optional[int]
    reason: str
    hint: str

    @property
    def name(self) -> str:
        """The image with its platform."""
        return f"{self.image} ({self.platform})"


@dataclass
class Run:
    """A whole run: what it is about, and a row per image in the list's order.

    Times are in seconds since 1970. `compared_with` tells whether there was a run before; `new_images` and
    `gone_images` are those that are in one of the two lists only. `handed_over` is how many manifests were indexed.
    """

    list_name: str
    release: str
    started_at: float
    finished_at: float
    compared: bool
    new_images: tuple[str, ...]
    gone_images: tuple[str, ...]
    handed_over: int
    results: str
    overview: str
    rows: list[Row] = field(default_factory=list)
    oldest_feed: str = ""

    @property
    def code(self) -> int:
        """The exit code: undecided before findings before clean."""
        verdicts = {row.verdict for row in self.rows}
        return UNDECIDED if UNDECIDED_VERDICT in verdicts else NO if FINDINGS in verdicts else 0

    @property
    def verdicts(self) -> dict[str, int]:
        """How many images have each verdict, the worst first."""
        return {name: sum(row.verdict == name for row in self.rows) for name in ORDER}

    @property
    def new(self) -> int:
        """How many findings are new."""
        return sum(row.new or 0 for row in self.rows)

    @property
    def gone(self) -> int:
        """How many findings are gone."""
        return sum(row.gone or 0 for row in self.rows)


def read_row(document: Object) -> Row:
    """Return what is shown of a result."""
    changes = document["changes"]
    counts = document.get("counts") or {}
    reasons = document["reasons"]
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Row(
        printable(str(document["image"]), REASON_LIMIT),
        str(document["platform"]),
        str(document["verdict"]),
        tuple(int(counts.get(name, 0)) for name in reversed(SEVERITIES)),
        len(changes["new"]) if changes else None,
        len(changes["gone"]) if changes else None,
        printable(str(reasons[0]), REASON_LIMIT) + more if reasons else "",
        str(document.get("hint") or ""),
    )


def add_rows(run: Run, documents: Iterable[Object]) -> None:
    """Read results into a run, one at a time."""
    for document in documents:
        run.rows.append(read_row(document))
        oldest = str(document.get("oldest_feed") or "")
        # ISO 8601 in UTC: the earlier text is the earlier time.
        run.oldest_feed = min(filter(None, (run.oldest_feed, oldest)), default="")


def fleet_lines(run: Run) -> Iterator[str]:
    """Yield the lines of the table: facts, the images that are not clean or changed, and what it all comes to."""
    yield f"list      {run.list_name}: {counted(len(run.rows), 'image')}"
    yield f"clair     {run.release}"
    yield f"time      {timestamp(run.started_at)} to {timestamp(run.finished_at)}"
    yield f"feeds     the oldest that answers is of {run.oldest_feed or 'unknown'}"
    yield f"indexed   {indexed_text(run)}"
    yield ""
    shown = [row for row in run.rows if row.verdict != CLEAN or row.new or row.gone]
    shown.sort(key=lambda row: ORDER.index(row.verdict))
    if shown:
        yield from _table(shown[:LISTED_IMAGES])
        if len(shown) > LISTED_IMAGES:
            yield f"... and {len(shown) - LISTED_IMAGES} more: {run.overview}"
        yield ""
    for title, names in (("new in the list", run.new_images), ("gone from the list", run.gone_images)):
        if run.compared and names:
            yield f"{title}: {', '.join(names[:10])}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    yield f"results   {run.results}"
    yield f"overview  {run.overview}"
    yield f"VERDICT {ORDER[(UNDECIDED, NO, 0).index(run.code)]}: {fleet_summary(run)}"


def fleet_summary(run: Run) -> str:
    """Return in a few words what a run came to."""
    verdicts = ", ".join(f"{number} {name}" for name, number in run.verdicts.items() if number)
    changed = f"; {counted(run.new, 'new finding')}, {run.gone} gone since the last run" if run.compared else ""
    return f"{counted(len(run.rows), 'image')}: {verdicts}{changed}"


def indexed_text(run: Run) -> str:
    """Return how many manifests went to the indexer."""
    return f"{counted(run.handed_over, 'manifest')}; the others as the indexer knew them"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary_document(run: Run) -> Object:
    """Return the document of `--json`."""
    return {
        "format": FORMAT,
        "verdict": ORDER[(UNDECIDED, NO, 0).index(run.code)],
        "exit_code": run.code,
        "list": run.list_name,
        "clair_release": run.release,
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at),
        "oldest_feed": run.oldest_feed or None,
        "images": len(run.rows),
        "verdicts": run.verdicts,
        "indexed": run.handed_over,
        "compared": run.compared,
        "new_findings": run.new,
        "gone_findings": run.gone,
        "new_images": list(run.new_images) if run.compared else [],
        "gone_images": list(run.gone_images),
        "changed": [
            {"image": row.image, "platform": row.platform, "verdict": row.verdict, "new": row.new, "gone": row.gone}
            for row in run.rows
            if row.new or row.gone
        ],
        "undecided": [
            {"image": row.image, "platform": row.platform, "reason": row.reason, "hint": row.hint}
            for row in run.rows
            if row.verdict == UNDECIDED_VERDICT
        ],
        "results": run.results,
        "overview": run.overview,
    }


def _table(rows: list[Row]) -> Iterator[str]:
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS) - 1)]
    for number, line in enumerate(cells):
        numbers = (cell.rjust(widths[column]) for column, cell in enumerate(line[1:-1], 1))
        yield "  ".join((line[0].ljust(widths[0]), *numbers, line[-1]))
        if number and rows[number - 1].reason:
            yield f"{'':<{widths[0]}}  {rows[number - 1].reason}"


def _cells(row: Row) -> tuple[str, ...]:
    changes = ("-" if number is None else str(number) for number in (row.new, row.gone))
    undecided = row.verdict == UNDECIDED_VERDICT and not any(row.counts)
    counts = ("-" if undecided else str(number) for number in row.counts)
    return (row.verdict, *counts, *changes, row.name)
