"""How long the fast tests take; all of them are measured with `time make test`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.measure import Row, note, timed_call
from bench.project import ROOT

__all__ = ["measure"]


def measure() -> list[Row]:
    """Return the row of the unit and render tests, and one that says how to measure all."""
    note("tests: unit and render (up to two minutes)")
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--tb=no", "tests/unit", "tests/render"]
    seconds = timed_call(command, folder=ROOT, environment=path)
    cpus = os.cpu_count()
    return [
        Row("unit and render tests", "< 2 min", f"{seconds / 60:.1f} min", f"one run on {cpus} CPUs"),
        Row("all tests", "< 12 min", None, "`time make test`"),
    ]
