"""The baseline: what an earlier scan of the same image had found, so that only what is new counts.

Reads a file that `./clair scan --format json` wrote; writes nothing. What was ignored at that time is not known: an
ignore entry ends on its day, a baseline would keep it for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UNDECIDED, USAGE, Problem
from ..host.escape_text import printable
from ..host.read_json import Object, Unreadable, as_object, ascii_json, part, read_text
from ..registries.parse_reference import parse_reference
from .finding import CLEAN, FINDINGS, SEVERITIES, UNDECIDED_VERDICT

FORMAT = 1
# Members that only objects of other programs' formats have, to say what a file is instead.
OTHER_FORMATS = {"runs": "SARIF", "bomFormat": "CycloneDX", "package_vulnerabilities": "Clair's own report"}

# Id and package of a finding, and its severity as an index of SEVERITIES.
Known = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Baseline:
    """The findings of an earlier result, by platform. `path` is the file as the user named it."""

    path: str
    time: str
    platforms: Mapping[str, Known]

    def of(self, platform: str) -> Known:
        """Return what was found for a platform, nothing if it was not scanned."""
        return self.platforms.get(platform, {})

    def check(self, platform: str) -> None:
        """Raise Problem (2) if the earlier scan was of other platforms only."""
        if platform not in self.platforms:
            there = ", ".join(sorted(self.platforms))
            raise _unusable(self.path, f"it is of {there}, not of {platform}")


def read_baseline(path: str, image: str) -> Baseline:
    """Return an earlier result of the same repository as `image`.

    Raises Problem: 2 for a file that is no such result, 3 for one that was undecided, for nothing is new against it.
    """
    try:
        document = as_object(read_text(ascii_json(Path(path).read_bytes()), _slim))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problem(f"baseline unreadable, {printable(path)}: {reason}", f"ls -l {printable(path)}") from error
    except Unreadable as error:
        raise _unusable(path, str(error).replace("the answer", "the file")) from error
    try:
        return _baseline(path, document, image)
    except Unreadable as error:
        other = next((kind for name, kind in OTHER_FORMATS.items() if name in document), "")
        raise _unusable(path, f"it is {other}" if other else str(error)) from error


def _baseline(path: str, document: Object, image: str) -> Baseline:
    where = "the file"
    if part(document, "format", int, where) != FORMAT:
        raise Unreadable(f"it is of format {document['format']}; this version reads {FORMAT}")
    found = part(document, "image", str, where)
    if _repository(found) != _repository(image):
        raise _unusable(path, f"it is of another image, {printable(found)}")
    documents = part(document, "platforms", list, where) if "platforms" in document else [document]
    platforms: dict[str, Known] = {}
    for item in documents:
        verdict = part(_object(item, "a platform"), "verdict", str, where)
        if verdict == UNDECIDED_VERDICT:
            raise _unusable(path, "that scan was undecided, so nothing can be called new against it", UNDECIDED)
        if verdict not in (CLEAN, FINDINGS):
            raise Unreadable(f"its verdict is {printable(verdict, 40)!r}")
        known = dict(platforms.get(part(item, "platform", str, where), {}))
        for finding in part(item, "findings", list, where):
            severity = _severity(finding)
            if not finding.get("ignored"):
                key = finding_key(finding)
                known[key] = max(severity, known.get(key, -1))
        platforms[item["platform"]] = known
    return Baseline(path, part(document, "time", str, where), platforms)


def finding_key(finding: Object) -> tuple[str, str]:
    """Return what makes a finding of a json result the same one in another: id and package, whatever the version.

    Raises Unreadable.
    """
    where = "a finding"
    return part(finding, "id", str, where), part(finding, "package", str, where)


def _severity(finding: Any) -> int:
    name = part(_object(finding, "a finding"), "severity", str, "a finding")
    if name not in SEVERITIES:
        raise Unreadable(f"a finding has the severity {printable(name, 40)!r}")
    return SEVERITIES.index(name)


def _object(value: Any, what: str) -> Object:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is no object")
    return value


def _repository(image: str) -> str:
    try:
        return parse_reference(image).repository
    except Problem:  # the id of a local image, or what no scan of ours wrote
        return image


def _slim(document: Object) -> Object:
    """Drop Clair's report, which is most of the file; of its objects only those are large that are dropped here."""
    if "normalized_severity" in document or "normalized_version" in document or "baseScore" in document:
        return {}
    return {name: value for name, value in document.items() if name not in ("report", "environments", "enrichments")}


def _unusable(path: str, reason: str, code: int = USAGE) -> Problem:
    hint = "./clair scan --format json --output baseline.json IMAGE"
    return Problem(f"baseline not usable, {printable(path)}: {reason}", hint, code)
