"""A scan's result as Markdown, short enough for a comment or a job's summary on GitHub and GitLab.

Pure. Everything that comes from images, feeds and files stands in code spans, where no mention, link, HTML or table
separator in it means anything. The table shows what fails first and says how much it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..feeds.find_feeds import Cover
from ..feeds.match_updaters import FRESH
from ..verdict.compare_platforms import ABSENT, compare_platforms
from ..verdict.finding import CLEAN, SEVERITIES, UNDECIDED_VERDICT, Finding
from ..verdict.report import Report
from ..verdict.run_scan import Result
from .describe_result import counts_text, facts, feed_text, headline, standing, summary
from .neutralise_text import markdown_code, markdown_link

# A comment on GitHub may have 65,536 characters.
ROW_LIMIT = 100
CELL_LIMIT = 60
MARKS = {CLEAN: "\u2705", UNDECIDED_VERDICT: "\u2753"}


def markdown_report(report: Report) -> Iterator[str]:
    """Yield the whole text in pieces."""
    yield f"## {_mark(report.verdict)} Clair: {report.verdict}\n\n"
    if report.whole:
        yield f"{markdown_code(headline(report).partition(': ')[2], 300)}\n\n"
        yield from _differences(report)
    limit = max(5, ROW_LIMIT // len(report.results))
    for label, result in report.labelled:
        if report.whole:
            yield f"### {_mark(result.verdict.verdict)} {markdown_code(label)}: {result.verdict.verdict}\n\n"
        yield from _result(result, report.release, limit)


def _result(result: Result, release: str, limit: int) -> Iterator[str]:
    verdict = result.verdict
    yield f"**{summary(result)}**\n\n"
    for sentence in (*verdict.reasons, *verdict.expired):
        yield f"- {markdown_code(sentence, 400)}\n"
    yield "\n" if verdict.reasons or verdict.expired else ""
    if verdict.findings:
        yield from _findings(verdict.findings, limit)
    if result.report:
        yield f"{counts_text(result)}.\n\n"
    yield "| Scan | |\n|---|---|\n"
    for name, text in facts(result, release):
        yield f"| {name} | {markdown_code(text, 400)} |\n"
    for cover in verdict.covers:
        yield f"| feed | {_cover(cover, result.finished_at)} |\n"
        for note in cover.notes:
            yield f"| note | {markdown_code(note, 400)} |\n"
    for note in verdict.notes:
        yield f"| note | {markdown_code(note, 400)} |\n"
    if result.report and not verdict.covers:
        yield "| feed | none answers: the report names no distribution and no language |\n"
    yield "\n"


def _findings(findings: Sequence[Finding], limit: int) -> Iterator[str]:
    # A stable sort: within both groups the worst stay first.
    shown = sorted(findings, key=lambda finding: not finding.fails)[:limit]
    yield "| Severity | Package | Installed | Fixed | Vulnerability | |\n|---|---|---|---|---|---|\n"
    for finding in shown:
        cells = (
            SEVERITIES[finding.severity] + ("\\*" if finding.by_score else ""),
            markdown_code(finding.package, CELL_LIMIT),
            markdown_code(finding.installed, CELL_LIMIT),
            markdown_code(finding.fixed, CELL_LIMIT),
            markdown_link(finding.id, finding.links, CELL_LIMIT),
            "**fails**" if finding.fails else markdown_code(standing(finding)) if _set_aside(finding) else "",
        )
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"
    if any(finding.by_score for finding in shown):
        yield "\\* Clair knows no severity; the CVSS base score decides.\n\n"
    if len(findings) > len(shown):
        left = findings if len(shown) < limit else sorted(findings, key=lambda finding: not finding.fails)[limit:]
        failing = sum(finding.fails for finding in left)
        yield f"{len(left)} more findings are not shown here, {failing} of which fail: `--format html` shows all.\n\n"


def _differences(report: Report) -> Iterator[str]:
    differences = compare_platforms(report)
    if not differences:
        yield "No finding is on some platforms only.\n\n"
        return
    yield f"{len(differences)} findings are on some platforms only (`?`: not known).\n\n"
    labels = " | ".join(markdown_code(label) for label in report.labels)
    yield f"| Severity | Package | Vulnerability | {labels} |\n|---|---|---|{'---|' * len(report.labels)}\n"
    for one in differences[:ROW_LIMIT]:
        cells = (
            SEVERITIES[one.severity],
            markdown_code(one.package, CELL_LIMIT),
            markdown_code(one.id, CELL_LIMIT),
            *("no" if text == ABSENT else markdown_code(text, CELL_LIMIT) for text in one.installed),
        )
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"
    if len(differences) > ROW_LIMIT:
        yield f"{len(differences) - ROW_LIMIT} more differences are not shown here.\n\n"


def _cover(cover: Cover, now: float) -> str:
    name = markdown_code(cover.subject)
    told = "" if cover.succeeded_at is None else markdown_code(feed_text(cover, now), 200)
    why = "" if cover.state == FRESH else markdown_code(cover.reason, 400)
    return f"{name}: {'; '.join(filter(None, (told, why)))}; {cover.packages} packages"


def _set_aside(finding: Finding) -> bool:
    return finding.ignored is not None or finding.known


def _mark(verdict: str) -> str:
    return MARKS.get(verdict, "\u274c")
