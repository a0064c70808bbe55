"""Reads the log lines that clairctl writes to standard error: coloured, for a person, one entry a line.

Pure. Form: time, level, message, then `name=value` (zerolog's ConsoleWriter, which cmd/clairctl/main.go sets up; seen with
4.5.1 to 4.9.0).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ENTRY = re.compile(r"(\d{4}-\d\d-\d\dT\S+|\d{1,2}:\d\d[AP]M) (TRC|DBG|INF|WRN|ERR|FTL|PNC)(?: (.*))?", re.DOTALL)
_FIELD = re.compile(r'(?:^| )([A-Za-z_][\w.-]*)=("(?:\\.|[^"\\])*"|\S*)')


@dataclass(frozen=True)
class Entry:
    """One log entry; `time` as it stands there."""

    time: str
    level: str
    message: str
    fields: Mapping[str, str]


def read_entry(line: str) -> Optional[Entry]:
    """Return the entry of a line, None if it is something else, such as a panic."""
    match = _ENTRY.fullmatch(_COLOUR.sub("", line).strip())
    if match is None:
        return None
    time, level, text = match.group(1), match.group(2), match.group(3) or ""
    first = _FIELD.search(text)
    fields = {name: _value(value) for name, value in _FIELD.findall(text[first.start() :] if first else "")}
    return Entry(time, level, text[: first.start()].strip() if first else text.strip(), fields)


def _value(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:  # an escape that Go knows and JSON does not
        return text[1:-1]
