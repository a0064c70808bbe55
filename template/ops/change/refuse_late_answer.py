"""Refuses an answer that came too late: while the question stood open nobody held the lock, and another command changed something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional

from ..errors import UNDECIDED, Problem
from ..settings import Deployment, load_deployment
from ..state.refuse_change import applied_facts, chosen_volume


@dataclass(frozen=True)
class Seen:
    """What a plan was made from: the facts that are rendered and those that are applied, and the database's volume."""

    rendered: Dict[str, Any]
    applied: Optional[Dict[str, Any]]
    volume: str


def see(deployment: Deployment) -> Seen:
    """Return what a plan for this deployment is made from, as it is now."""
    rendered = load_deployment(deployment.root, applied=False).facts
    return Seen(rendered, applied_facts(deployment), chosen_volume(deployment))


def refuse_late_answer(deployment: Deployment, command: str, seen: Seen) -> None:
    """Compare what a plan was made from with what is there now; the lock must be held.

    Raises Problem (3) if they differ: then the plan is of another deployment than this one is by now.
    """
    if see(deployment) != seen:
        raise Problem(
            f"not begun, {command} of {deployment.name}: another command changed it while the question stood open",
            f"./clair {command}",
            UNDECIDED,
        )
