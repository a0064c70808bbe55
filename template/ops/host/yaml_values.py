"""Reads one line's worth of YAML for `yaml_reader`: plain and quoted scalars, `[...]` and `{...}`, keys.

Every function raises Unreadable with the reason; `yaml_reader` knows the line.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional, Tuple

MAXIMUM_DEPTH = 50
# 18 digits fit every reader's integers.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}\Z")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Scalars that are one thing in YAML 1.1 and another in YAML 1.2, or a special float.
_AMBIGUOUS = re.compile(
    r"(y|n|yes|no|on|off)\Z"
    r"|(?=.*[0-9])[-+]?[0-9_,.]+([eE][-+]?[0-9]+)?\Z"
    r"|[-+]?0[xob][0-9a-f_]+\Z"
    r"|[-+]?[0-9][0-9_]*(:[0-9_]+)+(\.[0-9_]*)?\Z"
    r"|[-+]?\.(inf|nan)\Z"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?\Z"
    r"|=\Z|<<\Z",
    re.IGNORECASE,
)
_PLAIN_START = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`]|[-:](?=[^\s,\[\]{}])")
_BLOCK_END = re.compile(r" +#|: |:\Z| *\Z")
_FLOW_END = re.compile(r" +#|: |:\Z| *[,\[\]{}]|:(?=[,\[\]{}])| *\Z")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})')

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SINGLE_QUOTED = re.compile(r"'(?:[^']|'')*'")


class Unreadable(Exception):
    """Text outside the subset; its argument is the reason."""


def read_value(text: str, depth: int) -> Any:
    """Return the value of a text that ends with its line; only a comment may follow it."""
    value, end = _value(text, 0, depth, flow=False)
    rest = text[end:]
    if rest.strip(" ") and not re.match(r" +#", rest):
        raise Unreadable(f"unexpected text {json.dumps(rest.strip(' ')[:40])}")
    return value


def read_key(text: str, depth: int, known: Dict[str, Any]) -> str:
    """Return a key that is text and not `known` yet."""
    return _checked_key(read_value(text, depth), known)


def key_length(content: str) -> Optional[int]:
    """Return the length of the key a line starts with, or None if it starts no mapping entry."""
    quoted = re.match(r"\"(?:[^\"\\]|\\.)*\" *(?=:( |\Z))|'(?:[^']|'')*' *(?=:( |\Z))", content)
    if quoted:
        return quoted.end()
    if content[:1] in "\"'[{":
        return None
    plain = re.match(r"(?:[^:#]|:(?=[^ ])|(?<! )#)+?(?= *:( |\Z))", content)
    return plain.end() if plain else None


def _checked_key(key: Any, known: Dict[str, Any]) -> str:
    if not isinstance(key, str):
        raise Unreadable("a key that is no text: put it in double quotes")
    if key in known:
        raise Unreadable(f"key {json.dumps(key)} stands twice")
    return key


def _value(text: str, start: int, depth: int, flow: bool) -> Tuple[Any, int]:
    if depth > MAXIMUM_DEPTH:
        raise Unreadable(f"more than {MAXIMUM_DEPTH} levels")
    first = text[start : start + 1]
    readers = {'"': _double_quoted, "'": _single_quoted}
    if first in readers:
        return readers[first](text, start)
    if first == "[":
        return _flow_list(text, start, depth)
    if first == "{":
        return _flow_mapping(text, start, depth)
    if not _PLAIN_START.match(text, start):
        raise Unreadable(f"{json.dumps(text[start : start + 20])} is not read (anchor, tag, block text, ...)")
    end = (_FLOW_END if flow else _BLOCK_END).search(text, start)
    stop = end.start() if end else len(text)
    if flow and (first == ":" or "?" in text[start:stop]):
        raise Unreadable(f"{text[start:stop]} inside brackets is read differently by different readers")
    return _plain(text[start:stop]), stop


def _plain(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.match(text) and text != "-0":
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _AMBIGUOUS.match(text):
        raise Unreadable(f"{text[:40]} means different things to different YAML readers: put it in double quotes")
    return text


def _double_quoted(text: str, start: int) -> Tuple[str, int]:
    match = _DOUBLE_QUOTED.match(text, start)
    if match is None:
        raise Unreadable("a quoted text that does not end on its line")
    raw = match.group()
    if "\\" in _ESCAPE.sub("", raw):
        raise Unreadable("an escape that JSON does not have")
    if _SURROGATE.search(raw):
        raise Unreadable("surrogate escapes are not read: write the character itself")
    return str(json.loads(raw)), match.end()


def _single_quoted(text: str, start: int) -> Tuple[str, int]:
    match = _SINGLE_QUOTED.match(text, start)
    if match is None:
        raise Unreadable("a quoted text that does not end on its line")
    return match.group()[1:-1].replace("''", "'"), match.end()


def _flow_list(text: str, start: int, depth: int) -> Tuple[List[Any], int]:
    items: List[Any] = []
    position = _skip(text, start + 1)
    while text[position : position + 1] != "]":
        value, position = _value(text, position, depth + 1, flow=True)
        items.append(value)
        position = _separator(text, position, "]")
    return items, position + 1


def _flow_mapping(text: str, start: int, depth: int) -> Tuple[Dict[str, Any], int]:
    result: Dict[str, Any] = {}
    position = _skip(text, start + 1)
    while text[position : position + 1] != "}":
        key, position = _value(text, position, depth + 1, flow=True)
        name = _checked_key(key, result)
        if text[position : position + 2] != ": ":
            raise Unreadable("in {...} every key needs a colon, a space and a value")
        result[name], position = _value(text, _skip(text, position + 1), depth + 1, flow=True)
        position = _separator(text, position, "}")
    return result, position + 1


def _separator(text: str, position: int, closing: str) -> int:
    """Return the position of the closing bracket or of the next item."""
    position = _skip(text, position)
    if text[position : position + 1] == closing:
        return position
    if text[position : position + 1] != ",":
        raise Unreadable(f"no {closing} on the line of its opening bracket")
    following = _skip(text, position + 1)
    if text[following : following + 1] in (closing, ""):
        raise Unreadable("a comma with nothing after it")
    return following


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] == " ":
        position += 1
    return position
