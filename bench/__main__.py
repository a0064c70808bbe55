"""Measures what docs/benchmarks.md lists and prints one table: `python -m bench [NAME ...]`, `make bench`.

Numbers never fail; what cannot be measured here (no Docker) says so in its row; an error does fail.
Standard output holds the table, standard error what is being done. Exit codes: 0 measured; 1 something failed; 2 wrong use.
Environment: DATA, more answers for the rendered deployments ("key=value ...", split like a shell line).
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence

from bench.engine import missing_engine
from bench.measure import BenchError, Row, note, table

__all__ = ["PARTS", "main"]

# Name on the command line, module, whether it needs Docker.
PARTS = {
    "render": ("rendering", False),
    "update": ("updating", False),
    "help": ("startup", False),
    "up": ("starting", True),
    "upgrade": ("upgrading", True),
    "backup": ("backup", True),
    "scan": ("scanning", True),
    "fleet": ("fleet", True),
    "feeds": ("ledger", True),
    "receive": ("receiving", False),
    "memory": ("memory", False),
    "fleet-memory": ("fleet_memory", False),
    "tests": ("testing", False),
}


def run(names: Sequence[str]) -> tuple[list[Row], bool]:
    """Measure the named parts; return their rows and whether all could be measured without an error."""
    rows: list[Row] = []
    succeeded = True
    no_engine = missing_engine() if any(PARTS[name][1] for name in names) else None
    for name in names:
        module, needs_engine = PARTS[name]
        if needs_engine and no_engine:
            rows.append(Row(f"{name}: skipped", "", None, f"{no_engine} on this machine"))
            continue
        try:
            rows += importlib.import_module(f"bench.{module}").measure()
        except BenchError as error:
            note(f"bench {name} failed: {error}")
            rows.append(Row(f"{name}: failed", "", None, str(error)))
            succeeded = False
    return rows, succeeded


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure this template against floors of the same run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure (default: all): {', '.join(PARTS)}")
    names = parser.parse_args(argv).names or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"{unknown[0]!r} is nothing to measure: choose from {', '.join(PARTS)}")
    rows, succeeded = run(names)
    print(table(rows))
    print(f"\nPython {platform.python_version()}, {platform.system()} on {platform.machine()}.")
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
