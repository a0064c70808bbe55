"""A scan's result for a person at a terminal.

Pure. Names and versions come from images and feeds: they are printed without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..host.escape_text import printable
from ..verdict.compare_platforms import ABSENT, Difference, compare_platforms
from ..verdict.finding import SEVERITIES, UNDECIDED_VERDICT, Finding
from ..verdict.report import Report
from ..verdict.run_scan import Result
from .describe_result import counts_text, cover_text, facts, headline, standing, summary, timestamp

__all__ = ["format_table", "summary", "table_report", "timestamp"]

HEADINGS = ("SEVERITY", "PACKAGE", "INSTALLED", "FIXED", "ID")
COLUMN_LIMIT = 50


def table_report(report: Report) -> Iterator[str]:
    """Yield the whole text: one table, or one for each platform and the differences between them."""
    for result in report.results:
        for line in format_table(result, report.release):
            yield f"{line}\n"
        if report.whole:
            yield "\n"
    if report.whole:
        yield from _differences(report)
        yield f"ALL PLATFORMS {headline(report)}\n"


def format_table(result: Result, release: str) -> Iterator[str]:
    """Yield the lines of one result without their ends."""
    verdict = result.verdict
    for name, text in facts(result, release):
        yield f"{name:<10}{text}"
    for number, cover in enumerate(verdict.covers):
        yield f"{'feeds' if number == 0 else '':<10}{cover_text(cover, result.finished_at)}"
        for note in cover.notes:
            yield f"{'':<12}note: {note}"
    if result.report and not verdict.covers:
        yield "feeds     none answers: the report names no distribution and no language"
    for note in verdict.notes:
        yield f"note      {note}"
    if result.report:
        yield ""
        if verdict.findings:
            yield from _findings(verdict.findings)
            yield ""
        yield counts_text(result)
    yield f"VERDICT {verdict.verdict}: {summary(result)}"
    if verdict.verdict == UNDECIDED_VERDICT:
        for reason in verdict.reasons:
            yield f"  - {reason}"
    for sentence in verdict.expired:
        yield f"  - {sentence}"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield from _rows(HEADINGS, [_cells(finding) for finding in findings])
    if any(finding.by_score for finding in findings):
        yield "* Clair knows no severity; the CVSS base score decides"
    aside = [finding for finding in findings if finding.ignored or finding.known]
    if aside:
        yield ""
        yield "not counted:"
    for finding in aside:
        yield f"  {printable(finding.id, COLUMN_LIMIT)} in {printable(finding.package, COLUMN_LIMIT)}: {standing(finding)}"


def _differences(report: Report) -> Iterator[str]:
    differences = compare_platforms(report)
    if not differences:
        yield "no finding is on some platforms only\n\n"
        return
    yield f"{len(differences)} findings are on some platforms only (installed version where it is, ? where it is not known):\n"
    headings = ("SEVERITY", "PACKAGE", "ID", *(label.upper() for label in report.labels))
    for line in _rows(headings, [_difference_cells(one) for one in differences]):
        yield f"{line}\n"
    yield "\n"


def _difference_cells(one: Difference) -> tuple[str, ...]:
    texts = (one.package, one.id, *(each if each != ABSENT else "-" for each in one.installed))
    return (SEVERITIES[one.severity], *(printable(text, COLUMN_LIMIT) for text in texts))


def _rows(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [len(heading) for heading in headings]
    for cells in rows:
        widths = [max(width, len(cell)) for width, cell in zip(widths, cells)]
    for cells in (tuple(headings), *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()


def _cells(finding: Finding) -> tuple[str, ...]:
    severity = SEVERITIES[finding.severity] + ("*" if finding.by_score else "")
    texts = (finding.package, finding.installed, finding.fixed or "-", finding.id)
    return (severity, *(printable(text, COLUMN_LIMIT) for text in texts))
