"""A scan's result as SARIF 2.1.0, for code scanning (GitHub and others).

Pure. One run for each platform. GitHub reads of it: rules with help and `security-severity`, `partialFingerprints`, a
location in the repository's tree (an image has none: its name stands there as a relative path, for a scheme or a colon
before the first slash is refused), `automationDetails.id` as category. An undecided scan is a run that was not
successful and holds a result of its own, so that no reader takes it for an image without findings.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from ..host.escape_text import printable
from ..verdict.compare_platforms import compare_platforms
from ..verdict.finding import SEVERITIES, UNDECIDED_VERDICT, Finding
from ..verdict.report import Report, is_open
from ..verdict.run_scan import Result
from .describe_result import cover_text, facts, standing, summary, timestamp
from .describe_rules import EXPIRED_RULE, UNDECIDED_RULE, describe_rule, find_rules, own_rules, result_level
from .neutralise_text import message_text
from .read_details import read_descriptions

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
INFORMATION = "https://quay.github.io/clair/"


def sarif_report(report: Report) -> Iterator[str]:
    """Yield the whole log in pieces."""
    yield '{"$schema": ' + json.dumps(SCHEMA) + ', "version": "2.1.0", "runs": ['
    differing = {(one.id, one.package) for one in compare_platforms(report)} if report.whole else set()
    for number, result in enumerate(report.results):
        yield ",\n" if number else "\n"
        yield from _run(result, report.labels[number], report.release, differing)
    yield "\n]}\n"


def _run(result: Result, label: str, release: str, differing: set[tuple[str, str]]) -> Iterator[str]:
    rules = find_rules(result)
    yield '{"tool": {"driver": ' + json.dumps(_driver(release))[:-1] + ', "rules": ['
    yield ",\n".join(json.dumps(rule) for rule in own_rules())
    if result.verdict.findings:
        descriptions = read_descriptions(result)
        for identifier, finding in rules.items():
            yield ",\n" + json.dumps(describe_rule(finding, descriptions.get(identifier, "")))
        del descriptions
    yield "]}},\n"
    yield json.dumps(_about(result, label, release))[1:-1]
    yield ',\n"results": ['
    own = len(list(own_rules()))
    indices = {identifier: number + own for number, identifier in enumerate(rules)}
    place = _place(result)
    separator = "\n"
    for document in _own_results(result, place):
        yield separator + json.dumps(document)
        separator = ",\n"
    repeated: dict[tuple[str, str], int] = {}
    for finding in result.verdict.findings:
        key = (finding.id, finding.package)
        repeated[key] = repeated.get(key, 0) + 1
        print_of = _fingerprint(result, *key, repeated[key])
        document = _result(result, finding, place=place, rule=indices[finding.id], fingerprint=print_of)
        if key in differing:
            document["properties"]["onSomePlatformsOnly"] = True
        yield separator + json.dumps(document)
        separator = ",\n"
    yield "\n]}"


def _driver(release: str) -> dict[str, Any]:
    return {"name": "Clair", "version": release, "semanticVersion": release, "informationUri": INFORMATION}


def _about(result: Result, label: str, release: str) -> dict[str, Any]:
    verdict, options = result.verdict, result.options
    undecided = verdict.verdict == UNDECIDED_VERDICT
    said = dict(facts(result, release))
    feeds = [cover_text(cover, result.finished_at) for cover in verdict.covers]
    told = [("error", reason) for reason in verdict.reasons] + [("error", text) for text in verdict.expired]
    told += [("warning", text) for text, cover in zip(feeds, verdict.covers) if is_open(cover) and not undecided]
    told += [("note", note) for cover in verdict.covers for note in cover.notes]
    told += [("note", note) for note in verdict.notes]
    return {
        "automationDetails": {"id": f"clair/{_path(result)}/{re.sub('[^A-Za-z0-9._/-]+', '-', label)}/"},
        "invocations": [
            {
                "executionSuccessful": not undecided,
                "exitCode": verdict.code,
                "endTimeUtc": timestamp(result.finished_at),
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": message_text(text)}} for level, text in told
                ],
            }
        ],
        "properties": {
            **said,
            "verdict": verdict.verdict,
            "summary": summary(result),
            "feeds": feeds,
            "maxFeedAgeHours": result.feeds.max_age_seconds / 3600,
            "failOn": options.fail_on,
        },
    }


def _own_results(result: Result, place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    verdict = result.verdict
    rows = [(0, UNDECIDED_RULE, f"The scan is undecided: {'; '.join(verdict.reasons)}")] if verdict.reasons else []
    rows += [(1, EXPIRED_RULE, f"An ignore entry fails the scan: {text}") for text in verdict.expired]
    for number, (index, rule, text) in enumerate(rows):
        yield {
            "ruleId": rule,
            "ruleIndex": index,
            "level": "error",
            "message": {"text": message_text(text, 4000)},
            "locations": [place],
            "partialFingerprints": {"primaryLocationLineHash": _fingerprint(result, rule, "", number + 1)},
        }


def _result(result: Result, finding: Finding, *, place: dict[str, Any], rule: int, fingerprint: str) -> dict[str, Any]:
    fix = f"fixed in {finding.fixed}" if finding.fixed else "no fix is known"
    aside = standing(finding)
    text = f"{finding.id} in {finding.package} {finding.installed}: {SEVERITIES[finding.severity]}, {fix}"
    document: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": result_level(finding, finding.fails),
        "message": {"text": message_text(f"{text}{f' ({aside})' if aside else ''}")},
        "locations": [
            {
                **place,
                "logicalLocations": [
                    {"name": printable(finding.package), "kind": "package",
                     "fullyQualifiedName": printable(f"{result.image.name}/{finding.package}", 1000)}
                ],
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
        "properties": {
            "package": finding.package,
            "installed": finding.installed,
            "fixed": finding.fixed or None,
            "severity": SEVERITIES[finding.severity],
            "score": finding.score,
            "fails": finding.fails,
            "known": finding.known,
        },
    }  # fmt: skip
    if finding.ignored:
        document["suppressions"] = [{"kind": "external", "status": "accepted", "justification": aside}]
    if result.options.baseline:
        document["baselineState"] = "unchanged" if finding.known else "new"
    return document


def _place(result: Result) -> dict[str, Any]:
    region = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    name = printable(result.image.name, 500)
    return {
        "physicalLocation": {"artifactLocation": {"uri": _path(result)}, "region": region},
        "message": {
            "text": message_text(f"{name} ({result.image.platform}, {result.image.digest or 'digest unknown'})")
        },
    }


def _path(result: Result) -> str:
    """Return the image's repository as a relative path that no URI reader takes for a scheme and a rest."""
    tagged = result.image.name.partition("@")[0]
    last = tagged.rpartition("/")[2]
    repository = tagged[: len(tagged) - len(last)] + last.partition(":")[0]
    return re.sub(r"[^A-Za-z0-9._/-]+", "_", repository).strip("/") or "image"


def _fingerprint(result: Result, identifier: str, package: str, number: int) -> str:
    """Return what a finding is known by from run to run: neither tag, digest nor version, which every build changes."""
    parts = "\n".join((_path(result), str(result.image.platform), identifier, package))
    return f"{hashlib.sha256(parts.encode('utf-8', 'replace')).hexdigest()[:32]}:{number}"
