"""A scan's result as one web page: verdict and feeds on top, findings to sort and filter.

Reads `report.css` and `report.js` beside this file. The page loads nothing and sends nothing: its policy (CSP) allows
its own style and script, by their hashes, and no request. Without JavaScript the same findings stand in a plain table.
Text from images and feeds is escaped in the page and is text in its data, never part of the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from .compare_platforms import ABSENT, compare_platforms
from .describe_result import facts, headline, standing, summary, timestamp
from .find_feeds import Cover
from .judge_report import SEVERITIES, UNDECIDED_VERDICT, Finding
from .match_updaters import FRESH, duration
from .neutralise_text import markup, web_links
from .read_details import read_descriptions
from .report import Report, is_open
from .run_scan import Result

FOLDER = Path(__file__).parent
# What makes a finding count or not, as report.js numbers it.
FAILS, BELOW, KNOWN, IGNORED = range(4)
STATES = ("fails", "", "known", "ignored")
# The data is JSON inside an element: no text in it may look like the element's end, or like a comment's beginning.
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}

COLUMNS = (
    ("severity", "Severity"),
    ("package", "Package"),
    ("installed", "Installed"),
    ("fixed", "Fixed in"),
    ("vulnerability", "Vulnerability"),
    ("status", "Status"),
)


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
        yield from _findings(report)
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
        yield f'<tr><td data-label="Severity">{_chip(one.severity, False)}</td>{shown}</tr>\n'
    yield "</tbody></table></div>\n</section>\n"


def _findings(report: Report) -> Iterator[str]:
    columns = (*COLUMNS, ("platform", "Platform")) if len(report.results) > 1 else COLUMNS
    yield "<section>\n<h2>Findings</h2>\n"
    yield from _controls(report)
    heads = "".join(
        f'<th scope="col" data-key="{key}"><button type="button">{name}</button></th>' for key, name in columns
    )
    yield f'<table id="findings" class="cards" hidden><thead><tr>{heads}</tr></thead><tbody></tbody></table>\n'
    yield '<p><button type="button" id="all" class="all" hidden>Show all rows</button></p><div id="end"></div>\n'
    if any(finding.by_score for result in report.results for finding in result.verdict.findings):
        yield '<p class="soft">* Clair knows no severity; the CVSS base score decides.</p>\n'
    yield "<noscript>\n<p>Sorting, filtering and descriptions need JavaScript; this is the whole list.</p>\n"
    heads = "".join(f'<th scope="col">{name}</th>' for _, name in columns)
    yield f'<table class="cards"><thead><tr>{heads}</tr></thead><tbody>\n'
    for label, result in report.labelled:
        for finding in result.verdict.findings:
            yield _plain_row(finding, label if len(report.results) > 1 else "")
    yield "</tbody></table>\n</noscript>\n</section>\n"
    yield from _data(report)


def _controls(report: Report) -> Iterator[str]:
    numbers = [0] * len(SEVERITIES)
    for result in report.results:
        for finding in result.verdict.findings:
            numbers[finding.severity] += 1
    yield '<form id="controls" class="controls" hidden>\n'
    yield '<label class="search">Search <input type="search" id="text" placeholder="vulnerability, package, text"></label>\n'
    yield "<fieldset><legend>Severity</legend>"
    for level in reversed(range(len(SEVERITIES))):
        name = f"{SEVERITIES[level]} ({numbers[level]})"
        yield f'<label><input type="checkbox" name="severity" value="{level}" checked> {name}</label>'
    yield "</fieldset>\n"
    yield '<label><input type="checkbox" id="fixed"> with a fix</label>\n'
    yield '<label><input type="checkbox" id="failing"> failing only</label>\n'
    if len(report.results) > 1:
        choices = "".join(
            f'<option value="{number}">{markup(label)}</option>' for number, label in enumerate(report.labels)
        )
        yield f'<label>Platform <select id="platform"><option value="">all</option>{choices}</select></label>\n'
    # Outside the form, so that a printed page says that it is filtered.
    yield '</form>\n<p class="soft"><output id="shown" form="controls" aria-live="polite"></output></p>\n'


def _plain_row(finding: Finding, label: str) -> str:
    links = web_links(finding.links)
    name = markup(finding.id)
    state = STATES[_state(finding)]
    cells = (
        ("Severity", _chip(finding.severity, finding.by_score)),
        ("Package", markup(finding.package)),
        ("Installed", markup(finding.installed)),
        ("Fixed in", markup(finding.fixed) or "&#8211;"),
        ("Vulnerability", f'<a href="{markup(links[0])}" rel="noopener noreferrer">{name}</a>' if links else name),
        ("Status", markup(standing(finding)) or state),
        *([("Platform", markup(label))] if label else []),
    )
    return "<tr>" + "".join(f'<td data-label="{head}">{cell}</td>' for head, cell in cells) + "</tr>\n"


def _data(report: Report) -> Iterator[str]:
    """Yield the element that report.js reads: each vulnerability once, and a row for each finding."""
    yield '<script type="application/json" id="data">{'
    yield f'"severities": {_json(SEVERITIES)}, "platforms": {_json(report.labels)}, "vulnerabilities": ['
    indices: dict[str, int] = {}
    for result in report.results:
        descriptions = read_descriptions(result)
        for finding in result.verdict.findings:
            if finding.id not in indices:
                described = [finding.id, descriptions.get(finding.id, "").strip(), web_links(finding.links)]
                yield (",\n" if indices else "\n") + _json(described)
                indices[finding.id] = len(indices)
    yield '], "rows": ['
    separator = "\n"
    for number, result in enumerate(report.results):
        for finding in result.verdict.findings:
            row = (
                finding.severity, int(finding.by_score), finding.package, finding.installed, finding.fixed,
                indices[finding.id], finding.score, _state(finding), standing(finding), number,
            )  # fmt: skip
            yield separator + _json(row)
            separator = ",\n"
    yield "]}</script>\n"


def _json(value: object) -> str:
    text = json.dumps(value)
    for character, escape in _JSON_ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _state(finding: Finding) -> int:
    return FAILS if finding.fails else IGNORED if finding.ignored else KNOWN if finding.known else BELOW


def _chip(severity: int, by_score: bool) -> str:
    name = SEVERITIES[severity]
    return f'<span class="chip {name.lower()}">{name}{"*" if by_score else ""}</span>'


def _mark(verdict: str) -> str:
    return {"clean": "&#10003;", UNDECIDED_VERDICT: "?"}.get(verdict, "&#10007;")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
