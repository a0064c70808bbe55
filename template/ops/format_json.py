"""A scan's result for a program: verdict, feeds, findings, and the matcher's report as it came.

Pure. The report is the very text that was judged, in ASCII, so that no terminal obeys what stands in it. Format 1;
members are only ever added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from .errors import UNDECIDED
from .find_feeds import Cover
from .format_table import timestamp
from .judge_report import SEVERITIES, UNDECIDED_VERDICT, Finding
from .run_scan import Result

FORMAT = 1
# Characters written at once: a file buffers what it is given whole, several times over.
PIECE = 1024 * 1024


def format_json(result: Result, release: str) -> Iterator[str]:
    """Yield the document in pieces."""
    verdict, options = result.verdict, result.options
    head = {
        **_head(verdict.verdict, verdict.code, verdict.reasons, result.image.name, about=(release, result.finished_at)),
        "digest": result.image.digest,
        "platform": str(result.image.platform),
        "options": {
            "fail_on": options.fail_on,
            "only_fixed": options.only_fixed,
            "ignore_unknown": options.ignore_unknown,
            "max_feed_age_hours": result.feeds.max_age_seconds / 3600,
            "allow_stale": options.allow_stale,
            "allow_empty": options.allow_empty,
        },
        "packages": verdict.packages,
        "counts": verdict.counts,
        "failing": verdict.failing,
        "oldest_feed": None if verdict.oldest_feed is None else timestamp(verdict.oldest_feed),
        "feeds": [_cover(cover) for cover in verdict.covers],
    }
    yield json.dumps(head, indent=1)[:-2]
    yield ',\n "findings": ['
    separator = "\n  "
    for finding in verdict.findings:
        yield separator + json.dumps(_finding(finding))
        separator = ",\n  "
    yield '\n ],\n "report": '
    for start in range(0, len(result.report), PIECE):
        yield result.report[start : start + PIECE]
    yield "\n}\n"


def format_failure(reason: str, image: str, release: str, now: float, **known: Optional[str]) -> str:
    """Return the document of a scan that ended without a report: undecided, with the one reason.

    `known` is what is known of digest and platform. `now` is in seconds since 1970.
    """
    document = _head(UNDECIDED_VERDICT, UNDECIDED, [reason], image, about=(release, now))
    return json.dumps({**document, **known, "report": None}, indent=1) + "\n"


def _head(verdict: str, code: int, reasons: Sequence[str], image: str, *, about: tuple[str, float]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "verdict": verdict,
        "exit_code": code,
        "reasons": list(reasons),
        "image": image,
        "clair_release": about[0],
        "time": timestamp(about[1]),
    }


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
    }
