"""Raw answers to values: what `--data`, a data file or a recorded answer holds, before Copier casts it.

Copier casts a bad number or choice with a traceback and takes any word for a boolean; so each raw answer is read here first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

__all__ = ["Unreadable", "parse_answer", "shown", "split_list"]

# The words that Copier's own boolean cast knows (copier/_tools.py, cast_to_bool); any other word would silently become true.
TRUE_WORDS = frozenset({"y", "yes", "t", "true", "on", "1"})
FALSE_WORDS = frozenset({"n", "no", "f", "false", "off", "0"})
SHOWN_LENGTH = 80


class Unreadable(Exception):
    """A raw answer that is no value of the question's type; the text is the reason."""


def parse_answer(raw: Any, kind: str, choices: Sequence[str] = (), multiselect: bool = False) -> Any:
    """Return the value of a raw answer of type `kind` (str, int, bool or yaml).

    Raises Unreadable with the end of a sentence that begins with the question and the value.
    """
    if multiselect:
        return _chosen(raw, choices)
    if kind == "bool":
        return _boolean(raw)
    if kind == "int":
        return _number(raw)
    if kind == "yaml":
        return _text_list(raw)
    text = _text(raw)
    if choices and text not in choices:
        hint = " (in YAML quote it: 'off')" if raw is False and "off" in choices else ""
        raise Unreadable(f"is not supported: choose {_either(choices)}{hint}.")
    return text


def shown(value: Any) -> str:
    """Return a value as a refusal shows it: one line, quoted, without the user part or query of a URL, not endless."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    text = str(value)
    if "@" in text and (":" in text or "/" in text):  # everything up to the last @: a password may hold any character
        text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", text, flags=re.DOTALL)
    if "://" in text or "=" in text:
        text = re.sub(r"([?#]).*", r"\1***", text, flags=re.DOTALL)
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f"'{text[:SHOWN_LENGTH]}…'" if len(text) > SHOWN_LENGTH else f"'{text}'"


def _may_hold_a_user(text: str) -> bool:
    """True for `user:password@host` and `scheme://user@host`, false for an e-mail address."""
    return "//" in text or bool(re.match(r"[^/@\s]*:[^/\s]*@", text))


def split_list(value: Any) -> list[str]:
    """Return the items of a list answer, which may also be written with commas."""
    if isinstance(value, str):
        return [item for item in re.split(r"[,\s]+", value) if item]
    return [str(item) for item in value or []]


def _text(raw: Any) -> str:
    if raw is None:
        raise Unreadable("is empty: give a value.")
    if isinstance(raw, (list, dict)):
        raise Unreadable("is a list where one value is expected: give a single value.")
    return str(raw)


def _number(raw: Any) -> int:
    if isinstance(raw, bool) or not re.fullmatch(r"[+-]?\d{1,9}", str(raw).strip(), re.ASCII):
        raise Unreadable("is no whole number: write digits only.")
    return int(str(raw))


def _boolean(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise Unreadable("is neither true nor false: write true or false.")
    return word in TRUE_WORDS


def _text_list(raw: Any) -> list[str]:
    if isinstance(raw, str):
        try:
            raw = yaml.safe_load(raw) if raw.strip() else []
        except yaml.YAMLError as error:
            raise Unreadable("cannot be read as a list: write [one, two].") from error
    if isinstance(raw, dict) or (isinstance(raw, list) and any(isinstance(item, (list, dict)) for item in raw)):
        raise Unreadable("is no list of words: write [one, two].")
    if raw is not None and not isinstance(raw, (str, list)):
        raise Unreadable("is no list of words: write [one, two].")
    return split_list(raw)


def _chosen(raw: Any, choices: Sequence[str]) -> list[str]:
    if isinstance(raw, str):
        try:
            raw = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise Unreadable(f"cannot be read as a list: write [{', '.join(choices[:2])}].") from error
    if not isinstance(raw, list):
        raise Unreadable(f"is no list: write [{', '.join(choices[:2])}].")
    for item in raw:
        if str(item) not in choices:
            raise Unreadable(f"holds {shown(item)}, which is not supported: choose from {', '.join(choices)}.")
    return [choice for choice in choices if choice in {str(item) for item in raw}]


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else ", ".join(choices[:-1]) + " or " + choices[-1]
