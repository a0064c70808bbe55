"""One finding of an image, and the words of severities, limits and verdicts.

Pure data.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from .read_ignore import Entry

# Clair's severities (claircore severity.go), from the least to the most.
SEVERITIES = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")
UNKNOWN = 0
# Limits as --fail-on names them: the least severity that fails; `none` never fails on findings.
LIMITS = {"critical": 5, "high": 4, "medium": 3, "low": 2, "negligible": 1, "any": 0, "none": len(SEVERITIES)}
# The least base score of each severity (CVSS v3.1 specification, section 5); 0 is "none" there.
SCORE_LIMITS = ((9.0, 5), (7.0, 4), (4.0, 3), (0.1, 2), (0.0, 1))

CLEAN, FINDINGS, UNDECIDED_VERDICT = "clean", "findings", "undecided"


class Finding(NamedTuple):
    """One vulnerability of one package. `severity` is an index of SEVERITIES, `fails` whether it counts for the limit.

    `by_score` is true if Clair did not know the severity and the CVSS base score `score` decided it. What is `ignored`
    by an entry of the ignore file, or `known` from the baseline, does not count.
    """

    severity: int
    package: str
    installed: str
    fixed: str
    id: str
    score: Optional[float]
    by_score: bool
    fails: bool
    links: str
    ignored: Optional[Entry] = None
    known: bool = False
