"""Times programs against each other: several runs, taken in turns, wall time of whole processes, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BenchError", "Pair", "Row", "alternate", "call", "note", "table", "timed_call"]

CALL_SECONDS = 900.0


class BenchError(Exception):
    """Something that was to be measured failed; the text is one sentence for a person."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the asked number, the measured one, and how it came about.

    `measured` is None where it could not be measured on this machine; `detail` then says why.
    """

    what: str
    asked: str
    measured: str | None
    detail: str


@dataclass(frozen=True)
class Pair:
    """Wall times in seconds of the thing that is measured and of its floor, run in turns."""

    ours: tuple[float, ...]
    floor: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of ours over the median of the floor."""
        return statistics.median(self.ours) / statistics.median(self.floor)

    def row(self, what: str, asked: str) -> Row:
        """Return the table's line for this pair."""
        ours, floor = statistics.median(self.ours), statistics.median(self.floor)
        detail = f"{_seconds(ours)} to {_seconds(floor)}, median of {len(self.ours)} runs each"
        return Row(what, asked, f"{self.ratio:.2f}", detail)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def note(text: str) -> None:
    """Tell on standard error what is being done; standard output holds the table only."""
    print(text, file=sys.stderr, flush=True)


def call(
    command: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
) -> str:
    """Run a program and return its standard output; raises BenchError for an exit code that is not accepted."""
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{' '.join(words[:4])}: {error}") from error
    if result.returncode not in accept:
        lines = [line for line in (result.stdout[-2000:] + result.stderr).splitlines() if line.strip()]
        raise BenchError(f"{' '.join(words[:4])}: exit code {result.returncode}: {' / '.join(lines[-4:])}")
    return result.stdout


def timed_call(
    command: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
) -> float:
    """Run a program as `call` does and return its wall time in seconds."""
    started = time.perf_counter()
    call(command, folder, environment, accept)
    return time.perf_counter() - started


def alternate(runs: int, ours: Callable[[], float], floor: Callable[[], float], warm_up: bool = True) -> Pair:
    """Take `runs` times of each, in turns, so that a machine that grows slower touches both; each returns its seconds."""
    if warm_up:
        ours()
        floor()
    pairs = [(ours(), floor()) for _ in range(runs)]
    return Pair(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, which docs/benchmarks.md takes as it is."""
    lines = ["| What | Asked | Measured | How it came about |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.asked} | {row.measured or 'not measured'} | {row.detail} |" for row in rows]
    return "\n".join(lines)
