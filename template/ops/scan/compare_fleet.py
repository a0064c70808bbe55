"""What changed for one image between two runs of a fleet.

Pure. As with a baseline, a finding is told apart by its id and its package, and one that became more severe is new: a
package that was rebuilt and still has it has nothing new.
"""

from __future__ import annotations

from typing import Any, Optional

from ..host.read_json import Object
from ..verdict.compare_baseline import finding_key
from ..verdict.finding import SEVERITIES

# An id, a package, and the severity it was shown with.
Known = tuple[str, str, str]


def known_findings(document: Object) -> list[Known]:
    """Return the findings of a result's document, each once, in its order."""
    found: dict[tuple[str, str], Known] = {}
    for finding in document["findings"]:
        key = finding_key(finding)
        found.setdefault(key, (*key, str(finding["severity"])))
    return list(found.values())


def find_changes(document: Object, previous: Optional[Object]) -> Optional[Object]:
    """Return what is new and what is gone in a decided result, or None where there is nothing to compare with.

    `previous` is what `summarise` made of the image's last decided result.
    """
    if previous is None:
        return None
    before = {(one[0], one[1]): one for one in previous["findings"]}
    now = {(one[0], one[1]): one for one in known_findings(document)}
    return {
        "since": previous["time"],
        "digest_before": previous["digest"],
        "new": [_shown(one) for key, one in now.items() if key not in before or _rank(one) > _rank(before[key])],
        "gone": [_shown(one) for key, one in before.items() if key not in now],
    }


def summarise(document: Object) -> Object:
    """Return of a decided result what the next run is compared with."""
    return {"time": document["time"], "digest": document["digest"], "findings": known_findings(document)}


def _rank(known: Any) -> int:
    return SEVERITIES.index(known[2]) if known[2] in SEVERITIES else 0


def _shown(known: Any) -> Object:
    return {"id": known[0], "package": known[1], "severity": known[2]}
