"""The way of one notification: the stages that it came through, each told when it is known, and where it stopped.

Writes nothing; what tells a stage is the caller's.
"""

from __future__ import annotations

import time
from typing import Any, Callable, List, NamedTuple

from ..errors import NO, UNDECIDED
from ..host.show_progress import Progress
from ..settings import Deployment

POLL_SECONDS = 0.5
OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


class Stage(NamedTuple):
    """One stage of the path: its name, `ok`, `failed` or `unknown`, what is to say of it, seconds since the command's start."""

    name: str
    result: str
    detail: str
    seconds: float


class Stopped(Exception):
    """The notification came no further."""

    def __init__(self, stage: str, detail: str, hint: str, code: int = NO) -> None:
        super().__init__(detail)
        self.stage, self.detail, self.hint, self.code = stage, detail, hint, code


class Path:
    """The way of one notification, told stage by stage."""

    def __init__(
        self, deployment: Deployment, progress: Progress, timeout_seconds: float, tell: Callable[[Stage], None]
    ):
        self.deployment = deployment
        self.stages: List[Stage] = []
        self.notification = ""
        self._progress = progress
        self._timeout_seconds = timeout_seconds
        self._tell = tell

    def add(self, name: str, result: str, detail: str = "") -> None:
        """Note a stage and tell it."""
        stage = Stage(name, result, detail, round(self._progress.seconds, 1))
        self.stages.append(stage)
        self._progress.end()
        self._tell(stage)

    def wait(self, stage: str, look: Callable[[], Any], waiting: str, hint: str) -> Any:
        """Return what `look` returns once that is true; raises Stopped (3) when the time is over."""
        while True:
            found = look()
            if found:
                return found
            if self._progress.seconds > self._timeout_seconds:
                raise Stopped(stage, f"not within {self._timeout_seconds:g} s", hint, UNDECIDED)
            self._progress.waiting(waiting)
            time.sleep(POLL_SECONDS)


def line(stage: Stage) -> str:
    """Return a stage as a line of text."""
    return f"{stage.name:<24} {stage.result:<7} {stage.seconds:6.1f} s  {stage.detail}".rstrip()
