"""A fleet's run as one page: what changed on top, then every image, filtered by typing and sorted by a click.

Pure. One file that loads nothing: its policy (CSP) allows its own style and script and no request. Every text from
outside is escaped, and none of it stands in the script. Without JavaScript all is there, unfiltered.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape

from .describe_result import timestamp
from .format_fleet import ORDER, Run, fleet_summary, read_row
from .judge_report import SEVERITIES, UNDECIDED_VERDICT
from .parse_reference import printable
from .read_json import Object

# Findings shown of one image that are new or gone; the JSON lines hold all.
LISTED_FINDINGS = 100

STYLE = """
:root{color-scheme:light dark;--line:#8884;--bad:#b3261e;--good:#1b6e3c;--open:#8a5a00}
@media(prefers-color-scheme:dark){:root{--bad:#ff8a80;--good:#7fd6a0;--open:#ffc46b}}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1rem}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.6rem 0}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid}
.n{text-align:right;font-variant-numeric:tabular-nums}.image{overflow-wrap:anywhere;min-width:14rem}
.clean{color:var(--good)}.findings{color:var(--bad)}.undecided{color:var(--open)}.verdict{font-weight:600}
small{opacity:.75;overflow-wrap:anywhere}ul{margin:.2rem 0;padding-left:1.2rem}
form{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;margin:.4rem 0}
input[type=search]{font:inherit;padding:.3rem .5rem;min-width:16rem}
@media print{form{display:none}body{max-width:none}}
"""

SCRIPT = """
"use strict";
const body=document.querySelector("tbody"),rows=[...body.rows],text=document.querySelector("#text"),shown=document.querySelector("#shown");
const boxes=[...document.querySelectorAll("input[name=verdict]")];
const names=rows.map(row=>row.dataset.name.toLowerCase());
function filter(){
  const wanted=text.value.toLowerCase(),allowed=new Set(boxes.filter(box=>box.checked).map(box=>box.value));
  let count=0;
  rows.forEach((row,i)=>{const on=names[i].includes(wanted)&&allowed.has(row.dataset.verdict);row.hidden=!on;count+=on});
  shown.textContent=count+" of "+rows.length;
}
text.addEventListener("input",filter);
boxes.forEach(box=>box.addEventListener("change",filter));
document.querySelectorAll("th").forEach((head,column)=>{
  head.querySelector("button").addEventListener("click",()=>{
    const down=head.getAttribute("aria-sort")!=="descending";
    document.querySelectorAll("th").forEach(one=>one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort",down?"descending":"ascending");
    const key=row=>row.cells[column].dataset.key;
    const order=rows.slice().sort((a,b)=>key(a).localeCompare(key(b),"en",{numeric:true})*(down?-1:1));
    body.append(...order);
  });
});
filter();
"""

COLUMNS = ("Verdict", "Image", *reversed(SEVERITIES), "New", "Gone")


def format_fleet_html(run: Run, documents: Iterable[Object]) -> Iterator[str]:
    """Yield the page in pieces; `documents` are the results in the list's order."""
    script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    title = escape(f"Fleet {run.list_name}: {fleet_summary(run)}")
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
    )
    yield from _head(run)
    yield from _changes(run)
    yield "<h2>Images</h2>\n"
    yield from _form(run)
    heads = "".join(
        f'<th scope="col"{"" if number < 2 else " class=n"}><button type="button">{name}</button></th>'
        for number, name in enumerate(COLUMNS)
    )
    yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n'
    for document in documents:
        yield from _row(document)
    yield f"</tbody></table></div>\n<script>{SCRIPT}</script></body></html>\n"


def _head(run: Run) -> Iterator[str]:
    verdict = next(name for name in ORDER if run.verdicts[name] or name == ORDER[-1])
    yield f'<h1>Fleet {escape(run.list_name)}: <span class="verdict {verdict}">{verdict}</span></h1>\n<p>{escape(fleet_summary(run))}</p>\n<dl>'
    for name, text in (
        ("Clair", run.release),
        ("Time", f"{timestamp(run.started_at)} to {timestamp(run.finished_at)}"),
        ("Oldest feed", run.oldest_feed or "unknown"),
        ("Indexed", f"{run.handed_over} manifests; the others as the indexer knew them"),
        ("Results", run.results),
    ):
        yield f"<dt>{name}</dt><dd>{escape(text)}</dd>"
    yield "</dl>\n"


def _changes(run: Run) -> Iterator[str]:
    yield "<h2>Since the last run</h2>\n"
    if not run.compared:
        yield "<p>This is the first run of this list.</p>\n"
        return
    changed = sum(bool(row.new or row.gone) for row in run.rows)
    yield f"<p>{run.new} new findings and {run.gone} gone, in {changed} images.</p>\n"
    for title, names in (("New in the list", run.new_images), ("Gone from the list", run.gone_images)):
        if names:
            yield f"<p>{title}:</p><ul>{''.join(f'<li>{_text(name)}</li>' for name in names)}</ul>\n"


def _form(run: Run) -> Iterator[str]:
    yield '<form><input type="search" id="text" placeholder="image or platform" aria-label="image or platform">'
    for name in ORDER:
        yield f'<label><input type="checkbox" name="verdict" value="{name}" checked> {name} ({run.verdicts[name]})</label>'
    yield '<span id="shown" aria-live="polite"></span></form>\n'


def _row(document: Object) -> Iterator[str]:
    row = read_row(document)
    name = escape(row.name, quote=True)
    yield f'<tr data-verdict="{row.verdict}" data-name="{name}">'
    yield f'<td class="verdict {row.verdict}" data-key="{2 - ORDER.index(row.verdict)}">{row.verdict}</td>'
    yield f'<td class="image" data-key="{name}">{name}<br><small>{_text(document.get("digest") or "no digest")}</small>'
    for reason in document["reasons"]:
        yield f'<br><span class="undecided">{_text(reason)}</span>'
    for reason in document.get("expired") or ():
        yield f'<br><span class="findings">{_text(reason)}</span>'
    changes = document["changes"]
    for title, found in (("new", changes["new"]), ("gone", changes["gone"])) if changes else ():
        if found:
            yield f"<details><summary>{len(found)} {title} since {_text(changes['since'])}</summary><ul>"
            for one in found[:LISTED_FINDINGS]:
                yield f"<li>{_text(one['severity'])} {_text(one['id'])} in {_text(one['package'])}</li>"
            more = len(found) - LISTED_FINDINGS
            yield f"{f'<li>and {more} more</li>' if more > 0 else ''}</ul></details>"
    yield "</td>"
    unknown = row.verdict == UNDECIDED_VERDICT and document.get("counts") is None
    for number in row.counts:
        yield f'<td class="n" data-key="{-1 if unknown else number}">{"" if unknown else number}</td>'
    for change in (row.new, row.gone):
        yield f'<td class="n" data-key="{-1 if change is None else change}">{"" if change is None else change}</td>'
    yield "</tr>\n"


def _text(value: object) -> str:
    return escape(printable(str(value), 400))
