"""The program `clairctl` (being written)."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Placeholder until the commands are here."""
    return 1
