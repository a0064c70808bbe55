"""The part of OVAL that Debian's documents need: definition, test, object, state (claircore pkg/ovalutil/dpkg.go)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from .feeds import FeedProblem

_VERSION = re.compile(r"([0-9]+:)?[-_A-Za-z0-9.+:~]+(-[A-Za-z0-9+.~]+)?")


def read_dpkg_definitions(body: bytes) -> list[dict[str, Any]]:
    """Return one vulnerability for each dpkg test of each definition; `package_name` is the source package.

    Raises:
        FeedProblem: the document is no XML.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise FeedProblem(f"debian: unable to decode OVAL document: {error}") from error
    tests = {element.get("id"): element for element in _all(root, "dpkginfo_test")}
    objects = {element.get("id"): _text(element, "name") for element in _all(root, "dpkginfo_object")}
    states = {element.get("id"): _text(element, "evr") for element in _all(root, "dpkginfo_state")}
    found = []
    for definition in _all(root, "definition"):
        entry = {
            "name": _text(definition, "title") or "",
            "description": _text(definition, "description") or "",
            "links": _links(definition),
            "normalized_severity": "Unknown",
        }
        for criterion in _all(definition, "criterion"):
            test = tests.get(criterion.get("test_ref"))
            if test is None:
                continue
            package = _referred(test, "object", "object_ref", objects)
            fixed: str | None = ""
            if any(_local(part.tag) == "state" for part in test):
                fixed = _referred(test, "state", "state_ref", states)
            if package and fixed is not None and (not fixed or _VERSION.fullmatch(fixed)):
                found.append({**entry, "package_name": package, "fixed_in_version": fixed})
    return found


def _links(definition: ElementTree.Element) -> str:
    links = [element.get("ref_url", "") for element in _all(definition, "reference")]
    links += [(element.text or "").strip() for element in _all(definition, "ref")]
    return " ".join(dict.fromkeys(link for link in links if link))


def _referred(test: ElementTree.Element, kind: str, attribute: str, table: dict[Any, str | None]) -> str | None:
    for part in test:
        if _local(part.tag) == kind:
            return table.get(part.get(attribute))
    return None


def _all(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (child for child in element.iter() if _local(child.tag) == name)


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str | None:
    for child in _all(element, name):
        if child.text:
            return child.text.strip()
    return None
