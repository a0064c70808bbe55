"""JSON from another program, read so that two readers cannot understand it differently.

Pure. Python's reader takes more than JSON is: NaN, doubled names (the last one wins), nesting until the stack ends.
None of that is taken here, since a report that reads two ways supports no verdict.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Optional

Object = dict[str, Any]

CHUNK_BYTES = 1024 * 1024
_NOT_ASCII = re.compile("[^\x00-\x7e]")


class Unreadable(ValueError):
    """The text is not what was expected; the message says why in a few words."""


def ascii_json(body: bytes) -> str:
    """Return a JSON text in UTF-8 with what is not ASCII as escapes, which means the same to a JSON reader.

    Such characters stand inside strings only. Python stores a text with one character beyond U+FFFF in four bytes a
    character; a report of 50 MB would take 200 MB. Raises Unreadable if the bytes are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        chunks = [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]
        pieces = [_NOT_ASCII.sub(_escape, decoder.decode(chunk)) for chunk in chunks]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Unreadable("the answer is not UTF-8 text") from error
    return "".join(pieces)


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def read_text(text: str, slim: Optional[Callable[[Object], Object]] = None) -> Any:
    """Return the value of a complete JSON text.

    `slim` is given each object as soon as it is read and returns what is kept of it: with it, a report takes a third
    of the memory. Raises Unreadable.
    """

    def build(pairs: list[tuple[str, Any]]) -> Object:
        built = dict(pairs)
        if len(built) != len(pairs):
            raise Unreadable("a name stands twice in one object")
        return slim(built) if slim else built

    try:
        return json.loads(text, object_pairs_hook=build, parse_constant=_refuse_constant)
    except Unreadable:
        raise
    except json.JSONDecodeError as error:
        raise Unreadable(_describe(text, error)) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of open brackets
        raise Unreadable("the answer is JSON of a form no program writes") from error


def read_object(body: bytes) -> Object:
    """Return the JSON object of `body`. Raises Unreadable, also where the value is null or a list."""
    return as_object(read_text(ascii_json(body)))


def as_object(value: Any) -> Object:
    """Return a value if it is a JSON object. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable("the answer is null" if value is None else "the answer is JSON, but no object")
    return value


def part(parent: Object, name: str, kind: type, where: str) -> Any:
    """Return `parent[name]` if it is of `kind`. Raises Unreadable that names the place."""
    value = parent.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Unreadable(f"{where} has no {name}" if name not in parent else f"{name} of {where} is not readable")
    return value


def _describe(text: str, error: json.JSONDecodeError) -> str:
    start = text[:200].lstrip().lower()
    if not start:
        return "the answer is empty"
    if start.startswith("<"):
        return "the answer is a web page, not JSON"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"the JSON ends after {len(text)} characters, before it is complete"
    return f"the answer is not JSON (at character {error.pos})"


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"{name} is not JSON")
