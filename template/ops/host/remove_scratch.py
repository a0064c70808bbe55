"""Removes what `restore-test` and `notify-test` started for one run: containers and networks that carry the label SCRATCH.

They remove it themselves; this is for what a killed run left, before `down` and `destroy` remove the networks it is in.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

from ..settings import Deployment
from . import engine

SCRATCH = "clair.scratch"
# Kind: how to list, how to delete; a network in use cannot go.
_KINDS: Dict[str, Tuple[List[str], List[str]]] = {
    "container": (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
    "network": (["network", "ls", "--quiet"], ["network", "rm"]),
}


def remove_scratch(deployment: Deployment) -> int:
    """Remove all of it, also what runs; return how many things there were. What Docker refuses to delete stays."""
    count = 0
    for listing, deletion in _KINDS.values():
        words = [*listing, "--filter", f"label={SCRATCH}={deployment.name}"]
        found = engine.docker(words, timeout_seconds=60).stdout.split()
        if found:
            engine.docker([*deletion, *found], check=False, timeout_seconds=300)
            count += len(found)
    return count
