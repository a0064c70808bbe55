"""RFC 7386 (merge) and RFC 6902 (patch), with the messages of the Go library that Clair uses (evanphx/json-patch v5)."""

from __future__ import annotations

import copy
from typing import Any


class PatchProblem(Exception):
    """A patch that cannot be decoded or applied."""


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


def apply(document: Any, operations: list[Any]) -> Any:
    """Return `document` after all operations.

    Raises:
        PatchProblem: an operation is malformed or does not apply.
    """
    result = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or "op" not in operation:
            raise PatchProblem("Unexpected kind: unknown")
        result = _apply_one(result, operation)
    return result


def _apply_one(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], operation.get("path", "")
    if kind == "add":
        _add(document, path, copy.deepcopy(operation.get("value")))
    elif kind == "remove":
        _remove(document, path, "remove")
    elif kind == "replace":
        _get(document, path, "replace")
        container, token = _container(document, path, "replace")
        container[_index(container, token)] = copy.deepcopy(operation.get("value"))
    elif kind == "move":
        value = _get(document, operation.get("from", ""), "move")
        _remove(document, operation.get("from", ""), "move")
        _add(document, path, value)
    elif kind == "copy":
        _add(document, path, copy.deepcopy(_get(document, operation.get("from", ""), "copy")))
    elif kind == "test":
        try:
            same = _get(document, path, "test") == operation.get("value")
        except PatchProblem:
            same = operation.get("value") is None
        if not same:
            raise PatchProblem(f"testing value {path} failed: test failed")
    else:
        raise PatchProblem(f"Unexpected kind: {kind}")
    return document


def _tokens(path: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def _index(container: Any, token: str) -> Any:
    return int(token) if isinstance(container, list) else token


def _container(document: Any, path: str, kind: str) -> tuple[Any, str]:
    tokens = _tokens(path)
    if not tokens:
        raise PatchProblem(f"{kind} operation does not apply: doc is missing path: {path}: missing value")
    for token in tokens[:-1]:
        try:
            document = document[_index(document, token)]
        except (KeyError, IndexError, ValueError, TypeError):
            raise PatchProblem(
                f'{kind} operation does not apply: doc is missing path: "{path}": missing value'
            ) from None
    if not isinstance(document, (dict, list)):
        raise PatchProblem(f'{kind} operation does not apply: doc is missing path: "{path}": missing value')
    return document, tokens[-1]


def _get(document: Any, path: str, kind: str) -> Any:
    if path == "":
        return document
    container, token = _container(document, path, kind)
    try:
        return container[_index(container, token)]
    except (KeyError, IndexError, ValueError):
        raise PatchProblem(f"{kind} operation does not apply: doc is missing key: {path}: missing value") from None


def _add(document: Any, path: str, value: Any) -> None:
    container, token = _container(document, path, "add")
    if isinstance(container, list):
        if token == "-":
            container.append(value)
            return
        position = int(token)
        if position > len(container):
            raise PatchProblem(
                f"error in add for path: '{path}': Unable to access invalid index: {position}: invalid index"
            )
        container.insert(position, value)
    else:
        container[token] = value


def _remove(document: Any, path: str, kind: str) -> None:
    _get(document, path, kind)
    container, token = _container(document, path, kind)
    del container[_index(container, token)]
