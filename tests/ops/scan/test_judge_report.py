"""The verdict: what makes it clean, findings or undecided."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.clair.read_report import parse_index_report, parse_vulnerability_report
from ops.feeds.match_updaters import Feeds, Ledger, LedgerRow
from ops.host.read_json import Unreadable
from ops.receiving.read_fixed import fixed_version
from ops.verdict.finding import SEVERITIES
from ops.verdict.judge_report import Options, Verdict, effective_severity, judge_report

from extensions.catalogue import Catalogue

from .conftest import FAMILIES
from .reports import document_of

NOW = 1_700_000_000.0
DIGEST = "sha256:" + "a" * 64
CVSS = "message/vnd.clair.map.vulnerability; enricher=clair.cvss schema=x"
PACKAGES = ("libssl3@debian", "zlib1g@debian")


def vulnerability(name: str, severity: str = "High", fixed: str = "2", **changes: Any) -> dict[str, Any]:
    """Return one vulnerability as Clair reports it."""
    package = {"id": "", "name": "x", "version": "", "kind": "source", "normalized_version": "", "cpe": ""}
    base = {"id": name, "updater": "debian/updater", "name": name, "description": "text", "links": "https://x.example/"}
    return {
        **base,
        "severity": severity.lower(),
        "normalized_severity": severity,
        "package": package,
        "fixed_in_version": fixed,
        **changes,
    }


class Case:
    """An image with two Debian packages and whatever findings a test gives it."""

    def __init__(self, catalogue: Catalogue) -> None:
        shared = document_of(*PACKAGES, digest=DIGEST)
        self.index: dict[str, Any] = {**shared, "state": "IndexFinished", "success": True, "err": ""}
        self.report: dict[str, Any] = {
            **copy.deepcopy(shared),
            "vulnerabilities": {},
            "package_vulnerabilities": {},
            "enrichments": {},
        }
        known = {name: catalogue.family(name, "4.9.0") for name in catalogue.family_names}
        self.feeds = Feeds(tuple(FAMILIES), known, offline=False, max_age_seconds=24 * 3600)
        self.rows = {"debian/updater": LedgerRow("debian/updater", NOW, NOW, NOW - 3600)}

    def add(self, *found: dict[str, Any], package: str = "1") -> None:
        """Let a package have vulnerabilities."""
        for item in found:
            self.report["vulnerabilities"][item["id"]] = item
            self.report["package_vulnerabilities"].setdefault(package, []).append(item["id"])

    def score(self, identifier: str, *scores: Any) -> None:
        """Let the enrichment hold CVSS base scores."""
        by_id = self.report["enrichments"].setdefault(CVSS, [{}])[0]
        by_id[identifier] = [{"version": "3.1", "baseScore": score} for score in scores]

    def judge(self, **options: Any) -> Verdict:
        return judge_report(
            DIGEST,
            parse_index_report(self.index),
            parse_vulnerability_report(json.dumps(self.report)),
            feeds=self.feeds,
            ledger=Ledger(self.rows),
            present={("debian/updater", "dist_version_code_name", "bookworm"): True},
            options=Options(**options),
            now=NOW,
        )


@pytest.fixture
def case(catalogue: Catalogue) -> Case:
    """An image that is clean."""
    return Case(catalogue)


def test_an_image_is_clean_if_nothing_is_missing_and_nothing_found(case: Case) -> None:
    verdict = case.judge()

    assert (verdict.verdict, verdict.code, verdict.reasons) == ("clean", 0, ())


@pytest.mark.parametrize(
    ("limit", "code"),
    [("critical", 0), ("high", 1), ("medium", 1), ("low", 1), ("negligible", 1), ("any", 1), ("none", 0)],
)
def test_the_limit_is_the_least_severity_that_fails(case: Case, limit: str, code: int) -> None:
    case.add(vulnerability("CVE-1", "High"))

    verdict = case.judge(fail_on=limit)

    assert verdict.code == code
    assert verdict.failing == code


@pytest.mark.parametrize("limit", ["critical", "high", "medium", "low", "negligible", "any"])
def test_an_unknown_severity_counts_as_at_the_limit(case: Case, limit: str) -> None:
    case.add(vulnerability("CVE-1", "Unknown"))

    assert case.judge(fail_on=limit).verdict == "findings"
    assert case.judge(fail_on=limit, ignore_unknown=True).verdict == "clean"
    assert case.judge(fail_on=limit, ignore_unknown=True).counts["Unknown"] == 1


def test_without_a_limit_no_severity_fails(case: Case) -> None:
    case.add(vulnerability("CVE-1", "Unknown"), vulnerability("CVE-2", "Critical"))

    assert case.judge(fail_on="none").verdict == "clean"


@pytest.mark.parametrize(
    ("severity", "scores", "expected"),
    [
        pytest.param("Unknown", [9.8], "Critical", id="9.8"),
        pytest.param("Unknown", [8.9], "High", id="8.9"),
        pytest.param("Unknown", [4.0], "Medium", id="4.0"),
        pytest.param("Unknown", [0.1], "Low", id="0.1"),
        pytest.param("Unknown", [0], "Negligible", id="0"),
        pytest.param("Unknown", [4.0, 9.1], "Critical", id="the highest decides"),
        pytest.param("Unknown", [], "Unknown", id="no score"),
        pytest.param("Unknown", ["9.8", None, True, 11, -1], "Unknown", id="nothing that is a score"),
        pytest.param("Low", [9.8], "Low", id="a severity that Clair knows"),
        pytest.param("Severe", [], "Unknown", id="a severity nobody knows"),
        pytest.param("Severe", [7.5], "High", id="such a one with a score"),
    ],
)
def test_the_score_decides_where_clair_knows_no_severity(
    case: Case, severity: str, scores: list[Any], expected: str
) -> None:
    case.add(vulnerability("CVE-1", severity))
    case.score("CVE-1", *scores)

    (finding,) = case.judge().findings

    assert SEVERITIES[finding.severity] == expected
    assert finding.by_score is (severity not in SEVERITIES[1:] and expected != "Unknown")


def test_only_fixed_leaves_out_what_has_no_fix(case: Case) -> None:
    case.add(vulnerability("CVE-1", "Critical", fixed=""))

    assert case.judge().verdict == "findings"
    assert case.judge(only_fixed=True).verdict == "clean"
    assert len(case.judge(only_fixed=True).findings) == 1


def test_a_vulnerability_in_the_same_package_twice_is_one_finding(case: Case) -> None:
    case.add(vulnerability("CVE-1"), {**vulnerability("CVE-1"), "id": "other"})
    case.add(vulnerability("CVE-1"), package="2")

    assert [(finding.package, finding.id) for finding in case.judge().findings] == [
        ("libssl3", "CVE-1"),
        ("zlib1g", "CVE-1"),
    ]


def test_findings_are_sorted_from_the_worst(case: Case) -> None:
    case.add(vulnerability("CVE-1", "Low"), vulnerability("CVE-2", "Critical"), vulnerability("CVE-3", "Unknown"))

    assert [finding.id for finding in case.judge().findings] == ["CVE-2", "CVE-1", "CVE-3"]


UNDECIDED = [
    pytest.param({"index.state": "IndexError"}, "the image was not indexed to the end (state IndexError)", id="state"),
    pytest.param({"index.success": False, "index.err": "no space"},
                 "the image was not indexed to the end (state IndexFinished): no space", id="no success"),
    pytest.param({"index.err": "odd"}, "the indexer reports an error: odd", id="success with an error"),
    pytest.param({"index.manifest_hash": "sha256:b"}, "the index report is of another manifest, sha256:b", id="other index"),
    pytest.param({"report.manifest_hash": "sha256:b"}, "the vulnerability report is of another manifest, sha256:b",
                 id="other report"),
    pytest.param({"index.packages": {}},
                 "the vulnerability report speaks of other packages than the index report (was the image indexed again?)",
                 id="other packages"),
    pytest.param({"index.distributions": {}},
                 "the vulnerability report speaks of other packages than the index report (was the image indexed again?)",
                 id="other distributions"),
    pytest.param({"rows": {}}, "Debian GNU/Linux 12 (bookworm): the feed debian/updater never loaded", id="no feed"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), UNDECIDED)
@pytest.mark.parametrize("severity", ["Critical", "Low"])
def test_whatever_is_missing_makes_it_undecided(
    case: Case, changes: dict[str, Any], reason: str, severity: str
) -> None:
    case.add(vulnerability("CVE-1", severity))
    for path, value in changes.items():
        name, _, member = path.partition(".")
        if member:
            getattr(case, name)[member] = value
        else:
            setattr(case, name, value)

    verdict = case.judge()

    assert (verdict.verdict, verdict.code) == ("undecided", 3)
    assert reason in verdict.reasons
    assert len(verdict.findings) == 1


def test_every_reason_is_listed(case: Case) -> None:
    case.index["state"] = "IndexError"
    case.report["manifest_hash"] = "sha256:b"
    case.rows = {}

    assert len(case.judge().reasons) == 3


def empty(case: Case) -> Case:
    for document in (case.index, case.report):
        document.update(document_of(digest=DIGEST))
    return case


def test_an_image_without_packages_is_undecided_unless_allowed(case: Case) -> None:
    expected = "Clair found no package in the image, so there was nothing to compare (--allow-empty accepts that)"

    assert empty(case).judge().reasons == (expected,)
    assert empty(case).judge(allow_empty=True).verdict == "clean"


def test_a_stale_feed_is_undecided_unless_allowed(case: Case) -> None:
    case.rows["debian/updater"] = LedgerRow("debian/updater", NOW, NOW, NOW - 25 * 3600)

    (reason,) = case.judge().reasons

    told = "the feed debian/updater last succeeded 25 h ago, 24 h are allowed (--allow-stale accepts that)"
    assert reason == f"Debian GNU/Linux 12 (bookworm): {told}"
    assert case.judge(allow_stale=True).verdict == "clean"


def test_a_feed_that_never_loaded_is_no_stale_feed(case: Case) -> None:
    case.rows = {}

    assert case.judge(allow_stale=True).verdict == "undecided"


def holding(case: Case, *packages: str) -> Case:
    for document in (case.index, case.report):
        document.update(document_of(*packages, digest=DIGEST))
    return case


def test_packages_of_an_unknown_system_are_undecided_whatever_is_allowed(case: Case) -> None:
    verdict = holding(case, "a@debian", "b").judge(allow_stale=True, allow_empty=True)

    assert verdict.reasons == (
        "unknown distribution: 1 package is of no distribution that Clair recognises (var/lib/db)",
    )


def test_a_language_that_no_feed_covers_is_listed_beside_a_verdict(case: Case) -> None:
    verdict = holding(case, "a@debian", "b+npm").judge()

    assert verdict.verdict == "clean"
    assert [(cover.subject, cover.state) for cover in verdict.covers][1] == ("npm packages", "none")


def test_an_image_of_which_no_feed_covers_anything_is_undecided(case: Case) -> None:
    verdict = holding(case, "b+npm").judge(allow_stale=True)

    assert verdict.reasons == (
        "no feed answers for any package of the image: npm packages: no feed that is loaded covers them",
    )


def test_a_languages_feed_that_never_loaded_is_undecided(case: Case) -> None:
    verdict = holding(case, "a@debian", "b+pypi").judge()

    assert verdict.reasons == ("pypi packages: the feed osv/pypi never loaded",)


def test_an_old_feed_of_a_language_is_shown_and_not_held_against_the_image(case: Case) -> None:
    case.rows["osv/pypi"] = LedgerRow("osv/pypi", NOW, NOW, NOW - 400 * 3600)

    verdict = holding(case, "a@debian", "b+pypi").judge()

    assert verdict.verdict == "clean"
    assert [cover.state for cover in verdict.covers] == ["fresh", "stale"]


def test_an_old_feed_of_a_language_alone_supports_no_verdict(case: Case) -> None:
    case.rows["osv/pypi"] = LedgerRow("osv/pypi", NOW, NOW, NOW - 400 * 3600)

    assert holding(case, "b+pypi").judge().verdict == "undecided"
    assert holding(case, "b+pypi").judge(allow_stale=True).verdict == "clean"


@pytest.mark.parametrize("member", ["vulnerabilities", "package_vulnerabilities", "packages", "distributions", "repository",
                                    "environments", "manifest_hash"])  # fmt: skip
@pytest.mark.parametrize("value", [None, [], 1, "missing"])
def test_a_report_without_one_of_its_members_is_not_read(case: Case, member: str, value: Any) -> None:
    case.add(vulnerability("CVE-1"))
    if value == "missing":
        del case.report[member]
    else:
        case.report[member] = value

    with pytest.raises(Unreadable):
        case.judge()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda report: report["vulnerabilities"].clear(), id="vulnerabilities gone"),
        pytest.param(lambda report: report["package_vulnerabilities"].clear(), id="references gone"),
        pytest.param(lambda report: report["package_vulnerabilities"].update({"9": ["CVE-1"]}), id="unknown package"),
        pytest.param(lambda report: report["package_vulnerabilities"].update({"1": None}), id="no list"),
        pytest.param(lambda report: report["vulnerabilities"]["CVE-1"].pop("name"), id="no name"),
    ],
)
def test_a_report_that_points_at_what_it_does_not_hold_is_not_read(case: Case, damage: Any) -> None:
    case.add(vulnerability("CVE-1"))
    damage(case.report)

    with pytest.raises(Unreadable):
        case.judge()


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("3.0.13-1~deb12u1", "3.0.13-1~deb12u1"),
        ("", ""),
        ("fixed=1.2.3&introduced=0", "1.2.3"),
        ("introduced=0&lastAffected=1.1", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_fixed_version_is_read_in_both_of_its_forms(text: Any, fixed: str) -> None:
    assert fixed_version(text) == fixed


@given(st.sampled_from(SEVERITIES), st.none() | st.floats(0, 10))
def test_a_score_never_lowers_a_severity_that_clair_knows(severity: str, score: float | None) -> None:
    level, by_score = effective_severity(severity, score)

    assert level == SEVERITIES.index(severity) if severity != "Unknown" else level >= 0
    assert by_score is (severity == "Unknown" and score is not None)
