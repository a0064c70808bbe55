"""What a change prints: the plan, why there is nothing to do, where an unfinished one stands, what was done; for a person or as JSON."""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from ..errors import UNDECIDED, Problem
from ..host.show_progress import Progress
from ..settings import Deployment
from ..state.track_change import Change
from .start_applied import database_runs


def show_plan(text: Sequence[str], document: Mapping[str, Any], as_json: bool) -> None:
    """Print lines, or the document that says the same to a program."""
    print(json.dumps({"format": 1, **document}, indent=1) if as_json else "\n".join(text))


def show_unfinished(change: Change, as_json: bool) -> None:
    """Print, in place of a plan, where an unfinished change stands: the command goes on from there."""
    known = {
        "operation": change.operation,
        "from": change.facts.get("from"),
        "to": change.facts.get("to"),
        "step": change.step,
    }
    line = "unfinished: {operation} from {from} to {to}, which stands at step {step} and goes on from there".format(
        **known
    )
    show_plan([line], {"unfinished": known}, as_json)


def show_nothing(reason: str, progress: Progress, *, plan: bool, as_json: bool) -> None:
    """Say why there is nothing to do: in place of a plan, or to a program, as data; else with the progress."""
    if plan or as_json:
        show_plan([reason], {"nothing_to_do": reason}, as_json)
    else:
        progress.line(reason)


def show_done(document: Mapping[str, Any], as_json: bool) -> None:
    """Print what was done if a program asked for it; a person has read the progress."""
    if as_json:
        show_plan([], {"done": document}, as_json)


def require_database(old: Deployment, command: str) -> None:
    """Raise Problem (3) if the database does not run that a plan is read from: `--plan` starts nothing."""
    if not database_runs(old):
        raise Problem(
            f"no plan, {old.name}: its database does not run, and --plan starts nothing; without it the plan comes first too",
            f"./clair {command}",
            UNDECIDED,
        )
