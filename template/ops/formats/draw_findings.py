"""The findings of a page: a table that report.js fills from data, and the same as a plain table without JavaScript.

Pure. Each vulnerability stands once in the data, and each finding is a row that refers to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..verdict.finding import SEVERITIES, Finding
from ..verdict.report import Report
from .describe_result import standing
from .neutralise_text import markup, web_links
from .read_details import read_descriptions

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


def draw_findings(report: Report) -> Iterator[str]:
    """Yield the section with controls, table and data."""
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
        ("Severity", severity_chip(finding.severity, finding.by_score)),
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


def severity_chip(severity: int, by_score: bool) -> str:
    """Return a severity as a coloured word."""
    name = SEVERITIES[severity]
    return f'<span class="chip {name.lower()}">{name}{"*" if by_score else ""}</span>'
