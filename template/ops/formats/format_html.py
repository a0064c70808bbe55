"""A scan's result as one web page: verdict and feeds on top, findings to sort and filter.

Reads `report.css` and `report.js` beside this file. The page loads nothing and sends nothing: its policy (CSP) allows
its own style and script, by their hashes, and no request. Without JavaScript the same findings stand in a plain table.
Text from images and feeds is escaped in the page and is text in its data, never part of the script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..feeds.find_feeds import Cover
from ..feeds.match_updaters import FRESH, duration
from ..verdict.compare_platforms import ABSENT, compare_platforms
from ..verdict.finding import UNDECIDED_VERDICT
from ..verdict.report import Report, is_open
from ..verdict.run_scan import Result
from .describe_result import facts, headline, summary, timestamp
from .draw_findings import draw_findings, severity_chip
from .neutralise_text import markup

FOLDER = Path(__file__).parent


def html_report(report: Report) -> Iterator[str]:
    """Yield the whole page in pieces, in ASCII."""
    style, script = ((FOLDER / name).read_text(encoding="ascii") for name in ("report.css", "report.js"))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{markup(report.verdict)}: {markup(report.image)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield from _verdict(report)
    yield "<main>\n"
    for label, result in report.labelled:
        yield from _about(result, label if report.whole else "", report.release)
    if report.whole:
        yield from _differences(report)
    if any(result.verdict.findings for result in report.results):
        yield from draw_findings(report)
        yield f"<script>{script}</script>\n"
    yield "</main>\n</body>\n</html>\n"


def _verdict(report: Report) -> Iterator[str]:
    yield f'<header><section class="verdict {report.verdict}">\n<p class="word">{_mark(report.verdict)} {report.verdict}</p>\n'
    # An image's name may break behind its slashes.
    yield f"<h1>{markup(report.image).replace('/', '/<wbr>')}</h1>\n<p>{markup(headline(report).partition(': ')[2])}</p>\n"
    for label, result in report.labelled:
        sentences = (*result.verdict.reasons, *result.verdict.expired)
        if sentences:
            items = "".join(f"<li>{markup(sentence)}</li>" for sentence in sentences)
            yield f"<p>{markup(label)}:</p><ul>{items}</ul>\n" if report.whole else f"<ul>{items}</ul>\n"
    if not report.whole and report.results[0].verdict.findings:
        yield '<ul class="counts" aria-label="Findings by severity">'
        for name, number in report.results[0].verdict.counts.items():
            yield f'<li><span class="chip {name.lower()}{"" if number else " none"}">{number} {name}</span></li>'
        yield "</ul>\n"
    if not report.whole:
        yield _facts(report.results[0], report.release)
    yield "</section></header>\n"


def _facts(result: Result, release: str) -> str:
    rows = []
    for name, text in facts(result, release):
        if name == "image":  # the heading
            continue
        shown = markup(text)
        if name == "options":  # each stays whole where the line breaks
            shown = " ".join(f"<span>{markup(part)}</span>" for part in re.split(" (?=--)", text))
        rows.append(f"<dt>{name.capitalize()}</dt><dd>{shown}</dd>")
    if result.report:
        rows.append(f"<dt>Packages</dt><dd>{result.verdict.packages}</dd>")
    return f"<dl>{''.join(rows)}</dl>\n"


def _about(result: Result, label: str, release: str) -> Iterator[str]:
    """Yield what covers a result; with several platforms also which one it is about."""
    verdict = result.verdict
    yield "<section>\n"
    if label:
        yield f'<h2>{markup(label)}: <span class="word {verdict.verdict}">{verdict.verdict}</span></h2>\n'
        yield f"<p>{markup(summary(result))}</p>\n{_facts(result, release)}<h3>Feeds</h3>\n"
    else:
        yield "<h2>Feeds</h2>\n"
    if verdict.covers:
        heads = "".join(
            f'<th scope="col">{head}</th>' for head in ("For", "State", "Feed", "Last success", "Age", "Packages")
        )
        yield f'<div class="scroll"><table class="cards"><thead><tr>{heads}</tr></thead><tbody>\n'
        for cover in verdict.covers:
            yield _cover(cover, result.finished_at)
        yield "</tbody></table></div>\n"
    elif result.report:
        yield "<p>None answers: the report names no distribution and no language.</p>\n"
    else:
        yield "<p>Nothing is known of them: there is no report.</p>\n"
    for note in verdict.notes:
        yield f'<p class="soft">{markup(note)}</p>\n'
    yield "</section>\n"


def _cover(cover: Cover, now: float) -> str:
    known = cover.succeeded_at is not None
    state = "not covered" if is_open(cover) else cover.state
    word = "clean" if cover.state == FRESH else "undecided"
    notes = "".join(f'<br><span class="soft">{markup(text)}</span>' for text in (cover.reason, *cover.notes) if text)
    cells = (
        ("For", f"<span>{markup(cover.subject)}{notes}</span>"),
        ("State", f'<span class="word {word}">{markup(state)}</span>'),
        ("Feed", markup(", ".join(cover.updaters)) or "&#8211;"),
        ("Last success", timestamp(cover.succeeded_at) if known else "&#8211;"),
        ("Age", duration(max(0.0, now - (cover.succeeded_at or 0.0))) if known else "&#8211;"),
        ("Packages", str(cover.packages)),
    )
    return "<tr>" + "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in cells) + "</tr>\n"


def _differences(report: Report) -> Iterator[str]:
    differences = compare_platforms(report)
    yield "<section>\n<h2>Differences between platforms</h2>\n"
    if not differences:
        yield "<p>No finding is on some platforms only.</p>\n</section>\n"
        return
    heads = ("Severity", "Package", "Vulnerability", *report.labels)
    yield '<p class="soft">Installed versions where a finding is; ? where it is not known.</p>\n'
    yield '<div class="scroll"><table class="cards"><thead><tr>'
    yield "".join(f'<th scope="col">{markup(head)}</th>' for head in heads) + "</tr></thead><tbody>\n"
    for one in differences:
        cells = (one.package, one.id, *("no" if text == ABSENT else text for text in one.installed))
        shown = "".join(f'<td data-label="{markup(head)}">{markup(text)}</td>' for head, text in zip(heads[1:], cells))
        yield f'<tr><td data-label="Severity">{severity_chip(one.severity, False)}</td>{shown}</tr>\n'
    yield "</tbody></table></div>\n</section>\n"


def _mark(verdict: str) -> str:
    return {"clean": "&#10003;", UNDECIDED_VERDICT: "?"}.get(verdict, "&#10007;")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
