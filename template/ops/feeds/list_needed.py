"""Which families a deployment asked for, and which updaters each of them cannot do without.

Pure. The facts of each family stand in deployment.json, `feeds.catalogue`; their sources in the template repository,
extensions/data/families.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .match_updaters import readable

ENRICHMENT_SET = "clair.cvss"
_FIELD = re.compile(r"\{[a-z_]+(:dotted)?\}")
# What stands for a release or a year in a pattern.
_ANY = re.compile(r"\.\+|\\d(\{\d+\}|\+)")
_NAME = re.compile(r"(?:[A-Za-z0-9_/ -]|\\[^A-Za-z0-9])+", re.ASCII)


def asked_families(settings: Mapping[str, Any]) -> list[str]:
    """Return the families of deployment.json's `feeds` that were asked for, and the enrichment's name if it was."""
    enrichments = [name for name, family in settings["catalogue"].items() if is_enrichment(name, family)]
    return [*settings["families"], *(enrichments if settings.get("enrichment") else [])]


def is_enrichment(name: str, family: Mapping[str, Any]) -> bool:
    """Return whether a family of the catalogue is scores, without which every verdict still stands."""
    return ENRICHMENT_SET in (family.get("sets") or [name])


def needed_updaters(family: Mapping[str, Any]) -> list[str]:
    """Return patterns of updaters, each of which at least one updater must match before the family is loaded."""
    patterns = [_FIELD.sub(".+", str(text)) for entry in family.get("required") or () for text in entry.values()]
    patterns += [re.escape(str(name)) for name in (family.get("repositories") or {}).values() if name]
    return list(dict.fromkeys(patterns))


def missing_updaters(family: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of `needed_updaters` that none of `names` matches, as a reader writes them."""
    known = list(names)
    return [
        readable(_ANY.sub("*", pattern))
        for pattern in needed_updaters(family)
        if not any(re.fullmatch(pattern, name) for name in known)
    ]


def is_name(pattern: str) -> bool:
    """Return whether a pattern matches one name only, so that a family of such is known to be complete."""
    return _NAME.fullmatch(pattern) is not None
