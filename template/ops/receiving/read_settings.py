"""Reads settings.toml: where findings are sent on to, and which.

Every error is one sentence that names the place: `target 2 (ops-mail), port: ...`.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .wait_longer import DEFAULT_TRIES

SEVERITIES = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")
_TEXT, _NUMBER, _FLAG, _LIST = str, int, bool, list
_COMMON: dict[str, type] = {
    "name": _TEXT, "type": _TEXT, "severity": _TEXT, "only_fixed": _FLAG, "image": _TEXT, "tries": _NUMBER,
    "timeout": _NUMBER,
}  # fmt: skip
_KEYS: dict[str, dict[str, type]] = {
    "webhook": {"url": _TEXT, "url_file": _TEXT, "key_file": _TEXT},
    "slack": {"url": _TEXT, "url_file": _TEXT},
    "email": {
        "host": _TEXT, "port": _NUMBER, "sender": _TEXT, "recipients": _LIST, "username": _TEXT,
        "password_file": _TEXT, "starttls": _FLAG,
    },
}  # fmt: skip


class BadSettings(Exception):
    """A sentence: which key of which target, and what is wrong with it."""


@dataclass(frozen=True)
class Target:
    """A place that findings are sent to; `url`, `key` and `password` are secret and never printed."""

    name: str
    type: str
    severity: str = ""
    only_fixed: bool = False
    image: str = ""
    tries: int = DEFAULT_TRIES
    timeout: int = 30
    url: str = ""
    key: str = ""
    host: str = ""
    port: int = 587
    sender: str = ""
    recipients: tuple[str, ...] = ()
    username: str = ""
    password: str = ""
    starttls: bool = True


def read_settings(path: Path, secrets: Path) -> list[Target]:
    """Return the targets; none if there is no file. Raises BadSettings."""
    try:
        # An editor may have put the mark of UTF-8 before it.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadSettings(f"settings.toml: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadSettings("settings.toml: not UTF-8") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"settings.toml: {error}") from error
    for name in document:
        if name != "target":
            raise BadSettings(f"settings.toml, {name}: unknown key; only [[target]] tables are read")
    tables = document.get("target", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadSettings("settings.toml, target: write each one as [[target]]")
    targets = [_target(table, number, secrets) for number, table in enumerate(tables, 1)]
    names = [target.name for target in targets]
    for number, name in enumerate(names, 1):
        if name in names[: number - 1]:
            raise BadSettings(f"target {number} ({name}), name: another target has it")
    return targets


def _target(table: dict[str, Any], number: int, secrets: Path) -> Target:
    name, kind = table.get("name"), table.get("type")
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 64:
        raise BadSettings(f"target {number}, name: give it one, at most 64 characters")
    place = f"target {number} ({name})"
    if not isinstance(kind, str) or kind not in _KEYS:
        raise BadSettings(f"{place}, type: webhook, slack or email")
    known = {**_COMMON, **_KEYS[kind]}
    for key, value in table.items():
        if key not in known:
            raise BadSettings(f"{place}, {key}: unknown key; {kind} knows {', '.join(known)}")
        if type(value) is not known[key]:
            raise BadSettings(f"{place}, {key}: must be {_words(known[key])}")
    url = table.get("url", "")
    if kind == "slack" and "url" in table:
        raise BadSettings(
            f"{place}, url: the address of a chat is a secret; put it into a file in secrets/, and name it as url_file"
        )
    if "@" in url.partition("://")[2].partition("/")[0] or "?" in url:
        raise BadSettings(
            f"{place}, url: a user part or a query is a secret; put the whole URL into a file, and name it as url_file"
        )
    values = {key: value for key, value in table.items() if not key.endswith("_file")}
    for key in ("url", "key", "password"):
        if f"{key}_file" in table:
            if key in values:
                raise BadSettings(f"{place}, {key}: give {key} or {key}_file, not both")
            values[key] = _secret(f"{place}, {key}_file", table[f"{key}_file"], secrets, one_line=key != "key")
    if "recipients" in values:
        values["recipients"] = tuple(values["recipients"])
    target = Target(**values)
    _check(target, place, "url_file" if "url_file" in table else "url")
    return target


def _check(target: Target, place: str, url_key: str) -> None:
    if target.severity and target.severity.capitalize() not in SEVERITIES:
        raise BadSettings(f"{place}, severity: one of {', '.join(SEVERITIES)}")
    for key, value, largest in (("tries", target.tries, 1000), ("timeout", target.timeout, 300)):
        if not 1 <= value <= largest:
            raise BadSettings(f"{place}, {key}: from 1 to {largest}")
    if target.type != "email":
        try:
            parts = urlsplit(target.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            # A label that is empty or too long: no resolver takes it.
            str(parts.hostname).encode("idna")
        except ValueError:
            usable = False
        if not usable or not target.url.isascii() or not target.url.isprintable() or " " in target.url:
            missing = "give url_file" if target.type == "slack" else "give url or url_file"
            wrong = "one address, http:// or https://, in ASCII and without blanks"
            raise BadSettings(f"{place}, {url_key}: {wrong if target.url else missing}")
        return
    for key in ("host", "sender"):
        if not getattr(target, key):
            raise BadSettings(f"{place}, {key}: missing")
    if not _is_host(target.host):
        raise BadSettings(
            f"{place}, host: a name or an address alone, such as mail.example.com; its port is the key port"
        )
    if not target.sender.isascii():
        raise BadSettings(f"{place}, sender: characters of ASCII only; a domain has a form with xn--")
    addresses = [target.sender, *target.recipients]
    if not target.recipients or not all(isinstance(one, str) and _is_address(one) for one in addresses):
        raise BadSettings(f"{place}, sender and recipients: addresses like ops@example.com")
    if not 1 <= target.port <= 65535:
        raise BadSettings(f"{place}, port: from 1 to 65535")
    if bool(target.username) != bool(target.password):
        raise BadSettings(f"{place}, username: needs password_file, and the other way round")
    for key, text in (("username", target.username), ("password_file", target.password)):
        if not text.isascii():
            raise BadSettings(f"{place}, {key}: characters of ASCII only; no login with others reaches a mail server")
    if target.username and not target.starttls:
        raise BadSettings(f"{place}, starttls: a password is sent only with it")


def _is_host(text: str) -> bool:
    if re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return True
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    return "@" in text.strip("@") and text.isprintable() and not set(text) & set(' <>,;"()[]:\\')


def _secret(place: str, name: str, folder: Path, *, one_line: bool) -> str:
    plain = name.removeprefix("secrets/")
    if not plain or "/" in plain or plain.startswith(".") or not plain.isprintable():
        raise BadSettings(f"{place}: the name of a file in secrets/")
    try:
        # A key counts byte for byte, as the target has it, but for blanks at its ends.
        value = (folder / plain).read_bytes().decode("utf-8-sig" if one_line else "utf-8").strip(" \t\r\n\v\f")
    except OSError as error:
        raise BadSettings(f"{place}: secrets/{plain} cannot be read") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"{place}: secrets/{plain} is not UTF-8") from error
    if not value:
        raise BadSettings(f"{place}: secrets/{plain} is empty")
    if one_line and not value.isprintable():
        raise BadSettings(f"{place}: secrets/{plain} has more than one line, or a character that is not printable")
    return value


def _words(kind: type) -> str:
    return {str: "a text", int: "a whole number", bool: "true or false", list: "a list of texts"}[kind]
