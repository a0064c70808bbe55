"""Tells what a start is doing: a line per event, and at a terminal a line in between that is rewritten."""

from __future__ import annotations

import sys
import time
from typing import Dict, Optional, TextIO

# Without a terminal, a wait without events says so this often.
REPORT_SECONDS = 10.0
_WIDTH = 100


class Progress:
    """Progress of one command on a stream (default: stderr); not for use by several threads at once."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self.stream = stream or sys.stderr
        self.health: Dict[str, str] = {}
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
        print(text, file=self.stream, flush=True)
        self._reported = time.monotonic()

    def container(self, name: str, health: str) -> None:
        """Print a container's health where it is another than last told; what was healthy before is not told."""
        known = self.health.get(name)
        self.health[name] = health
        if health not in (known, "created") and not (known is None and health == "healthy"):
            self.line(f"{name}: {health} ({self.seconds:.1f} s)")

    def waiting(self, text: str) -> None:
        """Tell what is waited for: at once at a terminal, else after REPORT_SECONDS without a line."""
        if self._terminal:
            self.end()
            self.stream.write(f"{text} ({self.seconds:.0f} s)"[:_WIDTH])
            self.stream.flush()
            self._open_line = True
        elif time.monotonic() - self._reported >= REPORT_SECONDS:
            self.line(f"{text} ({self.seconds:.0f} s)")

    def end(self) -> None:
        """Take the rewritten line away, so that the next text starts on a clean one."""
        if self._open_line:
            self.stream.write("\r\033[K")
            self._open_line = False
