"""The part of OVAL that Debian's documents need: definition, test, object, state (claircore pkg/ovalutil/dpkg.go)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from .feeds import FeedProblem


def read_dpkg_definitions(body: bytes) -> list[dict[str, Any]]:
    """Return one vulnerability per definition and dpkg test in it.

    Raises:
        FeedProblem: the document is no XML.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise FeedProblem(f"debian: unable to decode OVAL document: {error}") from error
    tests, objects, states = {}, {}, {}
    for element in root.iter():
        tag = _local(element.tag)
        if tag == "dpkginfo_test":
            tests[element.get("id")] = element
        elif tag == "dpkginfo_object":
            objects[element.get("id")] = _text(element, "name")
        elif tag == "dpkginfo_state":
            states[element.get("id")] = _text(element, "evr")
    found = []
    for definition in (element for element in root.iter() if _local(element.tag) == "definition"):
        title = (_text(definition, "title") or "").split(" ")[0]
        links = " ".join(
            element.get("ref_url", "") for element in definition.iter() if _local(element.tag) == "reference"
        ).strip()
        for criterion in (element for element in definition.iter() if _local(element.tag) == "criterion"):
            test = tests.get(criterion.get("test_ref"))
            if test is None:
                continue
            name = next((objects.get(part.get("object_ref")) for part in test if part.get("object_ref")), None)
            fixed = next((states.get(part.get("state_ref")) for part in test if part.get("state_ref")), "")
            if name:
                found.append(
                    {
                        "name": title,
                        "description": _text(definition, "description") or "",
                        "links": links,
                        "normalized_severity": "Unknown",
                        "package_name": name,
                        "package_kind": "binary",
                        "fixed_in_version": (fixed or "").removeprefix("0:"),
                    }
                )
    return found


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str | None:
    for child in element.iter():
        if _local(child.tag) == name and child.text:
            return child.text.strip()
    return None
