"""docs/faults.md lists exactly the faults that tests arrange, with the line, the hint and the exit code they expect."""

from __future__ import annotations

import re

import pytest

from tests.live import faults as live
from tests.ops.feeds import faults as packs
from tests.ops.scan import faults as in_process
from tests.support.faults import Fault, fault_rows, fault_table
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "faults.md"
# Heading of the page to the list that parametrises a test: test_faults.py of ops/scan, ops/feeds and live.
GROUPS: dict[str, list[Fault]] = {
    **in_process.GROUPS,
    "Feed pack": packs.FAULTS,
    "On a running deployment": live.FAULTS,
}


def tables() -> dict[str, str]:
    """Return the table below each heading of the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title: "".join(line + "\n" for line in body.splitlines() if line.startswith("|"))
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_page_has_the_groups_of_the_tests() -> None:
    assert list(tables()) == list(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_every_row_is_what_its_test_expects_and_every_test_has_a_row(group: str) -> None:
    assert tables()[group] == fault_table(GROUPS[group])


def test_cases_are_told_apart_by_their_name() -> None:
    names = [fault.case for faults in GROUPS.values() for fault in faults]

    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 40


def test_no_fault_is_clean() -> None:
    for row in (row for faults in GROUPS.values() for row in fault_rows(faults)):
        assert row[3] in ("`1`", "`2`", "`3`")
        assert row[2] != "``", row[0]
