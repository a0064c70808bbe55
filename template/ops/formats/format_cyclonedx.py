"""A scan's result as CycloneDX 1.6 in JSON: the packages of the image, their vulnerabilities, the verdict.

Pure. Specification: CycloneDX 1.6, bom-1.6.schema.json. What has no member of its own stands in `properties`, named
`clair:...`. An undecided scan says so in the metadata and in `compositions`: what is listed is incomplete.
"""

from __future__ import annotations

import json
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

from ..verdict.finding import SEVERITIES, UNDECIDED_VERDICT, Finding
from ..verdict.report import Report
from ..verdict.run_scan import Result
from .describe_result import age, cover_text, facts, standing, summary, timestamp
from .neutralise_text import web_links
from .read_details import Component, read_components, read_descriptions

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
# Clair's severities as CycloneDX names them, in the order of SEVERITIES.
SEVERITY_NAMES = ("unknown", "info", "low", "medium", "high", "critical")
# What the schema takes.
VERSION_LIMIT = 1024

Affected = dict[tuple[str, str, str], list[str]]


def cyclonedx_report(report: Report) -> Iterator[str]:
    """Yield the whole document in pieces."""
    first = report.results[0]
    head = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_serial(report)}",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(max(result.finished_at for result in report.results)),
            "tools": {"components": [{"type": "application", "name": "clair", "version": report.release}]},
            "component": _image(first, "image", report.whole),
            "properties": [
                _property("verdict", report.verdict),
                _property("exit_code", str(report.code)),
                *([] if report.whole else _properties(first, report.release)),
            ],
        },
    }
    yield json.dumps(head, indent=1)[:-2] + ',\n "components": ['
    known: list[Affected] = []
    parts: dict[str, list[str]] = {}
    for number, (label, result) in enumerate(report.labelled):
        components, affected = read_components(result)
        known.append(affected)
        parts[_place(report, label)] = [_reference(label, component.id) for component in components]
        if report.whole:
            place = {**_image(result, label, False), "properties": _properties(result, report.release)}
            yield (",\n" if number else "\n") + json.dumps(place)[:-1] + ', "components": ['
        separator = "\n  "
        for component in sorted(components, key=lambda one: (one.name, one.version, one.id)):
            yield separator + json.dumps(_component(component, label))
            separator = ",\n  "
        yield "]}" if report.whole else ""
    yield '\n ],\n "vulnerabilities": ['
    separator = "\n  "
    for document in _vulnerabilities(report, known):
        yield separator + json.dumps(document)
        separator = ",\n  "
    if report.whole:
        parts["image:image"] = list(parts)
    graph = [{"ref": place, "dependsOn": sorted(references)} for place, references in parts.items()]
    yield f'\n ],\n "dependencies": {json.dumps(graph)},\n "compositions": {json.dumps(_compositions(report))}\n}}\n'


def _serial(report: Report) -> uuid.UUID:
    """Return a number of the document that is the same whenever the same result is written."""
    parts = [part for result in report.results for part in (result.image.digest, str(result.finished_at))]
    return uuid.uuid5(uuid.NAMESPACE_URL, "\n".join((report.image, *parts)))


def _image(result: Result, reference: str, whole: bool) -> dict[str, Any]:
    image = result.image
    document: dict[str, Any] = {"type": "container", "bom-ref": f"image:{reference}", "name": image.name}
    if image.digest and not whole:
        document["version"] = image.digest
        document["purl"] = _image_address(result)
    return document


def _image_address(result: Result) -> str:
    """Return the image's package URL (purl-spec type oci)."""
    image = result.image
    tagged = image.name.partition("@")[0]
    last = tagged.rpartition("/")[2]
    name, _, tag = last.partition(":")
    qualifiers = {
        "arch": image.platform.architecture,
        "repository_url": tagged[: len(tagged) - len(last)] + name,
        "tag": tag,
    }
    pairs = "&".join(f"{key}={_quote(value)}" for key, value in qualifiers.items() if value)
    return f"pkg:oci/{_quote(name.lower())}@{image.digest.replace(':', '%3A')}?{pairs}"


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="", errors="replace")


def _properties(result: Result, release: str) -> list[dict[str, str]]:
    verdict = result.verdict
    return [
        *(_property(name.replace(" ", "_"), text) for name, text in facts(result, release)),
        _property("max_feed_age", age(result.feeds.max_age_seconds)),
        _property("summary", f"{verdict.verdict}: {summary(result)}"),
        *(_property("reason", reason) for reason in verdict.reasons),
        *(_property("expired", sentence) for sentence in verdict.expired),
        *(_property("feed", cover_text(cover, result.finished_at)) for cover in verdict.covers),
        *(_property("note", note) for cover in verdict.covers for note in cover.notes),
        *(_property("note", note) for note in verdict.notes),
    ]


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"clair:{name}", "value": value}


def _component(component: Component, label: str) -> dict[str, Any]:
    document = {"type": "library", "bom-ref": _reference(label, component.id), "name": component.name}
    if component.version:
        document["version"] = component.version[:VERSION_LIMIT]
    if component.purl:
        document["purl"] = component.purl
    return document


def _reference(label: str, package: str) -> str:
    return f"{label}:package:{package}"


def _vulnerabilities(report: Report, known: list[Affected]) -> Iterator[dict[str, Any]]:
    """Yield one document for each vulnerability, and another for each different decision on it."""
    grouped: dict[tuple[str, str], list[tuple[int, Finding]]] = {}
    descriptions: dict[str, str] = {}
    for number, result in enumerate(report.results):
        descriptions.update(read_descriptions(result))
        for finding in result.verdict.findings:
            grouped.setdefault((finding.id, standing(finding)), []).append((number, finding))
    for number, ((identifier, aside), findings) in enumerate(grouped.items()):
        worst = max((finding for _, finding in findings), key=lambda finding: (finding.severity, finding.score or 0))
        document: dict[str, Any] = {
            "bom-ref": f"vulnerability:{number}",
            "id": identifier,
            "ratings": [_rating(worst)],
            "affects": list(_affects(report, known, findings)),
        }
        text = descriptions.get(identifier, "").strip()
        if text:
            document["description"] = text
        links = web_links(" ".join(finding.links for _, finding in findings))
        if links:
            document["advisories"] = [{"url": link} for link in links]
        fixes = {f"{finding.package} {finding.fixed}" for _, finding in findings if finding.fixed}
        if fixes:
            document["recommendation"] = f"update to {', '.join(sorted(fixes))}"
        if any(finding.ignored for _, finding in findings):
            document["analysis"] = {"state": "in_triage", "detail": aside}
        document["properties"] = [
            _property("fails", str(any(finding.fails for _, finding in findings)).lower()),
            *([_property("standing", aside)] if aside else []),
        ]
        yield document


def _rating(finding: Finding) -> dict[str, Any]:
    rating: dict[str, Any] = {"severity": SEVERITY_NAMES[finding.severity]}
    if finding.score is not None:
        rating["score"] = finding.score
        rating["justification"] = (
            "the CVSS base score decides the severity"
            if finding.by_score
            else f"the severity is the distribution's, {SEVERITIES[finding.severity]}; the score is the CVSS base score"
        )
    return rating


def _affects(report: Report, known: list[Affected], findings: list[tuple[int, Finding]]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number, finding in findings:
        for package in known[number].get((finding.package, finding.installed, finding.id), ()):
            reference = _reference(report.labels[number], package)
            if reference not in seen:
                seen.add(reference)
                version = finding.installed[:VERSION_LIMIT]
                versions = [{"version": version, "status": "affected"}] if version else []
                yield {"ref": reference, **({"versions": versions} if versions else {})}


def _compositions(report: Report) -> list[dict[str, Any]]:
    open_ones = [
        _place(report, label) for label, result in report.labelled if result.verdict.verdict == UNDECIDED_VERDICT
    ]
    return [{"aggregate": "incomplete", "assemblies": open_ones}] if open_ones else []


def _place(report: Report, label: str) -> str:
    """Return the reference of the image a result is about."""
    return f"image:{label}" if report.whole else "image:image"
