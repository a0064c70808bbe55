"""The scanners each release registers, and the state hash that comes out of them (claircore libindex/libindex.go, setState).

The hash is not a stand-in: for 4.5.1, 4.8.0 and 4.9.0 it is the recorded one.
"""

from __future__ import annotations

import hashlib

from .releases import Release

Scanner = tuple[str, str, str]  # name, version, kind

_DISTRIBUTIONS = ("debian", "ubuntu", "alpine", "rhel", "aws", "oracle", "suse", "photon")
_REPOSITORIES = (
    "rhel-repository-scanner", "pip", "maven", "gem", "rhel_repo_container_detector", "rhel_containerscanner/repository",
)  # fmt: skip

# Each entry: what changed in the scanners' versions with that release; an empty version takes the scanner away.
_CHANGES: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "4.5.0",
        {
            "dpkg": "4", "apk": "v0.0.1", "rpm": "6", "python": "0.1.0", "java": "3", "rhel_containerscanner": "1",
            "rhel_containerscanner/repository": "1", "debian": "2", "ubuntu": "2", "alpine": "2", "rhel": "2",
            "aws": "v0.0.1", "oracle": "v0.0.1", "suse": "v0.0.1", "photon": "v0.0.1", "rhel-repository-scanner": "1.1",
            "pip": "0.0.1", "maven": "0.0.1",
        },
    ),
    ("4.6.0", {"gobin": "1"}),
    ("4.6.1", {"dpkg": "5", "dpkg-distroless": "1", "rpm": "9", "python": "3", "java": "4"}),
    ("4.7.0", {"rpm": "10", "gobin": "3", "ruby": "1", "gem": "1", "ubuntu": "3", "oracle": "1", "whiteout": "1"}),
    ("4.7.1", {"aws": "2"}),
    ("4.7.2", {"java": "5", "gobin": "4", "debian": "3"}),
    ("4.7.3", {"python": "4", "java": "6", "gobin": "5", "ruby": "2", "alpine": "3", "pip": "", "maven": "", "gem": ""}),
    ("4.7.4", {"dpkg": "6"}),
    ("4.8.0", {"dpkg": "7", "rhel-repository-scanner": "1.2"}),
    (
        "4.9.0",
        {
            "python": "5", "java": "8", "gobin": "7", "ruby": "3", "rhel-repository-scanner": "3",
            "rhel-package-scanner": "1", "rhel_package_container_detector": "1", "rhel_repo_container_detector": "1",
        },
    ),
)  # fmt: skip


def registered_scanners(release: Release) -> list[Scanner]:
    """Return name, version and kind of every scanner of the release."""
    versions: dict[str, str] = {}
    for since, changes in _CHANGES:
        if release.since(since):
            versions.update(changes)
    scanners = []
    for name, version in versions.items():
        if not version:
            continue
        kind = "package"
        if name in _DISTRIBUTIONS:
            kind = "distribution"
        elif name in _REPOSITORIES:
            kind = "repository"
        elif name == "whiteout":
            kind = "file"
        scanners.append((name.partition("/")[0], version, kind))
    return scanners


def indexer_state(release: Release) -> str:
    """Return the release's index state, an md5 in hex."""
    lines = {}
    names = []
    for name, version, kind in registered_scanners(release):
        lines[name] = f"{name}{version}{kind}\n"
        names.append(name)
    text = "libindex number: 2\n" + "".join(lines[name] for name in sorted(names))
    return hashlib.md5(text.encode()).hexdigest()
