"""Reads the YAML that Clair's configs and drop-ins use, without a YAML library: a strict subset, and JSON in full.

Read: block mappings and lists, one-line `[...]` and `{...}`, quoted and plain one-line scalars, comments. Everything else
(anchors, tags, block scalars, several documents, tabs, duplicate keys, ...) and every plain scalar that YAML 1.1 and 1.2
read differently (`yes`, `012`, `1:30`, dates) is refused with its place, never guessed: a check that misreads a config
is worse than none. Clair >= 4.7 turns YAML into JSON before decoding (cmd/config.go at v4.9.0), so keys must be strings.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple

from .errors import USAGE, Problem

_WAY_OUT = "write the file as JSON, which is YAML too, or the value in double quotes"
_MAXIMUM_DEPTH = 50
_FORBIDDEN = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+\Z")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Scalars that are one thing in YAML 1.1 and another in YAML 1.2, or a special float.
_AMBIGUOUS = re.compile(
    r"(y|n|yes|no|on|off)\Z"
    r"|[-+]?[0-9_,.]*([eE][-+]?[0-9]+)?\Z"
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

_Line = Tuple[int, int, str]


def read_yaml(text: str, where: str) -> Any:
    """Return the value of a YAML or JSON text; `where` is the file's name for messages.

    Raises Problem (2) with file and line for everything outside the subset.
    """
    text = text.replace("\r\n", "\n")
    if text.lstrip(" \n\t")[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=_unique_pairs, parse_constant=_no_constant)
        except _Duplicate as error:
            raise Problem(
                f"config unreadable, {where}: key {error} stands twice", "keep one of the two", USAGE
            ) from error
        except (ValueError, RecursionError):
            # No JSON: a `{...}` of YAML, read below.
            pass
    return _Reader(text, where).document()


class _Duplicate(Exception):
    """A key that stands twice in one JSON object."""


def _unique_pairs(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result: Dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _Duplicate(json.dumps(key))
        result[key] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(name)


class _Reader:
    """The lines of one document and the position in them."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.position = 0
        self.lines = self._significant_lines(text)

    def document(self) -> Any:
        if not self.lines:
            return None
        value = self._block(self.lines[0][1], 0)
        if self.position < len(self.lines):
            raise self._problem(self.lines[self.position][0], "this line belongs to nothing above it")
        return value

    def _significant_lines(self, text: str) -> List[_Line]:
        lines: List[_Line] = []
        started = False
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line:
                raise self._problem(number, "tab characters are not read")
            if _FORBIDDEN.search(line):
                raise self._problem(number, "a character that YAML does not allow, or a line break of another kind")
            content = line.strip(" ")
            if not content or content.startswith("#"):
                continue
            indent = len(line) - len(line.lstrip(" "))
            if not started and indent == 0 and re.match(r"---( +#.*)?\Z", content):
                started = True
                continue
            if indent == 0 and re.match(r"(---|\.\.\.)( |\Z)|%", content):
                raise self._problem(number, "several documents and directives are not read")
            started = True
            lines.append((number, indent, content))
        return lines

    def _block(self, indent: int, depth: int) -> Any:
        number, _, content = self.lines[self.position]
        if depth > _MAXIMUM_DEPTH:
            raise self._problem(number, f"more than {_MAXIMUM_DEPTH} levels")
        if content == "-" or content.startswith("- "):
            return self._sequence(indent, depth)
        if _key_length(content) is not None:
            return self._mapping(indent, depth)
        self.position += 1
        value = self._scalar(content, number, depth)
        self._no_continuation(indent - 1)
        return value

    def _sequence(self, indent: int, depth: int) -> List[Any]:
        items: List[Any] = []
        while self.position < len(self.lines):
            number, column, content = self.lines[self.position]
            if column < indent or (column == indent and not (content == "-" or content.startswith("- "))):
                break
            if column > indent:
                raise self._problem(number, "the indentation fits nothing above it")
            rest = content[1:].lstrip(" ")
            if not rest or rest.startswith("#"):
                self.position += 1
                items.append(self._nested(indent + 1, depth))
            elif rest == "-" or rest.startswith("- ") or _key_length(rest) is not None:
                # The item's own block starts on the line of its dash.
                inner = indent + len(content) - len(rest)
                self.lines[self.position] = (number, inner, rest)
                items.append(self._block(inner, depth + 1))
            else:
                self.position += 1
                items.append(self._scalar(rest, number, depth))
                self._no_continuation(indent)
        return items

    def _mapping(self, indent: int, depth: int) -> Dict[str, Any]:
        result: Dict[str, Any] = {}
        while self.position < len(self.lines):
            number, column, content = self.lines[self.position]
            if column < indent:
                break
            length = _key_length(content)
            if column > indent or length is None:
                if column == indent and (content == "-" or content.startswith("- ")):
                    break
                raise self._problem(number, "the indentation fits nothing above it, or a key is missing")
            key = self._scalar(content[:length].rstrip(" "), number, depth)
            if not isinstance(key, str):
                raise self._problem(number, "a key that is no text: put it in double quotes")
            if key in result:
                raise self._problem(number, f"key {json.dumps(key)} stands twice")
            rest = content[length + 1 :].lstrip(" ")
            self.position += 1
            if rest and not rest.startswith("#"):
                result[key] = self._scalar(rest, number, depth)
                self._no_continuation(indent)
            elif self._list_at(indent):
                result[key] = self._block(indent, depth + 1)
            else:
                result[key] = self._nested(indent + 1, depth)
        return result

    def _list_at(self, indent: int) -> bool:
        """Return whether the next line starts a list at the very indentation of its key, as YAML allows."""
        if self.position >= len(self.lines):
            return False
        _, column, content = self.lines[self.position]
        return column == indent and (content == "-" or content.startswith("- "))

    def _nested(self, minimum: int, depth: int) -> Any:
        if self.position >= len(self.lines) or self.lines[self.position][1] < minimum:
            return None
        return self._block(self.lines[self.position][1], depth + 1)

    def _no_continuation(self, indent: int) -> None:
        if self.position < len(self.lines) and self.lines[self.position][1] > indent:
            raise self._problem(self.lines[self.position][0], "a value over several lines is not read")

    def _scalar(self, text: str, number: int, depth: int) -> Any:
        value, end = self._value(text, 0, number, depth, flow=False)
        rest = text[end:]
        if rest.strip(" ") and not re.match(r" +#", rest):
            raise self._problem(number, f"unexpected text {json.dumps(rest.strip(' ')[:40])}")
        return value

    def _value(self, text: str, start: int, number: int, depth: int, flow: bool) -> Tuple[Any, int]:
        if depth > _MAXIMUM_DEPTH:
            raise self._problem(number, f"more than {_MAXIMUM_DEPTH} levels")
        first = text[start : start + 1]
        if first == '"':
            return self._double_quoted(text, start, number)
        if first == "'":
            return self._single_quoted(text, start, number)
        if first == "[":
            return self._flow_list(text, start, number, depth)
        if first == "{":
            return self._flow_mapping(text, start, number, depth)
        if not _PLAIN_START.match(text, start):
            raise self._problem(
                number, f"{json.dumps(text[start : start + 20])} is not read (anchor, tag, block text, ...)"
            )
        end = (_FLOW_END if flow else _BLOCK_END).search(text, start)
        stop = end.start() if end else len(text)
        if flow and (first == ":" or "?" in text[start:stop]):
            raise self._problem(number, f"{text[start:stop]} inside brackets is read differently by different readers")
        return self._plain(text[start:stop], number), stop

    def _plain(self, text: str, number: int) -> Any:
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.match(text) and text != "-0":
            return int(text)
        if _FLOAT.match(text):
            return float(text)
        if _AMBIGUOUS.match(text):
            raise self._problem(
                number, f"{text} means different things to different YAML readers: put it in double quotes"
            )
        return text

    def _double_quoted(self, text: str, start: int, number: int) -> Tuple[str, int]:
        match = re.compile(r'"(?:[^"\\]|\\.)*"').match(text, start)
        if match is None:
            raise self._problem(number, "a quoted text that does not end on its line")
        raw = match.group()
        if re.search(r"\\", _ESCAPE.sub("", raw)):
            raise self._problem(number, "an escape that JSON does not have")
        value = str(json.loads(raw))
        if re.search("[\ud800-\udfff]", raw.encode("ascii", "ignore").decode()) or re.search(r"\\u[dD][89a-fA-F]", raw):
            raise self._problem(number, "surrogate escapes are not read: write the character itself")
        return value, match.end()

    def _single_quoted(self, text: str, start: int, number: int) -> Tuple[str, int]:
        match = re.compile(r"'(?:[^']|'')*'").match(text, start)
        if match is None:
            raise self._problem(number, "a quoted text that does not end on its line")
        return match.group()[1:-1].replace("''", "'"), match.end()

    def _flow_list(self, text: str, start: int, number: int, depth: int) -> Tuple[List[Any], int]:
        items: List[Any] = []
        position = _skip(text, start + 1)
        while text[position : position + 1] != "]":
            value, position = self._value(text, position, number, depth + 1, flow=True)
            items.append(value)
            position = self._separator(text, position, "]", number)
        return items, position + 1

    def _flow_mapping(self, text: str, start: int, number: int, depth: int) -> Tuple[Dict[str, Any], int]:
        result: Dict[str, Any] = {}
        position = _skip(text, start + 1)
        while text[position : position + 1] != "}":
            key, position = self._value(text, position, number, depth + 1, flow=True)
            if not isinstance(key, str):
                raise self._problem(number, "a key that is no text: put it in double quotes")
            if key in result:
                raise self._problem(number, f"key {json.dumps(key)} stands twice")
            if text[position : position + 2] != ": ":
                raise self._problem(number, "in {...} every key needs a colon, a space and a value")
            result[key], position = self._value(text, _skip(text, position + 1), number, depth + 1, flow=True)
            position = self._separator(text, position, "}", number)
        return result, position + 1

    def _separator(self, text: str, position: int, closing: str, number: int) -> int:
        """Return the position of the closing bracket or of the next item."""
        position = _skip(text, position)
        if text[position : position + 1] == closing:
            return position
        if text[position : position + 1] != ",":
            raise self._problem(number, f"no {closing} on the line of its opening bracket")
        following = _skip(text, position + 1)
        if text[following : following + 1] in (closing, ""):
            raise self._problem(number, "a comma with nothing after it")
        return following

    def _problem(self, number: int, reason: str) -> Problem:
        return Problem(f"config unreadable, {self.where}:{number}: {reason}", _WAY_OUT, USAGE)


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] == " ":
        position += 1
    return position


def _key_length(content: str) -> "int | None":
    """Return the length of the key a line starts with, or None if it starts no mapping entry."""
    quoted = re.match(r"\"(?:[^\"\\]|\\.)*\" *(?=:( |\Z))|'(?:[^']|'')*' *(?=:( |\Z))", content)
    if quoted:
        return quoted.end()
    if content[:1] in "\"'[{":
        return None
    plain = re.match(r"(?:[^:#]|:(?=[^ ])|(?<! )#)+?(?= *:( |\Z))", content)
    return plain.end() if plain else None
