"""Decode the configuration of 4.5 and 4.6 as yaml.v3 does: unknown keys are dropped, keys match exactly, scalars become texts."""

from __future__ import annotations

from typing import Any

import yaml

from . import yaml_as_go
from .config_fields import GO_STRUCTS, GO_TYPES, TYPES, known_keys
from .config_texts import parse_text
from .releases import Release

_PREFIX = "tag:yaml.org,2002:"
_TRUE = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "off", "Off", "OFF")
_OLD_TYPES = {"duration": "time.Duration", "map": "map[string]yaml.Node"}


class YAMLDecoder:
    """Decodes the nodes of one document."""

    def __init__(self, release: Release) -> None:
        self._known = known_keys(release)
        self._problems: list[str] = []

    def decode(self, root: yaml.Node) -> dict[str, Any]:
        """Return the tree of values.

        Raises:
            YAMLProblem: values of the wrong type, all of them listed.
            ValueError: a text of a bad form, which is reported at once.
        """
        if not isinstance(root, yaml.MappingNode):
            self._mismatch(root, "config.Config")
            tree = {}
        else:
            tree = self._object(root, "")
        if self._problems:
            raise yaml_as_go.YAMLProblem("unmarshal errors:\n  " + "\n  ".join(self._problems))
        return tree

    def _object(self, node: yaml.MappingNode, prefix: str) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, child in node.value:
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            if path not in self._known or child.tag == f"{_PREFIX}null":
                continue
            value = self._value(child, path)
            if value is not None:
                tree[str(key.value)] = value
        return tree

    def _value(self, node: yaml.Node, path: str) -> Any:
        is_object = path in GO_STRUCTS or any(key.startswith(path + ".") for key in self._known)
        kind = TYPES.get(path) or ("object" if is_object else "string")
        if kind == "object":
            if isinstance(node, yaml.MappingNode):
                return self._object(node, path)
            return self._mismatch(node, "config." + GO_STRUCTS.get(path, "Config"))
        go_type = _OLD_TYPES.get(kind, GO_TYPES[kind])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, kind, go_type)
        if isinstance(node, yaml.SequenceNode) and kind == "strings":
            return self._strings(node)
        if isinstance(node, yaml.MappingNode) and kind.startswith("map"):
            return self._mapping(node, kind)
        return self._mismatch(node, go_type)

    def _scalar(self, node: yaml.ScalarNode, kind: str, go_type: str) -> Any:
        resolved = yaml_as_go.construct(node)
        if kind == "string":
            return node.value
        if kind in ("base64", "level"):
            return parse_text(kind, node.value)
        if kind == "duration" and isinstance(resolved, str):
            try:
                return parse_text(kind, resolved)
            except ValueError:
                return self._mismatch(node, go_type)
        if kind == "bool" and (isinstance(resolved, bool) or resolved in _TRUE or resolved in _FALSE):
            return resolved in _TRUE if isinstance(resolved, str) else resolved
        number = isinstance(resolved, (int, float)) and not isinstance(resolved, bool)
        if kind == "float" and number:
            return resolved
        if kind in ("int", "compressor") and number:
            return int(resolved)
        return self._mismatch(node, go_type)

    def _strings(self, node: yaml.SequenceNode) -> list[str]:
        texts = []
        for item in node.value:
            if isinstance(item, yaml.ScalarNode):
                texts.append(item.value)
            else:
                self._mismatch(item, "string")
        return texts

    def _mapping(self, node: yaml.MappingNode, kind: str) -> dict[str, Any]:
        if kind == "map":
            value: dict[str, Any] = yaml_as_go.construct(node)
            return value
        tree: dict[str, Any] = {}
        for key, child in node.value:
            if kind == "map-of-strings-lists":
                is_list = isinstance(child, yaml.SequenceNode)
                tree[key.value] = self._strings(child) if is_list else self._mismatch(child, "[]string")
            else:
                is_text = isinstance(child, yaml.ScalarNode)
                tree[key.value] = child.value if is_text else self._mismatch(child, "string")
        return tree

    def _mismatch(self, node: yaml.Node, go_type: str) -> None:
        shown = ""
        if isinstance(node, yaml.ScalarNode):
            shown = f" `{node.value if len(node.value) <= 10 else node.value[:7] + '...'}`"
        tag = node.tag.replace(_PREFIX, "!!")
        self._problems.append(f"line {node.start_mark.line + 1}: cannot unmarshal {tag}{shown} into {go_type}")
