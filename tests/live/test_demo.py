"""`make demo` shows a true report and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from demo import run, sample_feed
from tests.live.support import PROJECT, Engine, Images

LIMIT_SECONDS = 400.0


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment of a demo that makes its folder in `folder`."""
    return {**os.environ, "TMPDIR": str(folder), "KEEP": "", "DATA": ""}


def leftovers(engine: Engine, progress: str) -> list[str]:
    """Return what is left of the demo that printed `progress`."""
    names = set(re.findall(r"clair-demo-[0-9a-f]{6}", progress))
    assert len(names) == 1
    label = f"label=com.docker.compose.project={names.pop()}"
    listings = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    return [line for one in listings for line in engine.docker(*one, "--quiet", "--filter", label).stdout.split()]


def test_the_demo_prints_the_expected_findings_and_removes_everything(
    engine: Engine, images: Images, tmp_path: Path
) -> None:
    # The stamp says that the environment is complete, which it is: this test runs in it.
    command = ["make", "--old-file=.venv/new.stamp", "demo", f"BIN={Path(sys.executable).parent}"]

    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )

    print(done.stderr)
    assert done.returncode == 0
    rows = {tuple(line.split()) for line in done.stdout.splitlines()}
    # One row per finding: severity, package, installed, fixed, identifier.
    for finding in sample_feed.expected_findings(run.SAMPLE):
        assert any((row[0], row[1], *row[3:]) == (finding.severity, finding.package, finding.fixed or "-", finding.id)
                   for row in rows if len(row) == 5), finding  # fmt: skip
    for reference in images.reports:
        if f"{reference}: " in done.stderr and not images.is_real(reference):
            assert f"{reference}: stand-in (" in done.stderr
    assert leftovers(engine, done.stderr) == []
    assert not list(tmp_path.iterdir())


def test_an_interrupted_demo_removes_everything(engine: Engine, images: Images, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.run"],
        cwd=PROJECT,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        # By then containers, networks and volumes exist, and more are about to be made.
        if "-matcher: starting" in line:
            process.send_signal(signal.SIGINT)
            break

    rest = process.stderr.read()

    progress = "".join(lines) + rest
    print(progress)
    assert process.wait(timeout=60) == 130
    assert "interrupted by SIGINT" in progress
    assert leftovers(engine, progress) == []
    assert not list(tmp_path.iterdir())
    process.stderr.close()
