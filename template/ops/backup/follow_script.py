"""Runs a program that runs a script in a container, takes in each line as it comes, and ends it in time.

Its standard input stays open while it works: the script ends where nobody holds it any more.
"""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Callable, List, Optional, Sequence, Tuple

from ..errors import UNDECIDED, Problem
from ..host import engine

REMOVE_SECONDS = 60.0
_POLL_SECONDS = 0.5
# What a person needs of many lines: the server's word, else the first program's.
_REASONS = (r"no space left on device", r"\b(FATAL|PANIC): ", r"\b(ERROR|error): ", r"password authentication failed")
# A server that restarts, or is not there; libpq says `connection to server` also where it lets nobody in.
_AWAY = re.compile(
    r"could not connect|connection to server|server closed the connection|terminating connection|starting up|"
    r"shutting down|recovery mode|no such container|is not running|is restarting|timeout expired",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"authentication failed|pg_hba\.conf|database \"[^\"]*\" does not exist|role \"[^\"]*\" does not exist"
)


@dataclass
class Client:
    """How a run ended: its exit code and the last lines of its standard error."""

    code: int = -1
    errors: List[str] = field(default_factory=list)

    def reason(self) -> str:
        """Return the line of its standard error that says why it failed."""
        return reason(self.errors)


def reason(lines: Sequence[str]) -> str:
    """Return the line that says most of why something failed, without the words before it."""
    for pattern in _REASONS:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE if "space" in pattern else 0):
                text = re.sub(r"^.*?\b(FATAL|PANIC|ERROR|error): +", "", line.strip())
                return re.sub(r"^(\S+: )?(error|FATAL): +", "", text)[-300:]
    return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "no message")


def is_away(lines: Sequence[str]) -> bool:
    """Return whether a program's words say that the server did not answer, so that it may the next time."""
    text = "\n".join(lines)
    return bool(_AWAY.search(text)) and not _REFUSED.search(text)


def run_script(
    command: Sequence[str],
    remove: Callable[[], None],
    timeout_seconds: float,
    *,
    folder: Path,
    line: Callable[[str], Optional[str]] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
    source: str = "",
) -> Client:
    """Run a program that runs a script in a container, as `run_client` does; `remove` ends what it left there."""
    deadline = time.monotonic() + timeout_seconds
    process = _start(folder, command)
    try:
        _send(process, source)
        return _follow(process, line, tick, deadline, timeout_seconds)
    finally:
        if process.poll() is None:
            remove()
            process.terminate()
            try:
                process.wait(timeout=REMOVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)


def _start(folder: Path, command: Sequence[str]) -> "subprocess.Popen[str]":
    # Ctrl-C is for this process, which then removes the container.
    return engine.open_process(command, cwd=folder, start_new_session=True)


def _follow(
    process: "subprocess.Popen[str]",
    line: Callable[[str], Optional[str]],
    tick: Callable[[], None],
    deadline: float,
    timeout_seconds: float,
) -> Client:
    events: "queue.Queue[Tuple[str, Optional[str]]]" = queue.Queue()
    for kind, stream in (("output", process.stdout), ("error", process.stderr)):
        threading.Thread(target=_read, args=(kind, stream, events), daemon=True).start()
    client, ended = Client(), 0
    ticked = time.monotonic()
    while ended < 2:
        if time.monotonic() > deadline:
            raise Problem(
                f"database client not ended: no end within {timeout_seconds:g} s", "add --timeout SECONDS", UNDECIDED
            )
        if time.monotonic() - ticked > _POLL_SECONDS:
            ticked = time.monotonic()
            tick()
        try:
            kind, text = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if text is None:
            ended += 1
        elif kind == "error":
            client.errors = [*client.errors[-50:], text]
        else:
            _send(process, line(text) or "")
    client.code = process.wait()
    return client


def _send(process: "subprocess.Popen[str]", text: str) -> None:
    try:
        if text and process.stdin is not None:
            process.stdin.write(text)
            process.stdin.flush()
    except OSError:  # it ended before it had read everything; its exit code tells why
        pass


def _close(stream: Optional[IO[str]]) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:  # a pipe whose reader is gone cannot be flushed
        pass


def _read(kind: str, stream: Optional[IO[str]], events: "queue.Queue[Tuple[str, Optional[str]]]") -> None:
    try:
        for text in stream or ():
            events.put((kind, text.rstrip("\r\n")))
    except (OSError, ValueError):  # closed by `run_client`, which waits for it no more
        pass
    events.put((kind, None))
