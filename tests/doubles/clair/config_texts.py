"""Configuration values that are texts with a form of their own: base64, durations, log levels."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from .config_fields import LOG_LEVELS
from .durations import parse_duration

TEXT_KINDS = ("duration", "base64", "level")


def decode_base64(text: str) -> bytes:
    """Decode padded standard base64 as Go does.

    Raises:
        ValueError: `illegal base64 data at input byte N`.
    """
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    clean = text.replace("\r", "").replace("\n", "")
    for position, letter in enumerate(clean):
        if letter not in alphabet:
            raise ValueError(f"illegal base64 data at input byte {position}")
    if len(clean) % 4:
        raise ValueError(f"illegal base64 data at input byte {len(clean) - len(clean) % 4}")
    try:
        return base64.b64decode(clean, validate=True)
    except binascii.Error:
        raise ValueError(f"illegal base64 data at input byte {max(clean.find('='), 0)}") from None


def parse_text(kind: str, text: str) -> Any:
    """Decode a duration, a base64 text or a log level.

    Raises:
        ValueError: with Go's or Clair's words.
    """
    if kind == "duration":
        return parse_duration(text)
    if kind == "base64":
        return decode_base64(text)
    for level in LOG_LEVELS:
        if level == text.lower():
            return level
    raise ValueError(f'unknown log level "{text}"')
