"""What some formats show of Clair's report beside the findings: descriptions, and every package with its address.

Pure. The report is read a second time, for those formats only, and nothing but this is kept of it: held from the first
time on, descriptions would take most of the memory of every scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern

from ..host.read_json import Object, as_object, read_text
from ..verdict.run_scan import Result
from .name_packages import Purl, name_package

_PACKAGE_PARTS = ("name", "version", "arch")


@dataclass(frozen=True)
class Component:
    """A package of an image. `id` is its own in the report, `purl` is empty where its kind is not known."""

    id: str
    name: str
    version: str
    purl: Purl


def read_descriptions(result: Result) -> dict[str, str]:
    """Return the description of each vulnerability by its id, the longest where records differ."""
    found: dict[str, str] = {}

    def keep(document: Object) -> Object:
        name, text = document.get("name"), document.get("description")
        if "normalized_severity" in document and isinstance(name, str) and isinstance(text, str):
            if len(text) > len(found.get(name, "")):
                found[name] = text
            return {}
        return {}

    if result.report:
        read_text(result.report, keep)
    return found


def read_components(result: Result) -> tuple[list[Component], dict[tuple[str, str, str], list[str]]]:
    """Return the image's packages, and for name, version and vulnerability which of them (by id) are affected."""
    if not result.report:
        return [], {}
    document = as_object(read_text(result.report, _slim))
    components: list[Component] = []
    affected: dict[tuple[str, str, str], list[str]] = {}
    names = {key: item["name"] for key, item in document["vulnerabilities"].items()}
    for identifier, item in document["packages"].items():
        environments = document["environments"].get(identifier, [])
        repositories = _named(document["repository"], environments, "repository_ids")
        distributions = _named(document["distributions"], environments, "distribution_id")
        purl = name_package(item, distributions, repositories)
        components.append(Component(identifier, item["name"], item["version"], purl))
        for vulnerability in document["package_vulnerabilities"].get(identifier, ()):
            affected.setdefault((item["name"], item["version"], names[vulnerability]), []).append(identifier)
    return components, affected


def _named(objects: Object, environments: Iterable[Object], member: str) -> list[Object]:
    identifiers: list[str] = []
    for environment in environments:
        value = environment.get(member)
        identifiers += [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [objects[item] for item in dict.fromkeys(map(str, identifiers)) if item in objects]


def _slim(document: Object) -> Object:
    if "normalized_severity" in document:
        return {"name": intern(document["name"])}
    if "normalized_version" in document:
        return {name: document[name] for name in _PACKAGE_PARTS if name in document}
    return {} if "baseScore" in document else document
