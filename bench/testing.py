"""How long the fast tests take; all of them are measured with `time make test`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.measure import Row, note, timed_call
from bench.project import ROOT

__all__ = ["measure"]

FOLDERS = ("tests/unit", "tests/render", "tests/update")


def measure() -> list[Row]:
    """Return the row of the tests that need no deployment, on every processor, and one that says how to measure all."""
    note("tests: unit, render and update (up to two minutes)")
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--tb=no", "-n", "auto", *FOLDERS]
    seconds = timed_call(command, folder=ROOT, environment=path)
    cpus = os.cpu_count()
    return [
        Row("unit, render and update tests", "< 2 min", f"{seconds / 60:.1f} min", f"one run on {cpus} CPUs"),
        Row("all tests", "< 12 min", None, "`time make test`"),
    ]
