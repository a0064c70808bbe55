"""How the demo speaks and ends: progress lines, exit codes, and the two ways out before the end."""

from __future__ import annotations

import signal
import sys
import time

NO = 1
USAGE = 2
UNDECIDED = 3


class DemoError(Exception):
    """Why the demo ended early: one sentence, and the exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class Interrupted(Exception):
    """SIGINT or SIGTERM arrived; the exit code is 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Progress:
    """Prints plain lines with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print one line on standard error."""
        print(f"[{self.seconds():5.1f} s] {text}", file=sys.stderr, flush=True)
