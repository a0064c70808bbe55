"""The entry of `scan`: asks the database for the feed ledger while the rest of the program is loaded (scan_image.py)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..errors import Problem
from ..feeds.open_ledger import drop_ahead, start_ahead
from ..settings import load_deployment


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    try:
        if not {"-h", "--help"} & set(argv):
            # What is wrong is said by the scan itself, in the order in which it needs things.
            with suppress(Problem):
                start_ahead(load_deployment())
        from .scan_image import main as scan

        return scan(argv)
    finally:
        drop_ahead()
