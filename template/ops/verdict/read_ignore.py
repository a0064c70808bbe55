"""The ignore file: which findings somebody accepts, why, and until when.

Reads `.clair-ignore.json` in the deployment's folder, or the file of `--ignore`; writes nothing. Form:
`{"ignore": [{"id": "CVE-2024-6119", "package": "libssl3", "image": "registry.example.com/team/*", "reason": "...",
"expires": "2026-12-31"}]}`; package and image may be left out, an optional top-level `format` is 1. An entry holds
until the end of its day in UTC. A file that is not of this form is never used in part: a misspelt key would ignore
more than was meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import Problem
from ..host.escape_text import printable
from ..host.read_json import Unreadable, as_object, read_text

DEFAULT_NAME = ".clair-ignore.json"
FORMAT = 1
TOP_KEYS = ("format", "ignore")
REQUIRED_KEYS = ("id", "reason", "expires")
KEYS = ("id", "package", "image", "reason", "expires")
EXAMPLE = '{"ignore": [{"id": "CVE-2024-6119", "reason": "not reachable", "expires": "2026-12-31"}]}'
# Python's own reader of dates takes more than this from 3.11 on.
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True)
class Entry:
    """One accepted finding; an empty `package` or `image` means any. `number` counts from 1."""

    number: int
    id: str
    package: str
    image: str
    reason: str
    expires: date

    @property
    def place(self) -> str:
        """The entry as a message names it."""
        return f"entry {self.number} ({printable(self.id, 60)})"

    def expired(self, now: float) -> bool:
        """Return True once the day `expires` has ended in UTC; `now` is in seconds since 1970."""
        end = datetime(self.expires.year, self.expires.month, self.expires.day, tzinfo=timezone.utc) + timedelta(days=1)
        return now >= end.timestamp()

    def concerns(self, image: str) -> bool:
        """Return True if the entry is for an image: its glob fits the full name, with or without tag and digest."""
        if not self.image:
            return True
        tagged = image.partition("@")[0]
        last = tagged.rpartition("/")[2]
        repository = tagged[: len(tagged) - len(last)] + last.partition(":")[0]
        return any(fnmatchcase(name, self.image) for name in (image, tagged, repository))

    def matches(self, identifier: str, package: str) -> bool:
        """Return True if the entry is about this vulnerability in this package."""
        return identifier == self.id and self.package in ("", package)


@dataclass(frozen=True)
class Ignores:
    """The entries of an ignore file. `path` is the file as the user knows it, empty if there is none."""

    path: str = ""
    entries: tuple[Entry, ...] = ()


def read_ignores(path: Path, shown: str = "") -> Ignores:
    """Return the entries of a file; `shown` is its name in messages. Raises Problem (2) that names the place."""
    name = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problem(f"ignore file unreadable, {printable(name)}: {reason}", f"ls -l {printable(name)}") from error
    except UnicodeDecodeError as error:
        raise _wrong(name, "it is not UTF-8 text") from error
    try:
        document = as_object(read_text(text))
    except Unreadable as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError):
            place = f"line {cause.lineno}, column {cause.colno}: {cause.msg.lower()}"
            raise Problem(f"ignore file wrong, {printable(name)}: {place}", f"python3 -m json.tool {name}") from error
        raise _wrong(name, str(error).replace("the answer", "the file")) from error
    try:
        return Ignores(name, parse_ignores(document))
    except Unreadable as error:
        raise _wrong(name, str(error)) from error


def parse_ignores(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return the entries of a parsed file. Raises Unreadable that names entry and key."""
    for key in document:
        if key not in TOP_KEYS:
            raise Unreadable(f"key {printable(key, 60)!r}: {_unknown(key, TOP_KEYS)}")
    if type(document.get("format", FORMAT)) is not int or document.get("format", FORMAT) != FORMAT:
        raise Unreadable(f"key 'format': this version reads format {FORMAT} only")
    items = document.get("ignore")
    if not isinstance(items, list):
        raise Unreadable("key 'ignore': a list of entries is needed")
    entries: list[Entry] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, item in enumerate(items, 1):
        entry = _entry(number, item)
        first = seen.setdefault((entry.id, entry.package, entry.image), number)
        if first != number:
            raise Unreadable(f"{entry.place}: the same id, package and image as entry {first}")
        entries.append(entry)
    return tuple(entries)


def _entry(number: int, item: Any) -> Entry:
    if not isinstance(item, dict):
        raise Unreadable(f"entry {number}: an object with the keys {', '.join(KEYS)} is needed")
    named = item.get("id")
    place = f"entry {number} ({printable(named, 60)})" if isinstance(named, str) and named else f"entry {number}"
    for key in item:
        if key not in KEYS:
            raise Unreadable(f"{place}, key {printable(key, 60)!r}: {_unknown(key, KEYS)}")
    for key in REQUIRED_KEYS:
        if key not in item:
            raise Unreadable(f"{place}, key {key!r}: missing")
    for key in item:
        if not isinstance(item[key], str) or not item[key].strip():
            raise Unreadable(f"{place}, key {key!r}: a text that is not empty is needed")
    return Entry(
        number,
        item["id"],
        item.get("package", ""),
        item.get("image", ""),
        " ".join(item["reason"].split()),
        _date(item["expires"], place),
    )


def _date(text: str, place: str) -> date:
    match = _DATE.fullmatch(text)
    try:
        if match:
            return date(*map(int, match.groups()))
    except ValueError:  # 2026-02-30
        pass
    raise Unreadable(f"{place}, key 'expires': {printable(text, 40)!r} is no date of the form 2026-12-31")


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key, known, 1, 0.6)
    return f"no such key; did you mean {near[0]!r}" if near else f"no such key; there are {', '.join(known)}"


def _wrong(name: str, reason: str) -> Problem:
    return Problem(f"ignore file wrong, {printable(name)}: {reason}", f"the form is {EXAMPLE}")
