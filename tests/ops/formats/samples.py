"""Reports to format: judged by the real code from Clair's JSON, with whatever text a test gives."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.clair.read_report import parse_index_report, parse_vulnerability_report
from ops.feeds.match_updaters import Feeds, Ledger, LedgerRow
from ops.formats.format_report import format_report
from ops.registries.parse_reference import parse_platform
from ops.registries.registry import Image
from ops.verdict.compare_baseline import Baseline
from ops.verdict.judge_report import Options, judge_report
from ops.verdict.read_ignore import Ignores, parse_ignores
from ops.verdict.report import Report, failed_result
from ops.verdict.run_scan import Result

from extensions.catalogue import load_catalogue
from tests.support.places import DATA

NOW = 1_795_000_000.0  # 2026-11-18T02:26:40Z
RELEASE = "4.9.0"
IMAGE = "registry.example.com:5000/team/app:1.2"
DIGEST = "sha256:" + "a" * 64
CVSS = "message/vnd.clair.map.vulnerability; enricher=clair.cvss schema=x"
CATALOGUE = load_catalogue(DATA)
DEBIAN = {
    "id": "1", "did": "debian", "name": "Debian GNU/Linux", "version": "12 (bookworm)", "version_code_name": "bookworm",
    "version_id": "12", "arch": "", "cpe": "", "pretty_name": "Debian GNU/Linux 12 (bookworm)",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """One finding as a feed has it."""

    id: str = "CVE-2024-6119"
    package: str = "libssl3"
    installed: str = "3.0.11-1"
    fixed: str = "3.0.14-1"
    severity: str = "Critical"
    description: str = "A crash in the certificate check."
    links: str = "https://tracker.example/CVE-2024-6119"
    score: float | None = None


SOME = (
    Found(),
    Found("CVE-2024-0727", "libssl3", fixed="3.0.13-1", severity="High", score=9.8),
    Found("CVE-2010-4756", "libc6", "2.36-9", "", "Low", links=""),
    Found("CVE-2025-31115", "liblzma5", "5.4.1", "5.4.1-1", "Unknown", description=""),
    Found("CVE-2025-1000", "zlib1g", "1:1.2", "1:1.3", "Unknown", score=7.5),
)


def documents(found: Iterable[Found], *, languages: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the indexer's and the matcher's report of a Debian image with these findings."""
    packages: dict[str, Any] = {}
    environments: dict[str, Any] = {}
    vulnerabilities: dict[str, Any] = {}
    pairs: dict[str, list[str]] = {}
    numbers: dict[tuple[str, str], str] = {}
    scores: dict[str, Any] = {}

    def add(name: str, version: str, environment: dict[str, Any]) -> str:
        number = numbers.setdefault((name, version), str(len(numbers) + 1))
        packages[number] = {"id": number, "name": name, "version": version, "kind": "binary", "normalized_version": "",
                            "arch": "amd64", "cpe": ""}  # fmt: skip
        environments[number] = [{"introduced_in": DIGEST, **environment}]
        return number

    system = {"package_db": "var/lib/dpkg/status", "distribution_id": "1", "repository_ids": None}
    add("base-files", "12.4", system)
    for number, one in enumerate(found, 100):
        package = add(one.package, one.installed, system)
        vulnerabilities[str(number)] = {
            "id": str(number), "updater": "debian/updater", "name": one.id, "description": one.description,
            "links": one.links, "severity": one.severity.lower(), "normalized_severity": one.severity,
            "package": {"id": "", "name": one.package, "version": "", "kind": "source", "normalized_version": "", "cpe": ""},
            "fixed_in_version": one.fixed,
        }  # fmt: skip
        pairs.setdefault(package, []).append(str(number))
        if one.score is not None:
            scores[str(number)] = [{"baseScore": one.score}]
    repositories = {}
    for number, language in enumerate(languages, 1):
        repositories[str(number)] = {"id": str(number), "name": language, "key": "", "uri": ""}
        add(f"a-{language}-package", "1.0", {"package_db": "x", "distribution_id": "", "repository_ids": [str(number)]})
    shared = {"manifest_hash": DIGEST, "packages": packages, "distributions": {"1": DEBIAN}, "repository": repositories,
              "environments": environments}  # fmt: skip
    index = {**shared, "state": "IndexFinished", "success": True, "err": ""}
    report = {**copy.deepcopy(shared), "vulnerabilities": vulnerabilities, "package_vulnerabilities": pairs,
              "enrichments": {CVSS: [scores]} if scores else {}}  # fmt: skip
    return index, report


def result(
    found: Iterable[Found] = SOME,
    *,
    hours_ago: float = 1,
    image: str = IMAGE,
    platform: str = "linux/amd64",
    languages: Sequence[str] = (),
    ignore: Sequence[dict[str, Any]] = (),
    baseline: Baseline | None = None,
    **options: Any,
) -> Result:
    """Return the judged result of an image with these findings, whose feed succeeded `hours_ago`."""
    index, report = documents(found, languages=languages)
    known = {name: CATALOGUE.family(name, RELEASE) for name in CATALOGUE.family_names}
    feeds = Feeds(("debian",), known, offline=False, max_age_seconds=24 * 3600)
    ignores = Ignores(".clair-ignore.json", parse_ignores({"ignore": list(ignore)})) if ignore else Ignores()
    allowed = Options(ignores=ignores, baseline=baseline, **options)
    text = json.dumps(report)
    verdict = judge_report(
        DIGEST,
        parse_index_report(index),
        parse_vulnerability_report(text),
        feeds=feeds,
        ledger=Ledger({"debian/updater": LedgerRow("debian/updater", NOW, NOW, NOW - hours_ago * 3600)}),
        present={("debian/updater", "dist_version_code_name", "bookworm"): True},
        options=allowed,
        now=NOW,
        image=image,
        platform=platform,
    )
    digest = "sha256:" + f"{sum(platform.encode()):064x}"
    return Result(Image(image, digest, parse_platform(platform), ()), verdict, feeds, allowed, NOW, text)


def report(found: Iterable[Found] = SOME, **options: Any) -> Report:
    """Return the report of one image."""
    return Report((result(found, **options),), RELEASE)


def clean_report() -> Report:
    """Return the report of a clean image."""
    return report(())


def undecided_report() -> Report:
    """Return the report of an image whose feed is too old, with findings."""
    return report(hours_ago=72)


def failed_report(reason: str = "matcher not available, http://127.0.0.1:6060: HTTP 502") -> Report:
    """Return the report of a scan to which no answer came."""
    known = result(())
    return Report((failed_result(known.image, reason, known.feeds, known.options, NOW),), RELEASE)


def platforms_report(*, arm_undecided: bool = False) -> Report:
    """Return the report of an index whose amd64 image is patched and whose arm64 image is not."""
    patched = result(SOME[2:], platform="linux/amd64")
    other = result(SOME, platform="linux/arm64", hours_ago=72 if arm_undecided else 1)
    return Report((patched, other), RELEASE, whole=True)


def expired_report() -> Report:
    """Return the report of an image with no finding, and an ignore entry that expired."""
    entry = {"id": "CVE-2020-1", "reason": "was accepted", "expires": "2026-01-31"}
    return report((), ignore=[entry])


def aside_report() -> Report:
    """Return the report of an image with a finding that is ignored and one that is known."""
    entry = {"id": "CVE-2024-6119", "package": "libssl3", "reason": "not reachable: see T-12", "expires": "2026-12-31"}
    baseline = Baseline("last.json", "2026-11-01T00:00:00Z", {"linux/amd64": {("CVE-2025-31115", "liblzma5"): 0}})
    return report(SOME, ignore=[entry], baseline=baseline)


REPORTS = {
    "findings": report,
    "clean": clean_report,
    "undecided": undecided_report,
    "failed": failed_report,
    "platforms": platforms_report,
    "platforms-undecided": lambda: platforms_report(arm_undecided=True),
    "expired": expired_report,
    "aside": aside_report,
    "languages": lambda: report(languages=("pypi", "npm")),
}


def text_of(report: Report, name: str) -> str:
    """Return a report in a format."""
    return "".join(format_report(report, name))


def with_image(report: Report, name: str) -> Report:
    """Return a report about an image of another name."""
    return replace(report, results=tuple(replace(one, image=replace(one.image, name=name)) for one in report.results))
