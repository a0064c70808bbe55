"""RFC 7386 (merge) and RFC 6902 (patch), with the messages of the Go library that Clair uses (evanphx/json-patch v5)."""

from __future__ import annotations

import copy
import json
import re
from typing import Any


class PatchProblem(Exception):
    """A patch that cannot be decoded or applied."""


_MISSING = "missing value"


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` merged in: objects merge, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def check(operations: list[Any]) -> None:
    """Refuse a patch whose operations are malformed, before any is applied.

    Raises:
        PatchProblem: with the library's words for the first one.
    """
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchProblem("json: cannot unmarshal into Go value of type jsonpatch.Operation")
        problem = _malformed(operation)
        if problem:
            shown = json.dumps(dict(sorted(operation.items())), separators=(",", ":"), ensure_ascii=False)
            raise PatchProblem(f"invalid operation {shown}: {problem}")


def _malformed(operation: dict[str, Any]) -> str:
    kind = operation.get("op")
    if kind in ("add", "replace"):
        if "value" not in operation:
            return f"failed to decode 'value': operation, missing value field: {_MISSING}"
    elif kind in ("move", "copy"):
        if operation.get("from") is None:
            return f"failed to decode 'from': operation, missing from field: {_MISSING}"
    elif kind not in ("remove", "test"):
        return "unsupported operation"
    if operation.get("path") is None:
        return f"failed to decode 'path': operation missing path field: {_MISSING}"
    return ""


def apply(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Return `document` after all operations, which `check` has seen.

    Raises:
        PatchProblem: an operation does not apply.
    """
    result = copy.deepcopy(document)
    for operation in operations:
        kind, path = operation["op"], operation["path"]
        if path == "" and kind in ("add", "replace"):
            result = copy.deepcopy(operation["value"])
            continue
        _OPERATIONS[kind](result, path, operation)
    return result


def _add(document: Any, path: str, operation: dict[str, Any]) -> None:
    container, key = _find(document, path, f'add operation does not apply: doc is missing path: "{path}"')
    _insert(container, key, copy.deepcopy(operation["value"]), f"error in add for path: '{path}'")


def _remove(document: Any, path: str, _: dict[str, Any]) -> None:
    container, key = _find(document, path, f'remove operation does not apply: doc is missing path: "{path}"')
    _delete(container, key, f"error in remove for path: '{path}'")


def _replace(document: Any, path: str, operation: dict[str, Any]) -> None:
    container, key = _find(document, path, f"replace operation does not apply: doc is missing path: {path}")
    try:
        _get(container, key, "")
    except PatchProblem:
        raise PatchProblem(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None
    container[_place(container, key)] = copy.deepcopy(operation["value"])


def _move(document: Any, path: str, operation: dict[str, Any]) -> None:
    source = operation["from"]
    if source == "":
        raise PatchProblem("unable to move entire document to another path: invalid state detected")
    container, key = _find(document, source, f"move operation does not apply: doc is missing from path: {source}")
    value = _get(container, key, f"error in move for path: '{key}'")
    _delete(container, key, f"error in move for path: '{key}'")
    container, key = _find(document, path, f"move operation does not apply: doc is missing destination path: {path}")
    _insert(container, key, value, f"error in move for path: '{path}'")


def _copy(document: Any, path: str, operation: dict[str, Any]) -> None:
    source = operation["from"]
    container, key = _find(document, source, f'copy operation does not apply: doc is missing from path: "{source}"')
    value = copy.deepcopy(_get(container, key, f"error in copy for from: '{source}'"))
    container, key = _find(document, path, f"copy operation does not apply: doc is missing destination path: {path}")
    _insert(container, key, value, "error while adding value during copy")


def _test(document: Any, path: str, operation: dict[str, Any]) -> None:
    if path == "":
        found = document
    else:
        container, key = _find(document, path, f"test operation does not apply: is missing path: {path}")
        found = (
            container.get(key)
            if isinstance(container, dict)
            else _get(container, key, f"error in test for path: '{path}'")
        )
    if found != operation.get("value"):
        raise PatchProblem(f"testing value {path} failed: test failed")


_OPERATIONS = {"add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test}


def _find(document: Any, path: str, missing: str) -> tuple[Any, str]:
    """Walk to the container that holds the last part of `path`."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    for part in parts[:-1]:
        try:
            document = _get(document, part, "")
        except PatchProblem:
            raise PatchProblem(f"{missing}: {_MISSING}") from None
    if not parts or not isinstance(document, (dict, list)):
        raise PatchProblem(f"{missing}: {_MISSING}")
    return document, parts[-1]


def _get(container: Any, key: str, prefix: str) -> Any:
    if isinstance(container, dict):
        if key not in container:
            raise PatchProblem(f"{prefix}: unable to get nonexistent key: {key}: {_MISSING}")
        return container[key]
    if not isinstance(container, list):
        raise PatchProblem(f"{prefix}: {_MISSING}")
    return container[_index(container, key, len(container) - 1, prefix)]


def _insert(container: Any, key: str, value: Any, prefix: str) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        container.insert(_index(container, key, len(container), prefix), value)


def _delete(container: Any, key: str, prefix: str) -> None:
    if isinstance(container, dict):
        if key not in container:
            raise PatchProblem(f"{prefix}: unable to remove nonexistent key: {key}: {_MISSING}")
        del container[key]
    else:
        del container[_index(container, key, len(container) - 1, prefix)]


def _place(container: Any, key: str) -> Any:
    return _index(container, key, len(container) - 1, "") if isinstance(container, list) else key


def _index(container: list[Any], key: str, highest: int, prefix: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", key):
        raise PatchProblem(f'{prefix}: strconv.Atoi: parsing "{key}": invalid syntax')
    position = int(key)
    if position > highest or position < -(highest + 1):
        raise PatchProblem(f"{prefix}: Unable to access invalid index: {position}: invalid index referenced")
    return position + highest + 1 if position < 0 else position
