"""Log lines in the shape of Clair's: one JSON object a line on standard error, coloured text for `debug-color`."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import datetime, timezone

_LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3, "fatal": 4, "panic": 5}
_lock = threading.Lock()
_minimum = 1
_colour = False


def set_level(name: str) -> None:
    """Set the lowest level that is printed; `debug-color` switches to coloured text."""
    global _minimum, _colour
    _colour = name == "debug-color"
    _minimum = 0 if _colour else _LEVELS[name]


def now() -> str:
    """The time as Clair's logs write it: UTC, whole seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def log(level: str, component: str, message: str = "", **fields: object) -> None:
    """Print one line; fields keep their order, a field of value None is left out."""
    if _LEVELS[level] < _minimum:
        return
    record: dict[str, object] = {"level": level}
    if component:
        record["component"] = component
    record.update((name, value) for name, value in fields.items() if value is not None)
    record["time"] = now()
    if message:
        record["message"] = message
    line = _coloured(record) if _colour else json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    with _lock:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def plain(text: str) -> None:
    """Print a line of Go's standard logger, which Clair uses before its own logger is set up."""
    with _lock:
        sys.stderr.write(time.strftime("%Y/%m/%d %H:%M:%S ", time.gmtime()) + text + "\n")
        sys.stderr.flush()


def _coloured(record: dict[str, object]) -> str:
    level = {"debug": "DBG", "info": "INF", "warn": "WRN", "error": "ERR"}.get(str(record["level"]), "???")
    fields = "".join(
        f" \x1b[36m{name}=\x1b[0m{value}" for name, value in record.items() if name not in ("level", "time", "message")
    )
    return f"\x1b[90m{record['time']}\x1b[0m {level} {record.get('message', '')}{fields}"
