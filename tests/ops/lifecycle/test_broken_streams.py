"""What happens to a command in the middle of its work when its terminal goes away, or it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops.host.heed_signals import end_like_ctrl_c
from ops.host.show_progress import Progress

from tests.support.places import ROOT

FULL = Path("/dev/full")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers of this process back after the test."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_words_that_nobody_reads_do_not_end_the_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        progress = Progress(stream)

        progress.line("the reader is gone")
        progress.line("and it goes on")
        progress.waiting("still")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_clears_up_as_after_ctrl_c(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    end_like_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.usefixtures("handlers")
def test_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    end_like_ctrl_c()

    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
def test_standard_output_that_takes_nothing_is_one_line_and_undecided() -> None:
    code = "import sys; from ops.host.write_output import write_output; from ops.__main__ import report; from ops.errors import Problem\n"
    code += "try: write_output(['x' * 100000], '')\nexcept Problem as problem: sys.exit(report(problem))"
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "template",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.stderr == "output not written, standard output: no space left on device\nHINT: df -h\n"
    assert done.returncode == 3
