"""Merges a service's config with the operator's drop-ins as Clair >= 4.7 does.

Reads `config/<service>/config.yaml` and `config/<service>/config.yaml.d/`; writes nothing. Drop-ins are merged in the order
of their names: `.yaml` by RFC 7386, `.yaml-patch` by RFC 6902, other names are ignored (cmd/config.go at v4.9.0).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, List

from ..errors import Problem
from ..host.yaml_reader import read_yaml
from ..settings import Deployment


def config_folder(deployment: Deployment, service: str) -> Path:
    """Return the folder of a service's rendered config."""
    return deployment.root / "config" / service


def drop_ins(deployment: Deployment, service: str) -> List[Path]:
    """Return the operator's drop-in files in the order Clair reads them, also those whose name Clair ignores."""
    folder = config_folder(deployment, service) / "config.yaml.d"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def read_config(deployment: Deployment, path: Path) -> Any:
    """Return the value of one YAML or JSON file.

    Raises Problem (2) if it is missing, unreadable or outside the subset of `yaml_reader`.
    """
    where = path.relative_to(deployment.root).as_posix()
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"config unreadable, {where}: not UTF-8 text", f"file {where}") from error
    except OSError as error:
        raise Problem(f"config unreadable, {where}: {error.strerror}", f"git checkout -- {where}") from error
    return read_yaml(text, where)


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with an RFC 7386 merge patch applied: objects merge, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def pointer_parts(pointer: Any) -> List[str]:
    """Return the parts of a JSON pointer (RFC 6901); raises ValueError if it is none."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise ValueError(f"path {pointer!r} does not start with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def patch(document: Any, operations: Any) -> Any:
    """Return `document` with RFC 6902 operations applied; raises ValueError with the first that cannot be."""
    if not isinstance(operations, list):
        raise ValueError("a patch is a list of operations")  # noqa: TRY004 - as for every other fault
    # One level above, so that the whole document can be replaced like any value.
    holder = {"": copy.deepcopy(document)}
    for number, operation in enumerate(operations, 1):
        try:
            _apply(holder, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = f"no such path {error}" if isinstance(error, (KeyError, IndexError)) else str(error)
            raise ValueError(f"operation {number}: {reason}") from error
    return holder[""]


def merged_config(deployment: Deployment, service: str) -> Dict[str, Any]:
    """Return the config a service reads: the rendered one with the operator's drop-ins, without the PSK.

    Raises Problem (2) if a file cannot be read or a patch does not apply.
    """
    document = read_config(deployment, config_folder(deployment, service) / "config.yaml")
    for path in drop_ins(deployment, service) if deployment.facts["release"]["drop_ins"] else []:
        where = path.relative_to(deployment.root).as_posix()
        if path.suffix == ".yaml":
            document = merge(document, read_config(deployment, path))
        elif path.suffix == ".yaml-patch":
            try:
                document = patch(document, read_config(deployment, path))
            except ValueError as error:
                raise Problem(f"patch refused, {where}: {error}", f"mv {where} {where}.off") from error
    if not isinstance(document, dict):
        raise Problem(f"config unreadable, config/{service}/config.yaml: no mapping at the top", "make diff")
    return document


def _apply(holder: Dict[str, Any], operation: Any) -> None:
    if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
        raise ValueError("needs op and path")
    kind, path = operation["op"], ["", *pointer_parts(operation["path"])]
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise ValueError(f"{kind} needs a value")
    if kind == "add":
        _add(holder, path, copy.deepcopy(operation["value"]))
    elif kind == "remove":
        _remove(holder, path)
    elif kind == "replace":
        _remove(holder, path)
        _add(holder, path, copy.deepcopy(operation["value"]))
    elif kind in ("move", "copy"):
        source = ["", *pointer_parts(operation.get("from"))]
        value = copy.deepcopy(_get(holder, source))
        if kind == "move":
            _remove(holder, source)
        _add(holder, path, value)
    elif kind == "test":
        if _get(holder, path) != operation["value"]:
            raise ValueError(f"test of {operation['path']} fails")
    else:
        raise ValueError(f"unknown op {kind!r}")


def _index(items: List[Any], part: str, end: bool) -> int:
    if end and part == "-":
        return len(items)
    if not part.isdigit() or (len(part) > 1 and part[0] == "0") or int(part) >= len(items) + int(end):
        raise IndexError(part)
    return int(part)


def _get(holder: Any, path: List[str]) -> Any:
    for part in path:
        if isinstance(holder, list):
            holder = holder[_index(holder, part, end=False)]
        elif isinstance(holder, dict):
            holder = holder[part]
        else:
            raise KeyError(part)
    return holder


def _add(holder: Any, path: List[str], value: Any) -> None:
    parent, last = _get(holder, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(_index(parent, last, end=True), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise KeyError(last)


def _remove(holder: Any, path: List[str]) -> None:
    parent, last = _get(holder, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, last, end=False)]
    elif isinstance(parent, dict):
        del parent[last]
    else:
        raise KeyError(last)
