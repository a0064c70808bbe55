"""Clair's reports built for tests: a distribution, packages, repositories, vulnerabilities."""

from __future__ import annotations

from typing import Any

from ops.clair.read_report import Contents

DISTRIBUTIONS: dict[str, dict[str, str]] = {
    "debian": {
        "did": "debian",
        "name": "Debian GNU/Linux",
        "version": "12 (bookworm)",
        "version_code_name": "bookworm",
        "version_id": "12",
        "pretty_name": "Debian GNU/Linux 12 (bookworm)",
    },
    "alpine": {"did": "alpine", "name": "Alpine Linux", "version": "3.18", "pretty_name": "Alpine Linux v3.18"},
    "ubuntu": {
        "did": "ubuntu",
        "name": "Ubuntu",
        "version": "22.04",
        "version_code_name": "jammy",
        "version_id": "22.04",
    },
    "amazon": {
        "did": "amzn",
        "name": "Amazon Linux",
        "version": "2",
        "version_id": "2",
        "pretty_name": "Amazon Linux 2",
    },
    "amazon-1": {"did": "amzn", "name": "Amazon Linux AMI", "version": "2018.03", "version_id": "2018.03"},
    "oracle": {"did": "ol", "name": "Oracle Linux Server", "version": "8.9", "version_id": "8.9"},
    "suse": {
        "did": "sles",
        "name": "SLES",
        "version": "15",
        "version_id": "15",
        "pretty_name": "SUSE Linux Enterprise Server 15",
    },
    "photon": {"did": "photon", "name": "VMware Photon OS", "version": "3.0", "version_id": "3.0"},
    "rhel": {
        "did": "rhel",
        "name": "Red Hat Enterprise Linux Server",
        "version": "9",
        "version_id": "9",
        "pretty_name": "Red Hat Enterprise Linux Server 9",
    },
    "fedora": {"did": "fedora", "name": "Fedora Linux", "version": "40", "version_id": "40"},
}
REPOSITORIES: dict[str, dict[str, str]] = {
    "pypi": {"name": "pypi", "uri": "https://pypi.example/simple"},
    "npm": {"name": "npm", "uri": "https://www.npmjs.com/"},
    "cpe": {"name": "cpe:/o:redhat:enterprise_linux:9::baseos", "key": "rhel-cpe-repository"},
    "rhcc": {"name": "Red Hat Container Catalog", "key": "rhcc-container-repository"},
}


def contents(*packages: str, digest: str = "sha256:0") -> Contents:
    """Return what an image holds.

    A package is written as `name`, or with a distribution (`name@debian`), repositories (`name+pypi`), or both. A
    distribution alone (`@debian`) is one without packages.
    """
    document = document_of(*packages, digest=digest)
    return Contents(
        digest, document["packages"], document["distributions"], document["repository"], document["environments"]
    )


def document_of(*packages: str, digest: str = "sha256:0") -> dict[str, Any]:
    """Return the same as the JSON members that both reports share."""
    found: dict[str, Any] = {name: {} for name in ("packages", "distributions", "repository", "environments")}
    for number, text in enumerate(packages, 1):
        rest, *repositories = text.split("+")
        name, _, distribution = rest.partition("@")
        if distribution:
            found["distributions"][distribution] = {"id": distribution, **DISTRIBUTIONS[distribution]}
        found["repository"].update({key: {"id": key, **REPOSITORIES[key]} for key in repositories})
        if not name:
            continue
        identifier = str(number)
        found["packages"][identifier] = {"id": identifier, "name": name, "version": "1", "normalized_version": ""}
        environment = {
            "package_db": "var/lib/db",
            "introduced_in": "sha256:1",
            "distribution_id": distribution,
            "repository_ids": repositories or None,
        }
        found["environments"][identifier] = [environment]
    return {"manifest_hash": digest, **found}
