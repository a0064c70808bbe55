"""How long `./clair --help` takes, against starting the same interpreter for nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench.measure import BenchError, Row, alternate, note, timed_call
from bench.project import render

__all__ = ["measure"]

RUNS = 31


def measure() -> list[Row]:
    """Return the row of `./clair --help`."""
    note("help: ./clair --help")
    # The interpreter itself: a version manager's wrapper named python3 would take longer than the command.
    interpreter = Path(sys.base_prefix) / "bin" / "python3"
    if not interpreter.exists():
        raise BenchError(f"{interpreter}: no such file")
    path = {"PATH": f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as folder:
        project = render(Path(folder) / "project")
        pair = alternate(
            RUNS,
            lambda: timed_call([project / "clair", "--help"], environment=path),
            lambda: timed_call([interpreter, "-c", "pass"], environment=path),
        )
    return [pair.row("`./clair --help` to `python3 -c pass`", "< 2.5")]
