"""The verdict on one image: clean, findings or undecided, with every reason.

Pure. Clean is said only where nothing is missing: the image was indexed, packages were found, a feed answers for each
of its distributions, the report is of the digest asked for. Whatever is unknown makes the verdict `undecided`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..clair.read_report import Contents, IndexReport, VulnerabilityReport
from ..errors import NO, UNDECIDED
from ..feeds.find_feeds import Cover, Question, find_feeds
from ..feeds.match_updaters import FRESH, NEVER, NO_AGE, STALE, Feeds, Ledger
from ..host.escape_text import printable
from ..receiving.read_fixed import fixed_version
from .apply_policy import apply_policy
from .compare_baseline import Baseline
from .finding import CLEAN, FINDINGS, LIMITS, SCORE_LIMITS, SEVERITIES, UNDECIDED_VERDICT, UNKNOWN, Finding
from .read_ignore import Ignores


@dataclass(frozen=True)
class Options:
    """What the user allows."""

    fail_on: str = "critical"
    only_fixed: bool = False
    ignore_unknown: bool = False
    allow_stale: bool = False
    allow_empty: bool = False
    ignores: Ignores = field(default_factory=Ignores)
    baseline: Optional[Baseline] = None


@dataclass(frozen=True)
class Verdict:
    """The verdict, its reasons (if undecided), and what it rests on.

    `expired` are sentences on ignore entries that fail the scan, `notes` such as change no verdict.
    """

    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    covers: tuple[Cover, ...]
    packages: int
    expired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: 0 clean, 1 findings, 3 undecided."""
        return {CLEAN: 0, FINDINGS: NO}.get(self.verdict, UNDECIDED)

    @property
    def failing(self) -> int:
        """How many findings count for the limit."""
        return sum(finding.fails for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity, the highest first; Unknown is always there."""
        found = [0] * len(SEVERITIES)
        for finding in self.findings:
            found[finding.severity] += 1
        return {SEVERITIES[level]: found[level] for level in reversed(range(len(SEVERITIES)))}

    @property
    def oldest_feed(self) -> Optional[float]:
        """When the oldest feed that answers last succeeded, in seconds since 1970."""
        return min((cover.succeeded_at for cover in self.covers if cover.succeeded_at is not None), default=None)


def judge_report(
    digest: str,
    index: IndexReport,
    report: VulnerabilityReport,
    *,
    feeds: Feeds,
    ledger: Ledger,
    present: Mapping[Question, bool],
    options: Options,
    now: float,
    image: str = "",
    platform: str = "",
) -> Verdict:
    """Return the verdict on the manifest `digest`; `now` is in seconds since 1970.

    `image` (full name) and `platform` decide which entries of the ignore file and of the baseline apply.
    """
    covers = find_feeds(report.contents, feeds, ledger, present, now)
    reasons = [
        *_index_reasons(digest, index),
        *_report_reasons(digest, index, report),
        *([] if report.contents.packages or options.allow_empty else [EMPTY]),
        *_feed_reasons(covers, options.allow_stale),
    ]
    known = options.baseline.of(platform) if options.baseline else {}
    policy = apply_policy(find_findings(report, options), options.ignores, known, image=image, now=now)
    failing = policy.expired or any(finding.fails for finding in policy.findings)
    verdict = UNDECIDED_VERDICT if reasons else FINDINGS if failing else CLEAN
    packages = len(report.contents.packages)
    return Verdict(
        verdict, tuple(reasons), tuple(policy.findings), tuple(covers), packages, policy.expired, policy.notes
    )


EMPTY = "Clair found no package in the image, so there was nothing to compare (--allow-empty accepts that)"


def _index_reasons(digest: str, index: IndexReport) -> list[str]:
    reasons = []
    if index.contents.digest != digest:
        reasons.append(f"the index report is of another manifest, {printable(index.contents.digest)}")
    if index.state != "IndexFinished" or not index.success:
        failure = f": {printable(index.error, 300)}" if index.error else ""
        reasons.append(f"the image was not indexed to the end (state {printable(index.state or 'empty', 40)}){failure}")
    elif index.error:
        reasons.append(f"the indexer reports an error: {printable(index.error, 300)}")
    return reasons


def _report_reasons(digest: str, index: IndexReport, report: VulnerabilityReport) -> list[str]:
    reasons = []
    if report.contents.digest != digest:
        reasons.append(f"the vulnerability report is of another manifest, {printable(report.contents.digest)}")
    if _shape(report.contents) != _shape(index.contents):
        reasons.append(
            "the vulnerability report speaks of other packages than the index report (was the image indexed again?)"
        )
    return reasons


def _shape(contents: Contents) -> object:
    """Return what two reports of the same indexing have in common."""
    packages = {key: (item.get("name"), item.get("version")) for key, item in contents.packages.items()}
    return packages, contents.distributions, contents.repositories, contents.environments


def _feed_reasons(covers: list[Cover], allow_stale: bool) -> list[str]:
    """Return why the feeds support no verdict.

    An old feed of a language is shown and not held against the image: Clair fetches those only when it starts and when
    the list of ecosystems changes (families.yaml, osv). One that was asked for and never loaded is.
    """
    accepted = (FRESH, STALE, NO_AGE) if allow_stale else (FRESH,)
    reasons = []
    for cover in covers:
        undecided = cover.state not in accepted if cover.kind != "language" else cover.state == NEVER
        if undecided:
            hint = " (--allow-stale accepts that)" if cover.state in (STALE, NO_AGE) else ""
            reasons.append(f"{cover.subject}: {cover.reason}{hint}")
    if covers and not reasons and not any(cover.state in accepted for cover in covers):
        listed = "; ".join(f"{cover.subject}: {cover.reason}" for cover in covers)
        reasons.append(f"no feed answers for any package of the image: {listed}")
    return reasons


def find_findings(report: VulnerabilityReport, options: Options) -> list[Finding]:
    """Return every vulnerability of every package, the worst first; the same one in the same package once."""
    limit = LIMITS[options.fail_on]
    # The same finding from two records of a feed is one, with the links of both.
    found: dict[Finding, str] = {}
    for package, identifiers in report.package_vulnerabilities.items():
        item = report.contents.packages[package]
        for identifier in identifiers:
            vulnerability = report.vulnerabilities[identifier]
            score = report.scores.get(identifier)
            severity, by_score = effective_severity(vulnerability.get("normalized_severity"), score)
            fixed = fixed_version(vulnerability.get("fixed_in_version"))
            fails = severity >= limit
            if severity == UNKNOWN:
                fails = options.fail_on != "none" and not options.ignore_unknown
            finding = Finding(
                severity,
                item["name"],
                item["version"],
                fixed,
                vulnerability["name"],
                score,
                by_score,
                fails and bool(fixed or not options.only_fixed),
                "",
            )
            links, known = str(vulnerability.get("links") or ""), found.get(finding, "")
            found[finding] = " ".join(dict.fromkeys(f"{known} {links}".split())) if known != links else links
    merged = (finding._replace(links=links) for finding, links in found.items())
    return sorted(
        merged, key=lambda finding: (-finding.severity, finding.package, finding.id, finding.installed, finding.fixed)
    )


def effective_severity(normalized: object, score: Optional[float]) -> tuple[int, bool]:
    """Return the severity as an index of SEVERITIES, and whether the score decided it."""
    if normalized in SEVERITIES[1:]:
        return SEVERITIES.index(str(normalized)), False
    if score is None:
        return UNKNOWN, False
    return next(level for least, level in SCORE_LIMITS if score >= least), True
