"""JSON from another program, read so that two readers cannot understand it differently.

Pure. Python's reader takes more than JSON is: NaN, doubled names (the last one wins), nesting until the stack ends.
None of that is taken here, since a report that reads two ways supports no verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Optional

Object = dict[str, Any]


class Unreadable(ValueError):
    """The text is not what was expected; the message says why in a few words."""


def read_json(body: bytes, slim: Optional[Callable[[Object], Object]] = None) -> Any:
    """Return the value of a complete JSON text in UTF-8.

    `slim` is given each object as soon as it is read and returns what is kept of it: with it, a report takes a third
    of the memory. Raises Unreadable.
    """

    def build(pairs: list[tuple[str, Any]]) -> Object:
        built = dict(pairs)
        if len(built) != len(pairs):
            raise Unreadable("a name stands twice in one object")
        return slim(built) if slim else built

    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=build, parse_constant=_refuse_constant)
    except Unreadable:
        raise
    except UnicodeDecodeError as error:
        raise Unreadable("the answer is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise Unreadable(_describe(body, error)) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of open brackets
        raise Unreadable("the answer is JSON of a form no program writes") from error


def read_object(body: bytes, slim: Optional[Callable[[Object], Object]] = None) -> Object:
    """Return the JSON object of `body`. Raises Unreadable, also where the value is null or a list."""
    value = read_json(body, slim)
    if not isinstance(value, dict):
        raise Unreadable("the answer is null" if value is None else "the answer is JSON, but no object")
    return value


def part(parent: Object, name: str, kind: type, where: str) -> Any:
    """Return `parent[name]` if it is of `kind`. Raises Unreadable that names the place."""
    value = parent.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Unreadable(f"{where} has no {name}" if name not in parent else f"{name} of {where} is not readable")
    return value


def _describe(body: bytes, error: json.JSONDecodeError) -> str:
    start = body[:200].lstrip().lower()
    if not start:
        return "the answer is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "the answer is a web page, not JSON"
    if error.pos >= len(error.doc.rstrip()):
        return f"the JSON ends after {len(body)} bytes, before it is complete"
    return f"the answer is not JSON (at byte {error.pos})"


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"{name} is not JSON")
