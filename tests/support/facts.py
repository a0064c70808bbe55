"""Facts of extensions/data, read here on their own: a test that asked the code under test would agree with its mistakes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml

from tests.support.places import DATA, ROOT


@cache
def parsed(name: str) -> Any:
    """Return a parsed file of extensions/data, or copier.yml."""
    path = ROOT / name if name == "copier.yml" else DATA / name
    return (json.loads if path.suffix == ".json" else yaml.safe_load)(path.read_text(encoding="utf-8"))


def releases() -> list[str]:
    """Return every supported Clair release, oldest first."""
    return sorted(parsed("clair.yaml")["releases"], key=lambda version: tuple(map(int, version.split("."))))


def release(version: str) -> dict[str, Any]:
    """Return the catalogue's entry of one release."""
    entry: dict[str, Any] = parsed("clair.yaml")["releases"][version]
    return entry


def architectures() -> list[str]:
    """Return every architecture that the newest release has an image for."""
    return list(release(releases()[-1])["platforms"])


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml, without settings and computed values."""
    entries = {name: spec for name, spec in parsed("copier.yml").items() if not name.startswith("_")}
    return {name: spec for name, spec in entries.items() if spec.get("when") is not False}


def config_keys(version: str) -> set[str]:
    """Return the dotted keys that this release's config may hold, `[]` for the items of a list."""
    entry = release(version)
    keys = set(parsed("clair-config-keys.json")["keysets"][entry["config_keys"]])
    return (keys | set(entry.get("config_keys_added", []))) - set(entry.get("config_keys_removed", []))


def free_form_keys() -> list[str]:
    """Return the dotted keys below which anything may stand."""
    return list(parsed("clair-config-keys.json")["free_form"])


def sections_of(service: str) -> set[str]:
    """Return the top-level config keys that a service reads."""
    return {key for key, services in parsed("clair-config-keys.json")["sections"].items() if service in services}
