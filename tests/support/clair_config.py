"""What a Clair service's config must look like, checked against the key list of its release and nothing of the code under test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.support import facts
from tests.support.projects import Project

# Every service's config keeps this order, so that a diff of two shows only what really differs.
KEY_ORDER = (
    *("http_listen_addr", "introspection_addr", "log_level"),
    *("indexer", "matcher", "matchers", "updaters", "notifier"),
    *("auth", "metrics", "trace", "tls"),
)
PASSWORD = re.compile(r"password|passwd|:[^/@\s]*@", re.IGNORECASE)
# 32 random bytes in base64 or hex: what a key or a generated password looks like.
KEY_MATERIAL = re.compile(r"(?<![A-Za-z0-9+/_=-])([A-Za-z0-9+/_-]{43}=?|[0-9a-f]{64})(?![A-Za-z0-9+/_=-])")


def dotted_keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key of a parsed config, those of mappings in lists included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}{key}"
            yield from dotted_keys(inner, f"{prefix}{key}.")
    elif isinstance(value, list):
        for item in value:
            yield from dotted_keys(item, prefix)


def unknown_keys(config: dict[str, Any], version: str) -> list[str]:
    """Return the keys that this release does not know: from 4.7.0 on, each one stops the service."""
    known, free = facts.config_keys(version), facts.free_form_keys()
    return [
        key for key in dotted_keys(config) if key not in known and not any(key.startswith(f"{top}.") for top in free)
    ]


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a parsed config."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def complaints(project: Project, service: str) -> list[str]:
    """Return what is wrong with a service's config, one sentence each."""
    config, version = project.config(service), project.facts["clair_release"]
    found = [f"{service}: {key} is unknown to {version}" for key in unknown_keys(config, version)]
    found += [f"{service}: {key} belongs to another service" for key in config if key not in facts.sections_of(service)]
    found += [f"{service}: holds a key" for key in ("key", "keyserver") if key in config.get("auth", {}).get("psk", {})]
    found += [f"{service}: holds a password: {text}" for text in strings(config) if PASSWORD.search(text)]
    found += [f"{service}: holds key material: {text}" for text in strings(config) if KEY_MATERIAL.search(text)]
    if list(config) != sorted(config, key=KEY_ORDER.index):
        found.append(f"{service}: keys are out of order: {', '.join(config)}")
    return found
