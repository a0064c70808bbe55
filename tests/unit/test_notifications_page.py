"""docs/notifications.md names a test for each fault, every key of settings.toml, and each is there."""

from __future__ import annotations

import re

from ops.receiving import read_settings

from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the table rows below a heading of the page."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return "\n".join(rows[2:])


def test_each_fault_names_a_test_that_there_is() -> None:
    folder = ROOT / "tests" / "ops" / "receiving"
    there = {
        name for path in folder.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }

    named = [re.findall(r"`(test_\w+)`", row) for row in section("Faults").splitlines()]

    assert all(len(names) == 1 for names in named)
    assert {name for (name,) in named} <= there


def test_every_key_of_the_settings_is_documented_and_no_other() -> None:
    known = {key for keys in (read_settings._COMMON, *read_settings._KEYS.values()) for key in keys}

    named = {
        key
        for row in section("config/receiver/settings.toml").splitlines()
        for key in re.findall(r"`(\w+)`", row.split("|")[1])
    }

    assert named == known
