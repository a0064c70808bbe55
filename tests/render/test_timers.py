"""The systemd examples: what they run exists, and systemd itself accepts them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ops.commands import COMMANDS

from tests.conftest import Render
from tests.support.projects import Project

UNITS = ("backup", "fleet", "feeds")


def started(project: Project, unit: str) -> list[list[str]]:
    """Return the words of each ExecStart of a unit."""
    text = project.text(f"ops/systemd/clair-{unit}.service")
    return [line.partition("=")[2].split() for line in text.splitlines() if line.startswith("ExecStart=")]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("answers", ["defaults", "offline"])
def test_unit_runs_commands_that_exist(render: Render, answers: str, unit: str) -> None:
    calls = started(render(answers), unit)

    assert calls
    for program, command, *_ in calls:
        assert program.endswith("/clair")
        assert command in COMMANDS


def test_matcher_is_restarted_daily_only_where_feeds_come_from_the_internet(render: Render) -> None:
    assert [call[1:] for call in started(render("defaults"), "feeds")] == [["restart", "matcher"], ["wait"], ["feeds"]]
    assert [call[1:] for call in started(render("offline"), "feeds")] == [["feeds"]]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_units(render: Render, tmp_path: Path) -> None:
    project = render("defaults")
    for unit in UNITS:
        for kind in ("service", "timer"):
            text = project.text(f"ops/systemd/clair-{unit}.{kind}")
            # The folder and the user of a machine, which the operator sets.
            text = re.sub(r"^User=.*$", "User=root", text.replace("/srv/clair/clair", "/bin/true"), flags=re.MULTILINE)
            (tmp_path / f"clair-{unit}.{kind}").write_text(text.replace("/srv/clair", "/"), encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.glob("clair-*")))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line for line in done.stderr.splitlines() if "clair-" in line] == []
