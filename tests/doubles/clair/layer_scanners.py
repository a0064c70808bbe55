"""What the indexer finds in a layer: Debian, Ubuntu and Alpine distributions, dpkg and apk packages.

Source: claircore debian, ubuntu, alpine, dpkg, apk and osrelease packages. RPM and language packages are not played.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from .layer_contents import Layer
from .releases import Release


@dataclass
class Package:
    """A binary package and the source package it was built from."""

    scanner: str
    name: str
    version: str
    arch: str
    database: str
    source_name: str = ""
    source_version: str = ""
    source_kind: str = ""
    repository_hint: str = ""


@dataclass
class Findings:
    """Everything found in one layer."""

    packages: list[Package] = field(default_factory=list)
    distributions: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def scan_layer(layer: Layer, release: Release) -> Findings:
    """Run every scanner of the double over a layer."""
    findings = Findings()
    findings.packages += _scan_dpkg(layer, release)
    if release.since("4.6.1"):
        findings.packages += _scan_distroless(layer)
    findings.packages += _scan_apk(layer)
    for name, finder in (("debian", _debian), ("ubuntu", _ubuntu), ("alpine", _alpine)):
        distribution = finder(layer)
        if distribution:
            findings.distributions.append((name, distribution))
    return findings


def parse_os_release(text: str) -> dict[str, str]:
    """Read os-release the way claircore does: quotes are stripped, four escapes are undone."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#") or "=" not in line:
            continue
        key, _, value = line.partition("=")
        value = value.strip()
        if value.startswith("'"):
            value = value.strip("'").replace("'\\''", "'")
        elif value.startswith('"'):
            value = re.sub(r'\\([`\\"$])', r"\1", value.strip('"'))
        values[key.strip()] = value
    return values


def _os_release(layer: Layer) -> dict[str, str] | None:
    raw = layer.read("etc/os-release")
    return None if raw is None else parse_os_release(raw.decode("utf-8", "replace"))


def _distribution(**values: str) -> dict[str, str]:
    empty = dict.fromkeys(
        ("did", "name", "version", "version_code_name", "version_id", "arch", "cpe", "pretty_name"), ""
    )
    return {**empty, **values}


def debian_distribution(code_name: str, number: int) -> dict[str, str]:
    """Return Debian's distribution as indexer and updater both name it."""
    return _distribution(
        did="debian",
        name="Debian GNU/Linux",
        version=f"{number} ({code_name})",
        version_code_name=code_name,
        version_id=str(number),
        pretty_name=f"Debian GNU/Linux {number} ({code_name})",
    )


def alpine_distribution(version_id: str) -> dict[str, str]:
    """Return Alpine's distribution as its updater names it: with version_id, without version."""
    pretty = "Alpine Linux edge" if version_id == "edge" else f"Alpine Linux v{version_id}"
    return _distribution(did="alpine", name="Alpine Linux", version_id=version_id, pretty_name=pretty)


def _debian(layer: Layer) -> dict[str, str] | None:
    values = _os_release(layer)
    if not values or values.get("ID") != "debian":
        return None
    name = values.get("VERSION_CODENAME")
    if name is None:
        match = re.search(r"\((\w+)\)$", values.get("VERSION", ""))
        name = match.group(1) if match else ""
    number = values.get("VERSION_ID", "")
    if not name or not number.isdigit():
        return None
    return debian_distribution(name, int(number))


def _ubuntu(layer: Layer) -> dict[str, str] | None:
    values = _os_release(layer)
    if values is None:
        raw = layer.read("etc/lsb-release")
        if raw is None:
            return None
        lsb = parse_os_release(raw.decode("utf-8", "replace"))
        if lsb.get("DISTRIB_ID") != "Ubuntu":
            return None
        version, name = lsb.get("DISTRIB_RELEASE", ""), lsb.get("DISTRIB_CODENAME", "")
    else:
        if values.get("ID") != "ubuntu":
            return None
        version, name = values.get("VERSION_ID", ""), values.get("VERSION_CODENAME", "")
        if not name:
            match = re.search(r"\((\w+)", values.get("VERSION", ""))
            name = match.group(1).lower() if match else ""
    if not version or not name:
        return None
    return _distribution(
        did="ubuntu",
        name="Ubuntu",
        version=f"{version} ({name.title()})",
        version_code_name=name,
        version_id=version,
        pretty_name=f"Ubuntu {version}",
    )


def _alpine(layer: Layer) -> dict[str, str] | None:
    values = _os_release(layer)
    if values and values.get("ID") == "alpine" and "." in values.get("VERSION_ID", ""):
        pretty = values.get("PRETTY_NAME", "")
        version = "edge" if pretty == "Alpine Linux edge" else values["VERSION_ID"].rpartition(".")[0]
        return _distribution(did="alpine", name=values.get("NAME", ""), version=version, pretty_name=pretty)
    raw = layer.read("etc/issue")
    issue = raw.decode("utf-8", "replace") if raw else ""
    if re.search(r"Alpine Linux \d+\.\w+ \(edge\)", issue):
        return _distribution(did="alpine", name="Alpine Linux", version="edge", pretty_name="Alpine Linux edge")
    match = re.search(r"Alpine Linux (\d+\.\d+)", issue)
    if not match:
        return None
    version = match.group(1)
    return _distribution(did="alpine", name="Alpine Linux", version=version, pretty_name=f"Alpine Linux v{version}")


class ScanProblem(Exception):
    """A package database that cannot be read."""


def _scan_dpkg(layer: Layer, release: Release) -> list[Package]:
    folders: dict[str, int] = {}
    for path in layer.paths():
        folder, _, name = path.rpartition("/")
        if (name == "status" and not layer.is_directory(path)) or (name == "info" and layer.is_directory(path)):
            folders[folder] = folders.get(folder, 0) + 1
    implied = {path.rpartition("/info/")[0] for path in layer.paths() if "/info/" in path}
    found: list[Package] = []
    for folder in {*folders, *implied}:
        status = layer.read(f"{folder}/status" if folder else "status")
        if status is None or not layer.is_directory(f"{folder}/info" if folder else "info"):
            continue
        found += _read_dpkg(layer, folder, status, release)
    return found


def _read_dpkg(layer: Layer, folder: str, status: bytes, release: Release) -> list[Package]:
    database = f"{folder}/status" if folder else "status"
    found: list[Package] = []
    binaries: dict[str, Package] = {}
    sources: dict[str, str] = {}
    for entry in _paragraphs(status.decode("utf-8", "replace")):
        words = entry.get("status", "").split()
        if release.since("4.6.1") and not ("installed" in words and "ok" in words):
            continue
        name, version, arch = entry.get("package", ""), entry.get("version", ""), entry.get("architecture", "")
        if release.since("4.8.0") and not (name and version and arch):
            if any(key in entry for key in ("port-version", "default-features", "feature")):
                return []
            raise ScanProblem(
                f'unable to parse status file "{database}": dpkg: invalid package: missing required fields '
                f'(Package: "{name}", Version: "{version}")'
            )
        package = Package(scanner="dpkg", name=name, version=version, arch=arch, database=database)
        source = entry.get("source", "")
        if release.since("4.7.4"):  # `Source: NAME (VERSION)`; without it the binary's own name
            source, _, source_version = (source or name).partition(" ")
            package.source_name = source
            package.source_version = sources.setdefault(source, source_version.strip("()") or version)
            package.source_kind = "source"
        elif source:
            package.source_name, package.source_version, package.source_kind = source, version, "source"
        found.append(package)
        binaries[name] = package
    prefix = f"{folder}/info/" if folder else "info/"
    for path in layer.paths():
        if path.startswith(prefix) and path.endswith(".md5sums"):
            owner = binaries.get(path[len(prefix) : -len(".md5sums")].partition(":")[0])
            if owner:
                owner.repository_hint = hashlib.md5(layer.read(path) or b"").hexdigest()
    if release.since("4.7.4"):  # one entry for each name, in order
        return sorted(binaries.values(), key=lambda package: (package.name, package.version))
    return found


def _scan_distroless(layer: Layer) -> list[Package]:
    found = []
    for path in layer.paths():
        folder, _, name = path.rpartition("/")
        if not folder.endswith("status.d") or not name or layer.is_directory(path):
            continue
        for entry in _paragraphs((layer.read(path) or b"").decode("utf-8", "replace") + "\n\n"):
            if not entry.get("package"):
                continue
            source = entry.get("source", "")
            version = entry.get("version", "")
            found.append(
                Package(
                    scanner="dpkg-distroless",
                    name=entry["package"],
                    version=version,
                    arch=entry.get("architecture", ""),
                    database=path,
                    source_name=source,
                    source_version=version if source else "",
                    source_kind="source" if source else "",
                )
            )
    return found


def _scan_apk(layer: Layer) -> list[Package]:
    database = "lib/apk/db/installed"
    raw = layer.read(database)
    if raw is None:
        return []
    found = []
    sources: dict[str, str] = {}
    for entry in raw.decode("utf-8", "replace").split("\n\n"):
        if not entry.strip():
            continue
        package = Package(scanner="apk", name="", version="", arch="", database=database)
        for line in entry.split("\n")[:-1]:  # claircore never reads an entry's last line
            key, value = line[:1], line[2:]
            if key == "P":
                package.name = value
            elif key == "V":
                package.version = value
            elif key == "A":
                package.arch = value
            elif key == "c":
                package.repository_hint = value
            elif key == "o":
                package.source_name = value
                package.source_kind = "source"
                package.source_version = sources.setdefault(value, package.version)
        found.append(package)
    return found


def _paragraphs(text: str) -> list[dict[str, str]]:
    entries = []
    for block in re.split(r"\n[ \t]*\n", text)[:-1]:  # an entry counts once a blank line has ended it
        entry: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if key:
                    entry[key] += " " + line.strip()
                continue
            name, colon, value = line.partition(":")
            if colon:
                key = name.strip().lower()
                entry[key] = value.strip()
        if entry:
            entries.append(entry)
    return entries


def to_json(value: Any) -> dict[str, Any]:
    """Return a dataclass as a plain dictionary."""
    return dict(vars(value))
