"""Finds in the last log lines of a container the one that says why it failed."""

from __future__ import annotations

import json
import re
from typing import Sequence, Tuple

from . import engine

LINES = 60
MAXIMUM_CHARACTERS = 300
_ERROR, _WARNING, _OTHER = 2, 1, 0
# Date and time of Go's log package and of PostgreSQL: `2026-11-24 00:11:26.123 UTC [1] FATAL:  ...`.
_STAMP = re.compile(r"\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d(\.\d+)?( [A-Z]+)?( \[\d+\])?\s*")
_PLAIN_ERROR = re.compile(r"(FATAL|PANIC):|failed |fatal|panic:|[Ee]rror:|.*\b(initdb|postgres|psql): error")


def log_reason(container_id: str) -> str:
    """Return why a container failed, by its last log lines; never raises for what Docker refuses to tell."""
    result = engine.docker(["logs", "--tail", str(LINES), container_id], check=False, timeout_seconds=20)
    return reason_in([line.strip() for line in (result.stdout + "\n" + result.stderr).splitlines() if line.strip()])


def reason_in(lines: Sequence[str]) -> str:
    """Return the most telling of log lines: the last that reports an error, else a warning, else the last."""
    chosen: Tuple[int, str] = (_OTHER, "its log is empty")
    follows = False
    for line in lines:
        weight, text = _weigh(line)
        if follows and text.startswith("DETAIL:"):
            # PostgreSQL tells the reason on a line of its own.
            chosen = (chosen[0], f"{chosen[1]} ({text[len('DETAIL:') :].strip()})")
        follows = weight >= chosen[0]
        if follows:
            chosen = (weight, text)
    return chosen[1][:MAXIMUM_CHARACTERS]


def _weigh(line: str) -> Tuple[int, str]:
    """Return how much a log line explains, and its text without time and level."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if isinstance(entry, dict):
        # Clair, Traefik and the receiver write JSON lines.
        text = ": ".join(str(entry[key]) for key in ("message", "msg", "error") if entry.get(key)) or line
        level = entry.get("level")
        return (_ERROR if level in ("fatal", "panic", "error") else _WARNING if level == "warn" else _OTHER), text
    stamp = _STAMP.match(line)
    text = line[stamp.end() :] if stamp else line
    return (_ERROR if _PLAIN_ERROR.match(text) else _OTHER), text
