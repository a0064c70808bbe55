"""What Clair's JSON decoder (ugorji/go/codec) says about a body that is none; exact for the mistakes people make by hand."""

from __future__ import annotations

import json
from typing import Any

from .digests import parse_digest
from .releases import Release

_LITERALS = {"n": "null", "t": "true", "f": "false"}


class DecodeProblem(Exception):
    """The body cannot be decoded; the text is the decoder's."""


def decode(body: bytes, release: Release) -> Any:
    """Decode a JSON body.

    Raises:
        DecodeProblem: with the decoder's words.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise DecodeProblem(_words(body.decode("utf-8", "replace").strip(), release, str(error))) from error


def digest_of(value: Any, body: bytes) -> str:
    """Read a digest; null and an empty string are no digest.

    Raises:
        DecodeProblem: with the decoder's words and position.
    """
    if value is None or value == "":
        return ""
    try:
        return parse_digest(value if isinstance(value, str) else "")
    except ValueError as error:
        text = json.dumps(value)
        position = body.decode("utf-8", "replace").find(text) + len(text)
        raise DecodeProblem(f"json decode error [pos {position}]: {error}") from error


def _words(text: str, release: Release, fallback: str) -> str:
    start = text[1:].lstrip() if text[:1] in ("{", "[") else text
    offset = len(text) - len(start)
    literal = _LITERALS.get(start[:1])
    if literal:
        got = start[1 : len(literal)]
        if len(got) < len(literal) - 1:
            return "EOF"
        if got != literal[1:]:
            if release.since("4.6.1"):
                return f"json decode error [pos {offset + len(literal)}]: expecting {got}: got {literal[1:]}"
            return f"json decode error [pos {offset}]: expecting {literal}: got {start[0]}\0{got}"
    if text.startswith("{") and start[:1] not in ("", '"', "}", "n", "t", "f"):
        return f"json decode error [pos {offset + 1}]: read json delimiter - expect char ':' but got char '{start[0]}'"
    if text[-1:] not in ("}", "]"):
        return "EOF"
    return f"json decode error [pos {len(text)}]: {fallback}"
