"""How long `./clair --help` takes, against starting the same interpreter for nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.measure import Row, alternate, note, timed_call
from bench.project import interpreter, render, with_interpreter

__all__ = ["measure"]

RUNS = 31


def measure() -> list[Row]:
    """Return the row of `./clair --help`."""
    note("help: ./clair --help")
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as folder:
        project = render(Path(folder) / "project")
        pair = alternate(
            RUNS,
            lambda: timed_call([project / "clair", "--help"], environment=with_interpreter()),
            lambda: timed_call([interpreter(), "-c", "pass"], environment=with_interpreter()),
        )
    return [pair.row("`./clair --help` to `python3 -c pass`", "< 2.5")]
