"""A result in words: the facts, options, feeds and notes that every format states.

Pure. Names come from images, feeds and files: what is returned here is in one line and without control characters.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from typing import Optional

from ..feeds.find_feeds import Cover
from ..feeds.match_updaters import FRESH, duration
from ..host.escape_text import printable
from ..verdict.finding import UNDECIDED_VERDICT, Finding
from ..verdict.report import Report, count_packages
from ..verdict.run_scan import Result

LONG = 300


def timestamp(seconds: Optional[float]) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC."""
    if seconds is None:
        return "unknown"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def facts(result: Result, release: str) -> list[tuple[str, str]]:
    """Return what a verdict is about, as pairs of name and text."""
    return [
        ("image", printable(result.image.name, LONG)),
        *([("image id", printable(result.image.id, LONG))] if result.image.id else []),
        ("digest", result.image.digest or "unknown"),
        ("platform", str(result.image.platform)),
        ("clair", release),
        ("time", timestamp(result.finished_at)),
        ("options", options_used(result)),
    ]


def options_used(result: Result) -> str:
    """Return the options that decided, in the form of the command line."""
    options = result.options
    words = ["--fail-on", options.fail_on, "--max-feed-age", age(result.feeds.max_age_seconds)]
    for flag, value in (
        ("--only-fixed", options.only_fixed),
        ("--ignore-unknown", options.ignore_unknown),
        ("--allow-stale", options.allow_stale),
        ("--allow-empty", options.allow_empty),
    ):
        words += [flag] if value else []
    text = " ".join(words)
    if options.ignores.path:
        number = len(options.ignores.entries)
        entries = f"{number} {'entry' if number == 1 else 'entries'}"
        text += f" --ignore {_quoted(options.ignores.path)} ({entries})"
    if options.baseline:
        text += f" --baseline {_quoted(options.baseline.path)} (of {printable(options.baseline.time, 40)})"
    return text


def age(seconds: float) -> str:
    """Return an age in the form of --max-feed-age."""
    for unit, length in (("d", 86400), ("h", 3600)):
        if seconds % length == 0 and (unit == "h" or seconds > 2 * length):
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


def cover_text(cover: Cover, now: float) -> str:
    """Return which feed answers for a distribution or language, or why none does; `now` is when it was judged."""
    if cover.succeeded_at is None:
        return f"{cover.subject}: {cover.reason}; {count_packages(cover)}"
    told = "" if cover.state == FRESH else f"; {cover.reason}"
    return f"{cover.subject}: {feed_text(cover, now)}; {count_packages(cover)}{told}"


def feed_text(cover: Cover, now: float) -> str:
    """Return the feed's updaters with the date and age of the oldest."""
    old = duration(max(0.0, now - (cover.succeeded_at or 0.0)))
    updaters = ", ".join(cover.updaters[:3]) + (
        f" and {len(cover.updaters) - 3} more" if len(cover.updaters) > 3 else ""
    )
    return f"{updaters} of {timestamp(cover.succeeded_at)} ({old} old)"


def summary(result: Result) -> str:
    """Return in a few words what the verdict says of the findings."""
    verdict, limit = result.verdict, result.options.fail_on
    if verdict.verdict == UNDECIDED_VERDICT:
        number = len(verdict.reasons)
        return f"{number} reason{'' if number == 1 else 's'} why nothing can be said for certain"
    where = {"any": "at all", "none": "counted"}.get(limit, f"at or above {limit}")
    fixed = " with a fix" if result.options.only_fixed else ""
    new = "new " if result.options.baseline else ""
    expired = len(verdict.expired)
    entries = f"; {expired} ignore {'entry has' if expired == 1 else 'entries have'} expired" if expired else ""
    if not verdict.failing:
        unknown = sum(finding.severity == 0 for finding in verdict.findings)
        ignored = f" ({unknown} of unknown severity ignored)" if unknown and result.options.ignore_unknown else ""
        empty = "" if verdict.packages else ", for there is no package (--allow-empty)"
        return f"no {new}finding{fixed} {where}{ignored}{empty}{_set_aside(result)}{entries}"
    unknown = sum(finding.fails and finding.severity == 0 for finding in verdict.findings)
    among = f", {unknown} of them of unknown severity" if unknown else ""
    found = f"{verdict.failing} {new}{'finding' if verdict.failing == 1 else 'findings'}"
    return f"{found}{fixed} {where}{among}{_set_aside(result)}{entries}"


def counts_text(result: Result) -> str:
    """Return how many findings there are of each severity."""
    verdict = result.verdict
    counts = ", ".join(f"{number} {name.lower()}" for name, number in verdict.counts.items())
    findings, packages = len(verdict.findings), verdict.packages
    return f"{findings} finding{'' if findings == 1 else 's'} in {packages} package{'' if packages == 1 else 's'}: {counts}"


def standing(finding: Finding) -> str:
    """Return why a finding does not count although its severity may, or nothing."""
    texts = []
    if finding.ignored:
        entry = finding.ignored
        texts.append(f"ignored until {entry.expires.isoformat()}, {entry.place}: {printable(entry.reason, LONG)}")
    if finding.known:
        texts.append("known from the baseline")
    return "; ".join(texts)


def headline(report: Report) -> str:
    """Return the verdict on the whole image in one line."""
    if not report.whole:
        return f"{report.verdict}: {summary(report.results[0])}"
    each = ", ".join(f"{label} {result.verdict.verdict}" for label, result in report.labelled)
    return f"{report.verdict}: {each}"


def _set_aside(result: Result) -> str:
    findings = result.verdict.findings
    ignored = sum(finding.ignored is not None for finding in findings)
    known = sum(finding.known and not finding.ignored for finding in findings)
    return (f", {ignored} ignored" if ignored else "") + (f", {known} known" if known else "")


def _quoted(path: str) -> str:
    return shlex.quote(printable(path, LONG))
