"""Follows a run of clairctl in its container: passes on what goes in and out, and keeps its words apart from Compose's.

Used by run_clairctl, whose script prints `@begin`, `@full` and `@end CODE MEMORY_KIB SPOOL_BYTES` on standard error.
"""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Optional, Union

from ..errors import UNDECIDED, USAGE, Problem
from ..host.escape_text import printable
from ..host.explain_failure import explain

CHUNK_BYTES = 256 * 1024


@dataclass
class Outcome:
    """How a run of clairctl ended. `memory_bytes` and `spool_bytes` are the most that was seen, a few times a second."""

    code: int = -1
    memory_bytes: int = 0
    spool_bytes: int = 0
    spool_full: bool = False
    seconds: float = 0.0
    last_lines: list[str] = field(default_factory=list)


def older_state() -> Problem:
    """Return the Problem (2) for applied files that know nothing of the container that is to run."""
    return Problem("clairctl not run, state/applied: it was applied before this command was there", "./clair up", USAGE)


_Event = tuple[str, Union[bytes, BaseException, None]]


def follow(
    process: subprocess.Popen[bytes],
    source: Iterable[bytes],
    *,
    take: Callable[[bytes], None],
    line: Callable[[str], None],
    tick: Callable[[], None],
    end_at: float,
) -> Outcome:
    """Pass on what a process writes until it ends."""
    # Bounded: what is not taken yet must not fill the memory.
    events: queue.Queue[_Event] = queue.Queue(maxsize=64)
    threads = [
        threading.Thread(target=_feed, args=(process.stdin, source, events), daemon=True),
        threading.Thread(target=_read_output, args=(process.stdout, events), daemon=True),
        threading.Thread(target=_read_lines, args=(process.stderr, events), daemon=True),
    ]
    for thread in threads:
        thread.start()
    outcome, said, ended = Outcome(), _Said(), 0
    while ended < 2:
        if time.monotonic() > end_at:
            raise Problem(f"clairctl not ended, {said.where()}: the time is over", "add --timeout SECONDS", UNDECIDED)
        try:
            kind, value = events.get(timeout=0.5)
        except queue.Empty:
            tick()
            continue
        if isinstance(value, BaseException):
            raise value
        if value is None:
            ended += 1
        elif kind == "output":
            take(value)
        else:
            text = value.decode("utf-8", "replace").rstrip("\r\n")
            if said.line(text, outcome):
                line(text)
        tick()
    code = process.wait()
    if not said.begun:
        text = "\n".join(said.docker)
        raise older_state() if "no such service" in text.lower() else explain("compose run", text)
    if outcome.code < 0:  # the script itself was killed
        outcome.code = code
    return outcome


class _Said:
    """Keeps apart what Compose, the script and clairctl write to the same standard error."""

    def __init__(self) -> None:
        self.begun = False
        self.docker: list[str] = []

    def where(self) -> str:
        return "its container" if self.begun else "starting its container"

    def line(self, text: str, outcome: Outcome) -> bool:
        """Take a line in; return whether it is clairctl's own."""
        if text == "@begin":
            self.begun = True
        elif text == "@full":
            outcome.spool_full = True
        elif match := re.fullmatch(r"@end (\d+) (\d+) (\d+)", text):
            outcome.code = int(match.group(1))
            outcome.memory_bytes, outcome.spool_bytes = int(match.group(2)) * 1024, int(match.group(3))
        elif not self.begun or outcome.code >= 0 or text.startswith("bash: line "):
            # The last: the shell's remark that a signal ended clairctl, which its exit code tells as well.
            self.docker = [*self.docker[-50:], text]
        else:
            outcome.last_lines = [*outcome.last_lines[-20:], printable(text, 500)]
            return True
        return False


def _feed(stream: Optional[IO[bytes]], source: Iterable[bytes], events: queue.Queue[_Event]) -> None:
    if stream is None:
        return
    try:
        for chunk in source:
            stream.write(chunk)
        stream.close()
    except OSError:  # it ended before it had read everything; its exit code tells why
        pass
    except Exception as error:  # what the source raises is raised where the run was started
        events.put(("source", error))


def _read_output(stream: Optional[IO[bytes]], events: queue.Queue[_Event]) -> None:
    while stream is not None:
        chunk = stream.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
        if not chunk:
            break
        events.put(("output", chunk))
    events.put(("output", None))


def _read_lines(stream: Optional[IO[bytes]], events: queue.Queue[_Event]) -> None:
    for text in stream or ():
        events.put(("line", text))
    events.put(("line", None))
