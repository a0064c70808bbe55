"""Tells what a start is doing: a line per event, and at a terminal a line in between that is rewritten."""

from __future__ import annotations

import os
import sys
import time
from typing import Dict, List, Optional, TextIO

# Without a terminal, a wait without events says so this often.
REPORT_SECONDS = 10.0
_WIDTH = 100


class Progress:
    """Progress of one command on a stream (default: stderr); not for use by several threads at once.

    A stream that nobody reads any more, such as that of `| head` or of a lost session, ends the words and not the work.
    """

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self.stream = stream or sys.stderr
        self._told: Dict[str, List[str]] = {}
        self._started = time.monotonic()
        self._reported = self._started
        self._terminal = self.stream.isatty()
        self._open_line = False

    @property
    def seconds(self) -> float:
        """Seconds since the command started."""
        return time.monotonic() - self._started

    def line(self, text: str) -> None:
        """Print one line that stays."""
        self.end()
        self._write(f"{text}\n")
        self._reported = time.monotonic()

    def container(self, name: str, health: str) -> None:
        """Print a container's health where it is new; what was healthy before the start is not told.

        A container that restarts for ever is told as starting and restarting once.
        """
        told = self._told.setdefault(name, [])
        if not told and health == "healthy":
            told.append(health)
        if health in ("created", "removing") or told[-1:] == [health]:
            return
        if health in ("healthy", "unhealthy") or health not in told:
            self.line(f"{name}: {health} ({self.seconds:.1f} s)")
        told.append(health)

    def waiting(self, text: str) -> None:
        """Tell what is waited for: at once at a terminal, else after REPORT_SECONDS without a line."""
        if self._terminal:
            self.end()
            self._write(f"{text} ({self.seconds:.0f} s)"[:_WIDTH])
            self._open_line = True
        elif time.monotonic() - self._reported >= REPORT_SECONDS:
            self.line(f"{text} ({self.seconds:.0f} s)")

    def end(self) -> None:
        """Take the rewritten line away, so that the next text starts on a clean one."""
        if self._open_line:
            self._write("\r\033[K")
            self._open_line = False

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            # The pipe's reader ended (EPIPE), or the terminal is gone (EIO). The descriptor is replaced, so that what is
            # written later, Python's own last flush too, fails no more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
