"""What the user's own decisions make of the findings: ignored until a day, or known from an earlier scan.

Pure. Nothing is dropped: a finding that does not count says why. An entry of the ignore file that expired ignores
nothing any more, and fails the scan of every image it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .finding import Finding
from .read_ignore import Entry, Ignores


class Policy(NamedTuple):
    """Findings with what applies to them, sentences on entries that expired, and notes that change no verdict."""

    findings: list[Finding]
    expired: tuple[str, ...]
    notes: tuple[str, ...]


def apply_policy(
    findings: Iterable[Finding],
    ignores: Ignores,
    known: Mapping[tuple[str, str], int],
    *,
    image: str,
    now: float,
) -> Policy:
    """Return the findings of `image` with the ignore file and a baseline applied; `now` is in seconds since 1970.

    `known` maps id and package of a baseline's findings to their severity there: a finding that has become more severe
    since then is new.
    """
    concerned = [entry for entry in ignores.entries if entry.concerns(image)]
    expired = [entry for entry in concerned if entry.expired(now)]
    valid: dict[str, list[Entry]] = {}
    for entry in concerned:
        if not entry.expired(now):
            valid.setdefault(entry.id, []).append(entry)
    used: set[int] = set()
    applied = []
    for finding in findings:
        entries = [entry for entry in valid.get(finding.id, ()) if entry.matches(finding.id, finding.package)]
        used.update(entry.number for entry in entries)
        is_known = known.get((finding.id, finding.package), -1) >= finding.severity
        applied.append(
            finding._replace(fails=False, ignored=entries[0] if entries else None, known=is_known)
            if entries or is_known
            else finding
        )
    idle = [entry for entry in concerned if entry not in expired and entry.number not in used]
    return Policy(
        applied,
        tuple(f"{ignores.path}, {entry.place}: expired on {entry.expires.isoformat()}" for entry in expired),
        tuple(f"{ignores.path}, {entry.place}: nothing of this image matches" for entry in idle),
    )
