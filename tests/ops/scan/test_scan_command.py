"""The command `scan`: what it prints, writes and returns."""

from __future__ import annotations

from .conftest import Run


def test_a_recorded_scan_prints_its_findings_and_exits_1(scan: Run) -> None:
    outcome = scan()

    print(outcome.out)
    print(outcome.err)
    assert outcome.code == 1
