"""The address of a package across ecosystems (package URL, purl-spec 1.0), as far as Clair's report tells its kind.

Pure. Types and namespaces: purl-spec types deb, apk, rpm, golang, maven, pypi, gem. A distribution or ecosystem that
is not listed here has no address: a wrong one would let another tool compare the package with another feed.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence

from ..host.read_json import Object

# `did` of a distribution (its os-release ID) to type and namespace.
DISTRIBUTIONS = {
    "alpine": ("apk", "alpine"),
    "amzn": ("rpm", "amzn"),
    "debian": ("deb", "debian"),
    "ol": ("rpm", "oracle"),
    "opensuse": ("rpm", "opensuse"),
    "opensuse-leap": ("rpm", "opensuse"),
    "photon": ("rpm", "photon"),
    "rhel": ("rpm", "redhat"),
    "sles": ("rpm", "suse"),
    "ubuntu": ("deb", "ubuntu"),
}
# `name` of a language's repository to type (extensions/data/families.yaml, osv).
ECOSYSTEMS = {"go": "golang", "maven": "maven", "pypi": "pypi", "rubygems": "gem"}
_EPOCH = re.compile(r"([0-9]+):(.+)")

# An address as text; empty if the kind of a package is not known.
Purl = str


def name_package(package: Object, distributions: Sequence[Object], repositories: Sequence[Object]) -> Purl:
    """Return the address of a package of a report that belongs to these distributions and repositories."""
    name, version = package["name"], package["version"]
    if not name.strip("/ "):
        return ""
    for repository in repositories:
        kind = ECOSYSTEMS.get(str(repository.get("name")))
        if kind and not repository.get("key"):
            return _language(kind, name, version)
    for distribution in distributions:
        kind, namespace = DISTRIBUTIONS.get(str(distribution.get("did")), ("", ""))
        if kind:
            return _system(kind, namespace, package, distribution)
    return ""


def _system(kind: str, namespace: str, package: Object, distribution: Object) -> Purl:
    version = package["version"]
    qualifiers = {"arch": str(package.get("arch") or "")}
    epoch = _EPOCH.fullmatch(version) if kind == "rpm" else None
    if epoch:
        qualifiers["epoch"], version = epoch.groups()
    release = str(distribution.get("version_id") or distribution.get("version") or "")
    qualifiers["distro"] = f"{distribution['did']}-{release}" if release else str(distribution["did"])
    name = package["name"] if kind == "rpm" else package["name"].lower()
    return _address(kind, [namespace], name, version, qualifiers)


def _language(kind: str, name: str, version: str) -> Purl:
    if kind == "pypi":
        name = name.lower().replace("_", "-")
    *namespace, last = name.split(":") if kind == "maven" else name.strip("/").split("/")
    return _address(kind, namespace, last, version, {})


def _address(kind: str, namespace: Sequence[str], name: str, version: str, qualifiers: dict[str, str]) -> Purl:
    path = "/".join(_encode(part) for part in (*namespace, name) if part)
    text = f"pkg:{kind}/{path}" + (f"@{_encode(version)}" if version else "")
    pairs = "&".join(f"{key}={_encode(qualifiers[key])}" for key in sorted(qualifiers) if qualifiers[key])
    return f"{text}?{pairs}" if pairs else text


def _encode(text: str) -> str:
    """Return text percent-encoded but for what purl-spec leaves as it is."""
    return urllib.parse.quote(text, safe=":", errors="replace")
