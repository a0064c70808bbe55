"""YAML the way Go's yaml.v3 reads it: only true and false are booleans, duplicate keys are errors, the first document counts."""

from __future__ import annotations

import re
from typing import Any

import yaml

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YAMLProblem(Exception):
    """The text is no YAML; the message is what yaml.v3 prints after `yaml: `."""


class _Loader(_BASE):
    pass


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), [*_first, ""] if "null" in _tag else list(_first))


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    digits = text.lstrip("+-")
    if re.match(r"^0[0-7]+$", digits):  # yaml.v3 still reads the octal numbers of YAML 1.1
        value = int(digits, 8)
    else:
        value = int(digits, 0) if digits[:2] in ("0b", "0o", "0x") else int(digits)
    return -value if text.startswith("-") else value


def _mapping(loader: Any, node: Any, deep: bool = True) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if key in seen:
            raise YAMLProblem(
                f'unmarshal errors:\n  line {line}: mapping key "{key}" already defined at line {seen[key]}'
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str) -> Any:
    """Return the first document.

    Raises:
        YAMLProblem: the text is no YAML, or a key stands twice.
    """
    return _first(text, "data")


def compose(text: str) -> yaml.Node:
    """Return the first document as nodes, merge keys resolved.

    Raises:
        YAMLProblem: the text is no YAML.
    """
    return _first(text, "node")


def construct(node: yaml.Node) -> Any:
    """Return the value of a node."""
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _first(text: str, form: str) -> Any:
    try:
        loader = _Loader(text)
        try:
            if not getattr(loader, f"check_{form}")():
                return None
            document = getattr(loader, f"get_{form}")()
            if form == "node":
                _merge_keys(loader, document)
            return document
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        number = next((mark.line for mark in (error.context_mark, error.problem_mark) if mark and mark.line), 0)
        if number and isinstance(error, yaml.scanner.ScannerError):
            number += 1
        line = f"line {number}: " if number else ""
        raise YAMLProblem(f"{line}{error.problem}") from error
    except yaml.YAMLError as error:
        raise YAMLProblem(str(error)) from error


def _merge_keys(loader: Any, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        for _, child in node.value:
            _merge_keys(loader, child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _merge_keys(loader, child)
