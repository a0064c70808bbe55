"""A scan's result for a program: verdict, options, feeds, findings, and the matcher's report as it came.

Pure. The report is the very text that was judged, in ASCII, so that no terminal obeys what stands in it. Format 1;
members are only ever added. Without a report its members are null, never 0. With all platforms of an index, the
document of each stands in `platforms`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Optional

from ..feeds.find_feeds import Cover
from ..verdict.compare_platforms import ABSENT, NOT_KNOWN, compare_platforms
from ..verdict.finding import SEVERITIES, Finding
from ..verdict.read_ignore import Entry
from ..verdict.report import Report, is_open
from ..verdict.run_scan import Result
from .describe_result import timestamp

FORMAT = 1
# Characters written at once: a file buffers what it is given whole, several times over.
PIECE = 1024 * 1024


def json_report(report: Report) -> Iterator[str]:
    """Yield the whole document in pieces."""
    if not report.whole:
        yield from format_json(report.results[0], report.release)
        return
    head = {
        "format": FORMAT,
        "verdict": report.verdict,
        "exit_code": report.code,
        "image": report.image,
        "clair_release": report.release,
        "time": timestamp(max(result.finished_at for result in report.results)),
    }
    yield json.dumps(head, indent=1)[:-2]
    yield ',\n "differences": '
    yield json.dumps(_differences(report))
    yield ',\n "platforms": ['
    for number, result in enumerate(report.results):
        yield ",\n" if number else "\n"
        yield from format_json(result, report.release)
    yield " ]\n}\n"


def format_json(result: Result, release: str) -> Iterator[str]:
    """Yield the document of one result in pieces."""
    yield json.dumps(_head(result, release), indent=1)[:-2]
    if not result.report:
        yield ',\n "findings": null,\n "report": null\n}\n'
        return
    yield ',\n "findings": ['
    separator = "\n  "
    for finding in result.verdict.findings:
        yield separator + json.dumps(_finding(finding))
        separator = ",\n  "
    yield '\n ],\n "report": '
    for start in range(0, len(result.report), PIECE):
        yield result.report[start : start + PIECE]
    yield "\n}\n"


def result_document(result: Result, release: str) -> dict[str, Any]:
    """Return the document of one result without Clair's report."""
    findings = [_finding(finding) for finding in result.verdict.findings] if result.report else None
    return {**_head(result, release), "findings": findings}


def _head(result: Result, release: str) -> dict[str, Any]:
    verdict, known = result.verdict, bool(result.report)
    return {
        "format": FORMAT,
        "verdict": verdict.verdict,
        "exit_code": verdict.code,
        "reasons": list(verdict.reasons),
        "image": result.image.name,
        "image_id": result.image.id or None,
        "clair_release": release,
        "time": timestamp(result.finished_at),
        "digest": result.image.digest or None,
        "platform": str(result.image.platform),
        "options": _options(result),
        "expired": list(verdict.expired),
        "notes": list(verdict.notes),
        "packages": verdict.packages if known else None,
        "counts": verdict.counts if known else None,
        "failing": verdict.failing if known else None,
        "oldest_feed": None if verdict.oldest_feed is None else timestamp(verdict.oldest_feed),
        "uncovered": [cover.subject for cover in verdict.covers if is_open(cover)],
        "feeds": [_cover(cover) for cover in verdict.covers],
    }


def _options(result: Result) -> dict[str, Any]:
    options = result.options
    return {
        "fail_on": options.fail_on,
        "only_fixed": options.only_fixed,
        "ignore_unknown": options.ignore_unknown,
        "max_feed_age_hours": result.feeds.max_age_seconds / 3600,
        "allow_stale": options.allow_stale,
        "allow_empty": options.allow_empty,
        "ignore_file": options.ignores.path or None,
        "ignore_entries": len(options.ignores.entries),
        "baseline": options.baseline.path if options.baseline else None,
        "baseline_time": options.baseline.time if options.baseline else None,
    }


def _differences(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "package": one.package,
            "severity": SEVERITIES[one.severity],
            "present": {
                label: None if text == NOT_KNOWN else text != ABSENT
                for label, text in zip(report.labels, one.installed)
            },
        }
        for one in compare_platforms(report)
    ]


def _cover(cover: Cover) -> dict[str, Any]:
    return {
        "subject": cover.subject,
        "kind": cover.kind,
        "packages": cover.packages,
        "family": cover.family or None,
        "state": cover.state,
        "updaters": list(cover.updaters),
        "succeeded_at": None if cover.succeeded_at is None else timestamp(cover.succeeded_at),
        "reason": cover.reason,
        "notes": list(cover.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": SEVERITIES[finding.severity],
        "score": finding.score,
        "severity_by_score": finding.by_score,
        "package": finding.package,
        "installed": finding.installed,
        "fixed": finding.fixed or None,
        "fails": finding.fails,
        "ignored": _ignored(finding.ignored),
        "known": finding.known,
    }


def _ignored(entry: Optional[Entry]) -> Optional[dict[str, Any]]:
    if entry is None:
        return None
    return {"entry": entry.number, "reason": entry.reason, "expires": entry.expires.isoformat()}
