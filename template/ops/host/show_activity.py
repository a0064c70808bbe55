"""Tells what a command is busy with, once it takes longer than two seconds: on standard error, plain without a terminal."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Optional, TextIO

QUIET_SECONDS = 2.0
LOOK_SECONDS = 1.0
# Between two lines that say the same where there is no terminal to rewrite one.
REPEAT_SECONDS = 15.0


class Activity:
    """`with Activity("...") as activity:` shows its text and the seconds; `activity.text` may change meanwhile."""

    def __init__(self, text: str, stream: Optional[TextIO] = None) -> None:
        self.text = text
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = time.monotonic()
        self._open_line = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Activity:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._done.set()
        self._thread.join()
        with self._lock:
            self._clear()

    def notice(self, text: str) -> None:
        """Print a line that stays, such as why something is tried again."""
        if time.monotonic() - self._started >= QUIET_SECONDS / 2:
            with self._lock:
                self._clear()
                print(text, file=self._stream, flush=True)

    def _run(self) -> None:
        wait, shown, repeat_at = QUIET_SECONDS, "", 0.0
        while not self._done.wait(wait):
            with self._lock:
                now = time.monotonic()
                told = f"{self.text} ({now - self._started:.0f} s)"
                if self._terminal:
                    self._stream.write(f"\r\x1b[K{told}")
                    self._stream.flush()
                    self._open_line = True
                elif self.text != shown or now >= repeat_at:
                    print(told, file=self._stream, flush=True)
                    shown, repeat_at = self.text, now + REPEAT_SECONDS
            wait = LOOK_SECONDS

    def _clear(self) -> None:
        if self._open_line:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._open_line = False
