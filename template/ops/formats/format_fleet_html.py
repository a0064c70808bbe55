"""A fleet's run as one web page: what changed on top, then every image, to filter and sort.

Reads `report.css`, the style of a scan's page, and `fleet.js` beside this file. The page loads nothing and sends nothing:
its policy (CSP) allows its own style and script, by their hashes, and no request. Text from images and feeds is escaped.
Without JavaScript all is there, unfiltered. It is written row by row: two thousand images take no more memory than two.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..host.escape_text import printable
from ..host.read_json import Object
from ..verdict.finding import SEVERITIES
from .describe_result import timestamp
from .format_fleet import ORDER, Run, counted, fleet_summary, indexed_text, read_row
from .neutralise_text import markup

FOLDER = Path(__file__).parent
# Findings shown of one image that are new or gone; the JSON lines hold all.
LISTED_FINDINGS = 100
COLUMNS = ("Verdict", "Image", *reversed(SEVERITIES), "New", "Gone")
MARKS = {"undecided": "?", "findings": "&#10007;", "clean": "&#10003;"}


def format_fleet_html(run: Run, documents: Iterable[Object]) -> Iterator[str]:
    """Yield the page in pieces, in ASCII; `documents` are the results in the list's order."""
    style, script = ((FOLDER / name).read_text(encoding="ascii") for name in ("report.css", "fleet.js"))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    verdict = next((name for name in ORDER if run.verdicts[name]), ORDER[-1])
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{verdict}: {markup(run.list_name)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield from _verdict(run, verdict)
    yield "<main>\n"
    yield from _changes(run)
    yield "<section>\n<h2>Images</h2>\n"
    yield from _controls(run)
    heads = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in COLUMNS)
    yield f'<div class="scroll"><table id="images" class="cards"><thead><tr>{heads}</tr></thead><tbody>\n'
    for document in documents:
        yield from _row(document)
    yield f"</tbody></table></div>\n</section>\n<script>{script}</script>\n</main>\n</body>\n</html>\n"


def _verdict(run: Run, verdict: str) -> Iterator[str]:
    yield f'<header><section class="verdict {verdict}">\n<p class="word">{MARKS[verdict]} {verdict}</p>\n'
    yield f"<h1>{markup(run.list_name)}</h1>\n<p>{markup(fleet_summary(run))}</p>\n<dl>"
    for name, text in (
        ("Clair", run.release),
        ("Time", f"{timestamp(run.started_at)} to {timestamp(run.finished_at)}"),
        ("Oldest feed", run.oldest_feed or "unknown"),
        ("Indexed", indexed_text(run)),
        ("Results", run.results),
    ):
        yield f"<dt>{name}</dt><dd>{markup(text)}</dd>"
    yield "</dl>\n</section></header>\n"


def _changes(run: Run) -> Iterator[str]:
    yield "<section>\n<h2>Since the last run</h2>\n"
    if run.compared:
        changed = sum(bool(row.new or row.gone) for row in run.rows)
        yield f"<p>{counted(run.new, 'new finding')} and {run.gone} gone, in {counted(changed, 'image')}.</p>\n"
        for title, names in (("New in the list", run.new_images), ("Gone from the list", run.gone_images)):
            if names:
                yield f"<h3>{title}</h3>\n<ul>{''.join(f'<li>{_text(name)}</li>' for name in names)}</ul>\n"
    else:
        yield "<p>This is the first run of this list.</p>\n"
    yield "</section>\n"


def _controls(run: Run) -> Iterator[str]:
    yield '<form id="controls" class="controls" hidden>\n'
    yield '<label class="search">Search <input type="search" id="text" placeholder="image, platform, digest"></label>\n'
    yield "<fieldset><legend>Verdict</legend>"
    for name in ORDER:
        yield f'<label><input type="checkbox" name="verdict" value="{name}" checked> {name} ({run.verdicts[name]})</label>'
    yield '</fieldset>\n<label><input type="checkbox" id="changed"> changed only</label>\n</form>\n'
    yield '<p class="soft"><output id="shown" form="controls" aria-live="polite"></output></p>\n'


def _row(document: Object) -> Iterator[str]:
    row = read_row(document)
    digest = _text(document["digest"] or "no digest")
    name = _text(row.name)
    changed = int(bool(row.new or row.gone))
    yield f'<tr data-verdict="{row.verdict}" data-changed="{changed}" data-name="{name} {digest}">'
    yield f'<td data-label="Verdict" data-key="{2 - ORDER.index(row.verdict)}"><span class="word {row.verdict}">{row.verdict}</span></td>'
    # An image's name may break behind its slashes.
    yield f'<td data-label="Image" data-key="{name}"><span>{name.replace("/", "/<wbr>")}<br><code class="soft">{digest}</code>'
    for reason in (*document["reasons"], *(document.get("expired") or ())):
        yield f'<br><span class="word {row.verdict}">{_text(reason)}</span>'
    yield from _changed(document)
    yield "</span></td>"
    unknown = document.get("counts") is None
    for severity, number in zip(reversed(SEVERITIES), row.counts):
        yield f'<td data-label="{severity}" data-key="{-1 if unknown else number}">{"" if unknown else number}</td>'
    for label, change in (("New", row.new), ("Gone", row.gone)):
        yield f'<td data-label="{label}" data-key="{-1 if change is None else change}">{"" if change is None else change}</td>'
    yield "</tr>\n"


def _changed(document: Object) -> Iterator[str]:
    changes = document["changes"] or {}
    for title in ("new", "gone"):
        found = changes.get(title) or ()
        if found:
            yield f"<details><summary>{len(found)} {title} since {_text(changes['since'])}</summary><ul>"
            for one in found[:LISTED_FINDINGS]:
                yield f"<li>{_text(one['severity'])} {_text(one['id'])} in {_text(one['package'])}</li>"
            if len(found) > LISTED_FINDINGS:
                yield f"<li>and {len(found) - LISTED_FINDINGS} more</li>"
            yield "</ul></details>"


def _text(value: object) -> str:
    return markup(printable(str(value), 400))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
