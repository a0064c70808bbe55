"""Runs the steps beside the migrations that a release needs for older data: those of `clairctl admin`, and repairs.

Each may run again: what is done already is done to nothing then.
"""

from __future__ import annotations

from typing import Sequence

from ..clair import run_clairctl
from ..clair.run_clairctl import Clairctl
from ..errors import NO, Problem
from ..host.show_progress import Progress
from ..lifecycle.read_schema import run_statement
from ..settings import Deployment
from .plan_upgrade import Step


def run_steps(deployment: Deployment, steps: Sequence[Step], timeout_seconds: float, progress: Progress) -> None:
    """Run steps in their order. Raises Problem: one fails (1), or its container could not be started (3)."""
    for step in steps:
        if step.when == "repair":
            progress.line(f"repair {step.name}: {step.does}")
            run_statement(deployment, step.service, step.sql, timeout_seconds)
        else:
            _clairctl_admin(deployment, step, timeout_seconds, progress)


def _clairctl_admin(deployment: Deployment, step: Step, timeout_seconds: float, progress: Progress) -> None:
    progress.line(f"clairctl admin {step.when} {step.name}: {step.does}")
    clairctl = Clairctl(deployment, "clairctl")
    words = ["-c", "/config/config.yaml", "admin", step.when, step.name]
    outcome = clairctl.run(words, timeout_seconds=timeout_seconds)
    if outcome.code != 0:
        what = f"admin step failed, clairctl admin {step.when} {step.name}"
        problem = run_clairctl.failure(what, outcome, clairctl)
        raise Problem(problem.sentence, "./clair logs clair-database", NO)
