"""Go's durations: `6h`, `1m30s`, `500ms`."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return seconds.

    Raises:
        ValueError: with the message of Go's time.ParseDuration.
    """
    body = text[1:] if text[:1] in ("+", "-") else text
    sign = -1.0 if text.startswith("-") else 1.0
    if body == "0":
        return 0.0
    if not body:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds, position = 0.0, 0
    while position < len(body):
        part = _PART.match(body, position)
        if not part:
            rest = re.match(r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)", body[position:])
            if rest and not rest.group(2):
                raise ValueError(f'time: missing unit in duration "{text}"')
            if rest:
                raise ValueError(f'time: unknown unit "{rest.group(2)}" in duration "{text}"')
            raise ValueError(f'time: invalid duration "{text}"')
        seconds += float(part.group(1)) * _UNITS[part.group(2)]
        position = part.end()
    return sign * seconds


def format_duration(seconds: float) -> str:
    """Write whole seconds the way Go does: `6h0m0s`, `1m0s`, `5s`."""
    if seconds != int(seconds):
        return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    if minutes:
        return f"{minutes}m{left}s"
    return f"{left}s"
