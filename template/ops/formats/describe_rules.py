"""The rules of a SARIF run: one for each vulnerability, and two for what fails a scan without a finding.

Pure. GitHub reads of a rule: id, texts of up to 1024 characters, help as Markdown, tags, precision and
`security-severity`, a number whose range it shows as a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..verdict.finding import SCORE_LIMITS, SEVERITIES, Finding
from ..verdict.run_scan import Result
from .neutralise_text import markdown_block, markdown_code, message_text, web_links

UNDECIDED_RULE, EXPIRED_RULE = "clair-undecided", "clair-ignore-expired"
# What GitHub shows a security-severity as, in the order of SEVERITIES; Unknown has none.
LEAST_SCORES = {level: score for score, level in SCORE_LIMITS}
# The parts of a rule's text that GitHub takes.
SHORT, FULL = 250, 1000


def find_rules(result: Result) -> dict[str, Finding]:
    """Return the most severe finding of each vulnerability: its rule says what is the same for all."""
    worst: dict[str, Finding] = {}
    for finding in result.verdict.findings:
        if finding.id not in worst or finding.severity > worst[finding.id].severity:
            worst[finding.id] = finding
    return worst


def own_rules() -> Iterator[dict[str, Any]]:
    """Yield the rules that are no vulnerability, in the order of their indices."""
    for identifier, text, advice in (
        (UNDECIDED_RULE, "The scan could not be decided", "The image may or may not be affected: scan it again."),
        (EXPIRED_RULE, "An ignore entry has expired", "Fix the finding, or decide anew until when it is accepted."),
    ):
        yield {
            "id": identifier,
            "shortDescription": {"text": text},
            "fullDescription": {"text": f"{text}."},
            "help": {"text": advice, "markdown": advice},
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": ["security"]},
        }


def describe_rule(finding: Finding, description: str) -> dict[str, Any]:
    """Return the rule of a vulnerability."""
    links = web_links(finding.links)
    severity = SEVERITIES[finding.severity]
    known = description.strip() or f"{finding.id} affects {finding.package}."
    advice = f"Update the packages to a version that fixes {finding.id}."
    listed = "".join(f"\n- <{link}>" for link in links)
    document: dict[str, Any] = {
        "id": finding.id,
        "shortDescription": {"text": message_text(f"{finding.id}: {known}", SHORT)},
        "fullDescription": {"text": message_text(known, FULL)},
        "help": {
            "text": message_text(f"Severity {severity}. {advice} {known}", 4000),
            "markdown": f"{markdown_code(finding.id)}, severity **{severity}**\n\n{markdown_block(known)}\n{listed}",
        },
        "defaultConfiguration": {"level": result_level(finding, fails=True)},
        "properties": {"tags": ["security", "vulnerability", severity.upper()], "precision": "very-high"},
    }
    if links:
        document["helpUri"] = links[0]
    score = _score(finding)
    if score:
        document["properties"]["security-severity"] = score
    return document


def _score(finding: Finding) -> str:
    """Return the CVSS score where it says the same as the severity, else the least of the severity."""
    if finding.severity == 0:
        return ""
    least = LEAST_SCORES[finding.severity]
    most = LEAST_SCORES.get(finding.severity + 1, 10.1)
    agrees = finding.score is not None and least <= finding.score < most
    return f"{max(0.1, finding.score if agrees and finding.score is not None else least):.1f}"


def result_level(finding: Finding, fails: bool) -> str:
    """Return the level of a finding that fails the scan, or does not."""
    if fails and (finding.severity == 0 or finding.severity >= 4):
        return "error"
    return "warning" if finding.severity in (0, 3, 4, 5) else "note"
