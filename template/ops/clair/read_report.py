"""Clair's two reports as the scan needs them, checked member by member.

Pure. Forms: quay/claircore indexreport.go and vulnerabilityreport.go at v1.5.48 (Clair 4.9.0), the same since 4.5.0. A
report that lacks a member, or points at something it does not contain, is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import intern
from typing import Any, Optional

from ..host.read_json import Object, Unreadable, as_object, part, read_text

# What is kept of the objects that make up most of a report: with descriptions, ranges and the distribution that each
# finding repeats, 50 MB of report would take 400 MiB. A format that shows more reads it from `text`.
_FINDING_PARTS = ("name", "updater", "links", "normalized_severity", "fixed_in_version")
# Values that a report repeats for each finding are kept once.
_REPEATED_PARTS = ("updater", "normalized_severity")
_PACKAGE_PARTS = ("name", "version", "arch")


@dataclass(frozen=True)
class Contents:
    """What the indexer found in an image, the part both reports share: everything by its id in the report."""

    digest: str
    packages: dict[str, Object]
    distributions: dict[str, Object]
    repositories: dict[str, Object]
    environments: dict[str, list[Object]]


@dataclass(frozen=True)
class IndexReport:
    """What the indexer answered: its contents, and whether it finished."""

    contents: Contents
    state: str
    success: bool
    error: str


@dataclass(frozen=True)
class VulnerabilityReport:
    """What the matcher answered.

    `scores` holds the highest CVSS base score of a vulnerability's id, 0 to 10; `text` is the whole report as JSON.
    """

    contents: Contents
    vulnerabilities: dict[str, Object]
    package_vulnerabilities: dict[str, list[str]]
    scores: dict[str, float]
    text: str = field(repr=False, default="")


def parse_index_report(document: Object) -> IndexReport:
    """Return the index report of a JSON object. Raises Unreadable."""
    where = "the index report"
    error = document.get("err")
    return IndexReport(
        _contents(document, where),
        part(document, "state", str, where),
        document.get("success") is True,
        str(error or ""),
    )


def parse_vulnerability_report(text: str) -> VulnerabilityReport:
    """Return the vulnerability report of a JSON text. Raises Unreadable."""
    where = "the vulnerability report"
    document = as_object(read_text(text, _slim))
    contents = _contents(document, where)
    vulnerabilities = _objects(document, "vulnerabilities", where)
    for item in vulnerabilities.values():
        part(item, "name", str, "a vulnerability")
    pairs = part(document, "package_vulnerabilities", dict, where)
    used: set[str] = set()
    for package, ids in pairs.items():
        if (
            package not in contents.packages
            or not isinstance(ids, list)
            or not all(isinstance(item, str) for item in ids)
        ):
            raise Unreadable("package_vulnerabilities of the vulnerability report is not readable")
        used.update(ids)
    if used != set(vulnerabilities):
        raise Unreadable(
            "the vulnerability report lacks vulnerabilities it refers to, or holds some it does not refer to"
        )
    return VulnerabilityReport(contents, vulnerabilities, pairs, _scores(document.get("enrichments")), text)


def _contents(document: Object, where: str) -> Contents:
    environments = part(document, "environments", dict, where)
    for items in environments.values():
        if not isinstance(items, list) or not all(_is_environment(item) for item in items):
            raise Unreadable(f"environments of {where} is not readable")
    packages = _objects(document, "packages", where)
    for item in packages.values():
        part(item, "name", str, "a package")
        part(item, "version", str, "a package")
    return Contents(
        part(document, "manifest_hash", str, where),
        packages,
        _objects(document, "distributions", where),
        _objects(document, "repository", where),
        environments,
    )


def _is_environment(item: Any) -> bool:
    """Return True if an environment ties its package to a distribution and to repositories in a form that can be read."""
    if not isinstance(item, dict):
        return False
    repositories = item.get("repository_ids")
    return isinstance(item.get("distribution_id", ""), str) and (
        repositories is None or (isinstance(repositories, list) and all(isinstance(key, str) for key in repositories))
    )


def _objects(document: Object, name: str, where: str) -> dict[str, Object]:
    found: dict[str, Object] = part(document, name, dict, where)
    if not all(isinstance(item, dict) for item in found.values()):
        raise Unreadable(f"{name} of {where} is not readable")
    return found


def _slim(document: Object) -> Object:
    """Return what is kept of an object of a vulnerability report, known by a member that only its kind has."""
    if "normalized_severity" in document:
        kept = {name: document[name] for name in _FINDING_PARTS if name in document}
        kept.update({name: intern(kept[name]) for name in _REPEATED_PARTS if isinstance(kept.get(name), str)})
        return kept
    if "normalized_version" in document:
        return {name: document[name] for name in _PACKAGE_PARTS if name in document}
    if "baseScore" in document:
        return {"baseScore": document["baseScore"]}
    return document


def _scores(enrichments: Any) -> dict[str, float]:
    """Return the highest base score by vulnerability id.

    An enrichment is a list of objects from vulnerability id to a list of CVSS objects (claircore enricher/cvss/cvss.go
    at v1.5.48: NVD's CVSS 3 objects; before 4.9.0 those of its older feed, with the same `baseScore`).
    """
    scores: dict[str, float] = {}
    if enrichments is None:
        return scores
    if not isinstance(enrichments, dict):
        raise Unreadable("enrichments of the vulnerability report is not readable")
    for kind, values in enrichments.items():
        if "clair.cvss" not in kind:
            continue
        for by_id in values if isinstance(values, list) else []:
            for identifier, items in by_id.items() if isinstance(by_id, dict) else []:
                for item in items if isinstance(items, list) else []:
                    score = _score(item)
                    if score is not None:
                        scores[identifier] = max(score, scores.get(identifier, 0.0))
    return scores


def _score(item: Any) -> Optional[float]:
    score = item.get("baseScore") if isinstance(item, dict) else None
    valid = isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 10
    return float(score) if valid and score is not None else None
