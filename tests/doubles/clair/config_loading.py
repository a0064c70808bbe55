"""Read Clair's configuration the way the release does: strictness, drop-ins, case of keys, types, defaults.

Source: quay/clair cmd/config.go (4.7.0 and newer) and cmd/clair/main.go (before), config/*.go.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from . import json_patch, yaml_as_go
from .config_fields import GO_STRUCTS, GO_TYPES, TYPES, embedded_structs, known_keys
from .config_texts import TEXT_KINDS, parse_text
from .config_yaml import YAMLDecoder
from .releases import Release


class ConfigProblem(Exception):
    """The configuration cannot be used; the message is the release's own."""


class Config:
    """A decoded configuration: nested values by dotted path; what is absent has Go's zero value."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.mode = "combo"

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value at `path`, or `default` where the file does not set it."""
        value: Any = self.tree
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                return default
            value = value[name]
        return default if value is None else value

    def set(self, path: str, value: Any) -> None:
        """Set the value at `path`, creating what leads to it."""
        *parents, last = path.split(".")
        node = self.tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value


def load_config(path: str, release: Release) -> Config:
    """Read the file, and its drop-ins where the release has them.

    Raises:
        ConfigProblem: with the text that the release prints.
    """
    if not release.strict:
        return _load_before_470(path, release)
    return _load_since_470(path, release)


def go_os_error(error: OSError) -> str:
    """Return the words Go uses for an operating system error."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def _load_before_470(path: str, release: Release) -> Config:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigProblem(f"failed to open config file: open {path}: {go_os_error(error)}") from error
    try:
        document = yaml_as_go.load(text)
        if document is None:
            raise ConfigProblem("failed to decode yaml config: EOF")
        tree = YAMLDecoder(release).decode(yaml_as_go.compose(text))
    except yaml_as_go.YAMLProblem as error:
        raise ConfigProblem(f"failed to decode yaml config: yaml: {error}") from error
    except ValueError as error:
        raise ConfigProblem(f"failed to decode yaml config: {error}") from error
    return Config(tree)


def _load_since_470(path: str, release: Release) -> Config:
    path = os.path.normpath(path)
    extension = os.path.splitext(path)[1]
    if extension not in (".yaml", ".json"):
        raise ConfigProblem(f'failed loading config: unknown config kind "{extension}"')
    try:
        document = _merge_drop_ins(path, extension, _load_as_json(path))
        tree = _JSONDecoder(release, path).decode(document)
    except ConfigProblem as problem:
        raise ConfigProblem(f"failed loading config: {problem}") from problem
    return Config(tree)


def _load_as_json(path: str) -> Any:
    extension = os.path.splitext(path)[1]
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigProblem(f'error reading file "{path}": open {path}: {go_os_error(error)}') from error
    if extension.startswith(".json"):
        if len(raw) < 2:
            raise ConfigProblem(f'malformed file "{path}": not a JSON document')
        opening = raw[:1]
        if extension == ".json" and opening != b"{":
            raise ConfigProblem(f'malformed file "{path}": not a JSON object')
        if extension == ".json-patch" and opening != b"[":
            raise ConfigProblem(f'malformed file "{path}": not a patch document')
        return _parse_json(raw, path)
    try:
        document = yaml_as_go.load(raw.decode("utf-8"))
    except yaml_as_go.YAMLProblem as error:
        raise ConfigProblem(f'malformed file "{path}": {error}') from error
    except UnicodeDecodeError as error:
        raise ConfigProblem(f'malformed file "{path}": invalid leading UTF-8 octet') from error
    _refuse_odd_keys(document, path)
    document = _sorted_keys(document)  # it became a Go map, which is written in this order
    if extension == ".yaml-patch":
        if not isinstance(document, list):
            raise ConfigProblem(f'malformed file "{path}": not a patch document')
        return document
    return document if isinstance(document, dict) else {}


def _parse_json(raw: bytes, path: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        text = raw.decode("utf-8", "replace")
        position = getattr(error, "pos", 0)
        if position >= len(text.rstrip()):
            words = "unexpected EOF"
        else:
            words = f"invalid character '{text[position]}' looking for beginning of value"
        raise ConfigProblem(f'error decoding config "{path}": {words}') from error


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_keys(value[key]) for key in sorted(value)}
    return [_sorted_keys(item) for item in value] if isinstance(value, list) else value


def _refuse_odd_keys(value: Any, path: str) -> None:
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            raise ConfigProblem(f'malformed file "{path}": unsupported type: map[interface {{}}]interface {{}}')
        for child in value.values():
            _refuse_odd_keys(child, path)
    elif isinstance(value, list):
        for child in value:
            _refuse_odd_keys(child, path)


def _merge_drop_ins(path: str, extension: str, document: Any) -> Any:
    directory = path + ".d"
    try:
        names = sorted(os.listdir(directory))
    except OSError:  # not there, no directory, or not readable: Clair passes over all three
        return document
    for name in names:
        drop_in = os.path.join(directory, name)
        if os.path.isdir(drop_in) and not os.path.islink(drop_in):
            continue
        kind = os.path.splitext(name)[1]
        if kind == extension:
            document = json_patch.merge(document, _load_as_json(drop_in))
        elif kind == extension + "-patch":
            operations = _load_as_json(drop_in)
            try:
                json_patch.check(operations)
            except json_patch.PatchProblem as problem:
                raise ConfigProblem(f'bad patch "{drop_in}": {problem}') from problem
            try:
                document = json_patch.apply(document, operations)
            except json_patch.PatchProblem as problem:
                raise ConfigProblem(f'error applying patch "{drop_in}": {problem}') from problem
    return document


class _JSONDecoder:
    """Go's encoding/json with unknown fields disallowed: keys match in any case, the first mistake is reported."""

    def __init__(self, release: Release, path: str) -> None:
        self._known = known_keys(release)
        self._path = path
        self._first = ""

    def decode(self, document: Any) -> dict[str, Any]:
        try:
            tree = self._object(document, "")
        except ValueError as error:
            raise ConfigProblem(f'error decoding config "{self._path}": {error}') from error
        if self._first:
            raise ConfigProblem(f'error decoding config "{self._path}": {self._first}')
        return tree

    def _save(self, problem: str) -> None:
        self._first = self._first or problem

    def _mismatch(self, value: Any, path: str, kind: str) -> None:
        parent, _, name = path.rpartition(".")
        struct = GO_STRUCTS.get(parent, "Config")
        found = _json_kind(value)
        if kind == "int" and found == "number":
            found = f"number {json.dumps(value)}"
        way = f"{parent}.{embedded_structs(path)}{name}" if parent else name
        self._save(f"cannot unmarshal {found} into Go struct field {struct}.{way} of type {kind}")

    def _object(self, document: dict[str, Any], prefix: str) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        names = {key.rpartition(".")[2]: key for key in self._known if key.rpartition(".")[0] == prefix}
        for key in document:
            name = key if key in names else next((known for known in names if known.lower() == key.lower()), None)
            if name is None:
                self._save(f'unknown field "{key}"')
                continue
            if document[key] is None:
                continue
            value = self._value(document[key], names[name])
            if value is not None:
                tree[name] = value
        return tree

    def _value(self, value: Any, path: str) -> Any:
        kind = TYPES.get(path) or ("object" if path in GO_STRUCTS or self._has_children(path) else "string")
        if kind == "object":
            if not isinstance(value, dict):
                self._mismatch(value, path, "config." + GO_STRUCTS.get(path, "Config"))
                return None
            return self._object(value, path)
        if kind in TEXT_KINDS:
            if not isinstance(value, str):
                self._mismatch(value, path, GO_TYPES[kind])
                return None
            return parse_text(kind, value)
        fits = {
            "string": lambda: isinstance(value, str),
            "bool": lambda: isinstance(value, bool),
            "int": lambda: isinstance(value, int) and not isinstance(value, bool),
            "compressor": lambda: isinstance(value, int) and not isinstance(value, bool),
            "float": lambda: isinstance(value, (int, float)) and not isinstance(value, bool),
            "strings": lambda: isinstance(value, list),
            "map": lambda: isinstance(value, dict),
            "map-of-strings": lambda: isinstance(value, dict),
            "map-of-strings-lists": lambda: isinstance(value, dict),
        }[kind]()
        if not fits:
            self._mismatch(value, path, GO_TYPES[kind])
            return None
        if kind in ("strings", "map-of-strings"):
            self._strings(value if kind == "strings" else list(value.values()), path)
        elif kind == "map-of-strings-lists":
            for items in value.values():
                if isinstance(items, list):
                    self._strings(items, path)
                elif items is not None:
                    self._mismatch(items, path, "[]string")
        return value

    def _strings(self, items: list[Any], path: str) -> None:
        for item in items:
            if item is not None and not isinstance(item, str):
                self._mismatch(item, path, "string")

    def _has_children(self, path: str) -> bool:
        return any(key.startswith(path + ".") for key in self._known)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
