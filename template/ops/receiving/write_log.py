"""Prints log lines as JSON, one a line, on standard output."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import Any

_LOCK = threading.Lock()


def log(level: str, message: str, **fields: Any) -> None:
    """Print one line; never a secret or a target's URL: the callers see to that."""
    entry = {"time": timestamp(), "level": level, "message": message, **fields}
    with _LOCK:
        print(json.dumps(entry), flush=True)


def timestamp(seconds: float | None = None) -> str:
    """Return a time (now, or seconds since 1970) in UTC, ISO 8601 with milliseconds."""
    moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds")
