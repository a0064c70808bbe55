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

from ..errors import USAGE, Problem
from .yaml_values import MAXIMUM_DEPTH, Unreadable, key_length, read_key, read_value

_WAY_OUT = "write the file as JSON, which is YAML too, or the value in double quotes"
_FORBIDDEN = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
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
        # Of the line that is being read, for messages.
        self.number = 0
        self.lines = self._significant_lines(text)

    def document(self) -> Any:
        if not self.lines:
            return None
        try:
            value = self._block(self.lines[0][1], 0)
        except Unreadable as error:
            raise self._problem(self.number, str(error)) from error
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
        self.number, _, content = self.lines[self.position]
        if depth > MAXIMUM_DEPTH:
            raise Unreadable(f"more than {MAXIMUM_DEPTH} levels")
        if content == "-" or content.startswith("- "):
            return self._sequence(indent, depth)
        if key_length(content) is not None:
            return self._mapping(indent, depth)
        self.position += 1
        value = read_value(content, depth)
        self._no_continuation(indent - 1)
        return value

    def _sequence(self, indent: int, depth: int) -> List[Any]:
        items: List[Any] = []
        while self.position < len(self.lines):
            self.number, column, content = self.lines[self.position]
            if column < indent or (column == indent and not (content == "-" or content.startswith("- "))):
                break
            if column > indent:
                raise Unreadable("the indentation fits nothing above it")
            rest = content[1:].lstrip(" ")
            if not rest or rest.startswith("#"):
                self.position += 1
                items.append(self._nested(indent + 1, depth))
            elif rest == "-" or rest.startswith("- ") or key_length(rest) is not None:
                # The item's own block starts on the line of its dash.
                inner = indent + len(content) - len(rest)
                self.lines[self.position] = (self.number, inner, rest)
                items.append(self._block(inner, depth + 1))
            else:
                self.position += 1
                items.append(read_value(rest, depth))
                self._no_continuation(indent)
        return items

    def _mapping(self, indent: int, depth: int) -> Dict[str, Any]:
        result: Dict[str, Any] = {}
        while self.position < len(self.lines):
            self.number, column, content = self.lines[self.position]
            if column < indent:
                break
            length = key_length(content)
            if column > indent or length is None:
                if column == indent and (content == "-" or content.startswith("- ")):
                    break
                raise Unreadable("the indentation fits nothing above it, or a key is missing")
            key = read_key(content[:length].rstrip(" "), depth, result)
            rest = content[length + 1 :].lstrip(" ")
            self.position += 1
            if rest and not rest.startswith("#"):
                result[key] = read_value(rest, depth)
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

    def _problem(self, number: int, reason: str) -> Problem:
        return Problem(f"config unreadable, {self.where}:{number}: {reason}", _WAY_OUT, USAGE)
