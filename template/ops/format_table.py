"""A scan's result for a person at a terminal.

Pure. Names and versions come from images and feeds: they are printed without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Optional

from .find_feeds import Cover
from .judge_report import CLEAN, SEVERITIES, UNDECIDED_VERDICT, Finding
from .match_updaters import FRESH, duration
from .parse_reference import printable
from .run_scan import Result

HEADINGS = ("SEVERITY", "PACKAGE", "INSTALLED", "FIXED", "ID")
COLUMN_LIMIT = 50


def format_table(result: Result, release: str) -> Iterator[str]:
    """Yield the lines of the table without their ends."""
    image, verdict = result.image, result.verdict
    yield f"image     {image.name}"
    yield f"digest    {image.digest}"
    yield f"platform  {image.platform}"
    yield f"clair     {release}"
    yield f"time      {timestamp(result.finished_at)}"
    for number, cover in enumerate(verdict.covers):
        yield f"{'feeds' if number == 0 else '':<10}{_cover(cover, result.finished_at)}"
        for note in cover.notes:
            yield f"{'':<12}note: {note}"
    if not verdict.covers:
        yield "feeds     none answers: the report names no distribution and no language"
    yield ""
    if verdict.findings:
        yield from _rows(verdict.findings)
        if any(finding.by_score for finding in verdict.findings):
            yield "* Clair knows no severity; the CVSS base score decides"
        yield ""
    counts = ", ".join(f"{number} {name.lower()}" for name, number in verdict.counts.items())
    yield f"{len(verdict.findings)} findings in {verdict.packages} packages: {counts}"
    yield f"VERDICT {verdict.verdict}: {summary(result)}"
    if verdict.verdict == UNDECIDED_VERDICT:
        for reason in verdict.reasons:
            yield f"  - {reason}"


def summary(result: Result) -> str:
    """Return in a few words what the verdict says of the findings."""
    verdict, limit = result.verdict, result.options.fail_on
    if verdict.verdict == UNDECIDED_VERDICT:
        number = len(verdict.reasons)
        return f"{number} reason{'' if number == 1 else 's'} why nothing can be said for certain"
    where = {"any": "at all", "none": "counted"}.get(limit, f"at or above {limit}")
    fixed = " with a fix" if result.options.only_fixed else ""
    if verdict.verdict == CLEAN:
        unknown = sum(finding.severity == 0 for finding in verdict.findings)
        ignored = f" ({unknown} of unknown severity ignored)" if unknown and result.options.ignore_unknown else ""
        empty = "" if verdict.packages else ", for there is no package (--allow-empty)"
        return f"no finding{fixed} {where}{ignored}{empty}"
    unknown = sum(finding.fails and finding.severity == 0 for finding in verdict.findings)
    among = f", {unknown} of them of unknown severity" if unknown else ""
    return f"{verdict.failing} {'finding' if verdict.failing == 1 else 'findings'}{fixed} {where}{among}"


def timestamp(seconds: Optional[float]) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC."""
    if seconds is None:
        return "unknown"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cover(cover: Cover, now: float) -> str:
    packages = f"{cover.packages} package{'' if cover.packages == 1 else 's'}"
    if cover.succeeded_at is None:
        return f"{cover.subject}: {cover.reason}; {packages}"
    age = duration(max(0.0, now - cover.succeeded_at))
    updaters = ", ".join(cover.updaters[:3]) + (
        f" and {len(cover.updaters) - 3} more" if len(cover.updaters) > 3 else ""
    )
    told = "" if cover.state == FRESH else f"; {cover.reason}"
    return f"{cover.subject}: {updaters} of {timestamp(cover.succeeded_at)} ({age} old); {packages}{told}"


def _rows(findings: tuple[Finding, ...]) -> Iterator[str]:
    widths = [len(heading) for heading in HEADINGS]
    for finding in findings:
        widths = [max(widths[number], len(cell)) for number, cell in enumerate(_cells(finding))]
    yield _line(HEADINGS, widths)
    for finding in findings:
        yield _line(_cells(finding), widths)


def _cells(finding: Finding) -> tuple[str, ...]:
    severity = SEVERITIES[finding.severity] + ("*" if finding.by_score else "")
    texts = (finding.package, finding.installed, finding.fixed or "-", finding.id)
    return (severity, *(printable(text, COLUMN_LIMIT) for text in texts))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(widths[number]) for number, cell in enumerate(cells)).rstrip()
