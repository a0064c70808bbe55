"""A program on a terminal of its own, typed into as a person does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

COLUMNS = 300  # Copier shows a refusal in one line and cuts it at the terminal's width
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\r")


class Terminal:
    """A running program; `wait_for` reads what it shows, `type` writes to it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(terminal)
        self.shown = ""

    def type(self, text: str) -> None:
        """Type a text; a return is `\\r`."""
        os.write(self.controller, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Read until `text` is shown; raises AssertionError with all that was shown instead."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown, but:\n{self.shown}"
            if select.select([self.controller], [], [], 0.2)[0]:
                self.shown += ESCAPES.sub("", os.read(self.controller, 65536).decode(errors="replace"))

    def stop(self) -> int:
        """Interrupt the program as Ctrl-C does and return its exit code."""
        self.type("\x03")
        code = self.process.wait(timeout=30)
        os.close(self.controller)
        return code
