"""Log lines in the shape of Clair's: JSON on standard error; coloured text for clairctl and for `debug-color`."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from contextvars import ContextVar
from datetime import datetime, timezone

_LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3, "fatal": 4, "panic": 5}
_WORDS = {"debug": ("33", "DBG"), "info": ("32", "INF"), "warn": ("33", "WRN"), "error": ("31", "ERR")}
# The request that a thread is answering: what is logged meanwhile names it, from the release on that does so.
request_id: ContextVar[str] = ContextVar("request_id", default="")
_lock = threading.Lock()
_minimum = 1
_console = ""  # "", "old" or "modern": the look of zerolog's console writer


def set_level(name: str) -> None:
    """Set the lowest level that is printed; `debug-color` switches to coloured text."""
    if name == "debug-color":
        use_console(modern=True)
        name = "debug"
    set_minimum(name)


def set_minimum(name: str) -> None:
    """Set the lowest level that is printed."""
    global _minimum
    _minimum = _LEVELS[name]


def use_console(modern: bool) -> None:
    """Print coloured text; `modern` is how newer releases colour it."""
    global _console
    _console = "modern" if modern else "old"


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
    if request_id.get():
        record["request_id"] = request_id.get()
    record.update((name, value) for name, value in fields.items() if value is not None)
    record["time"] = now()
    if message:
        record["message"] = message
    line = _coloured(record) if _console else json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    with _lock:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def plain(text: str) -> None:
    """Print a line of Go's standard logger, which Clair uses before its own logger is set up."""
    with _lock:
        sys.stderr.write(time.strftime("%Y/%m/%d %H:%M:%S ", time.gmtime()) + text + "\n")
        sys.stderr.flush()


def _coloured(record: dict[str, object]) -> str:
    colour, word = _WORDS.get(str(record["level"]), ("31", "FTL"))
    modern = _console == "modern"
    if not modern and colour == "31":
        level = f"\x1b[1m\x1b[31m{word}\x1b[0m\x1b[0m"
    else:
        level = f"\x1b[{colour}m{word}\x1b[0m"
    parts = [f"\x1b[90m{record['time']}\x1b[0m", level]
    if record.get("message"):
        parts.append(
            f"\x1b[1m{record['message']}\x1b[0m" if modern and word in ("INF", "WRN", "ERR") else str(record["message"])
        )
    names = sorted(name for name in record if name not in ("level", "time", "message", "error"))
    for name in ["error", *names] if "error" in record else names:
        value = _quoted(record[name])
        if name == "error":
            value = f"\x1b[31m\x1b[1m{value}\x1b[0m\x1b[0m" if modern else f"\x1b[31m{value}\x1b[0m"
        parts.append(f"\x1b[36m{name}=\x1b[0m{value}")
    return " ".join(parts)


def _quoted(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if re.search(r'[^\x21-\x7e]|["\\]', value):
        return json.dumps(value, ensure_ascii=False)
    return value
