"""One result of a check: a sentence, a hint, and whether it stops a start."""

from __future__ import annotations

import sys
from typing import Dict, List, NamedTuple, Sequence

from ..errors import NO, Problem


class Finding(NamedTuple):
    """What a check found; `code` is the exit code a command ends with if this is all it found."""

    sentence: str
    hint: str = ""
    warning: bool = False
    code: int = NO

    def as_dict(self) -> Dict[str, str]:
        """Return the finding for `--json`."""
        return {"level": "warning" if self.warning else "failure", "sentence": self.sentence, "hint": self.hint}


def from_problem(problem: Problem) -> Finding:
    """Return a Problem as a finding."""
    return Finding(problem.sentence, problem.hint, code=problem.code)


def failures(findings: Sequence[Finding]) -> List[Finding]:
    """Return the findings that stop a start."""
    return [finding for finding in findings if not finding.warning]


def show(findings: Sequence[Finding]) -> None:
    """Print findings on stderr, failures last, so that they stand where a reader looks."""
    for finding in sorted(findings, key=lambda finding: not finding.warning):
        print(f"{'warning: ' if finding.warning else ''}{finding.sentence}", file=sys.stderr)
        if finding.hint:
            print(f"HINT: {finding.hint}", file=sys.stderr)
