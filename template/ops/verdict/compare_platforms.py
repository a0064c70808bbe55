"""Which findings an image has on some of its platforms only.

Pure. What an undecided platform lacks is not known to be absent: it is shown as `?`, and no difference is made of it.
"""

from __future__ import annotations

from typing import NamedTuple

from .finding import CLEAN, FINDINGS
from .report import Report

ABSENT, NOT_KNOWN = "", "?"


class Difference(NamedTuple):
    """A vulnerability of a package that not every platform has.

    `installed` holds for each result the versions that are affected there: empty where it is absent, `?` where that
    cannot be told. `severity` is the highest, an index of SEVERITIES.
    """

    id: str
    package: str
    severity: int
    installed: tuple[str, ...]


def compare_platforms(report: Report) -> list[Difference]:
    """Return the differences between the results of a report, the most severe first."""
    found: dict[tuple[str, str], list[set[str]]] = {}
    severities: dict[tuple[str, str], int] = {}
    for number, result in enumerate(report.results):
        for finding in result.verdict.findings:
            key = (finding.id, finding.package)
            found.setdefault(key, [set() for _ in report.results])[number].add(finding.installed)
            severities[key] = max(severities.get(key, 0), finding.severity)
    decided = [result.verdict.verdict in (CLEAN, FINDINGS) for result in report.results]
    differences = [
        Difference(
            *key,
            severities[key],
            tuple(_cell(each, known) for each, known in zip(versions, decided)),
        )
        for key, versions in found.items()
        if any(known and not each for each, known in zip(versions, decided))
    ]
    return sorted(differences, key=lambda one: (-one.severity, one.package, one.id))


def _cell(versions: set[str], known: bool) -> str:
    if not versions:
        return ABSENT if known else NOT_KNOWN
    return ", ".join(sorted(versions)) or "any version"
