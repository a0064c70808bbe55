"""CycloneDX: its schema, addresses of packages, decisions on vulnerabilities, and an undecided scan that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ops.formats.name_packages import name_package
from ops.verdict.report import Report
from packageurl import PackageURL

from .samples import REPORTS, Found, report, text_of, with_image

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def bom_of(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text_of(report, "cyclonedx"))
    return document


def said(properties: list[dict[str, str]], name: str) -> list[str]:
    return [one["value"] for one in properties if one["name"] == f"clair:{name}"]


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_every_kind_of_report_is_valid_for_schema_and_library(make: Callable[[], Report]) -> None:
    text = text_of(make(), "cyclonedx")

    assert VALIDATOR.validate_str(text) is None
    bom = Bom.from_json(json.loads(text))  # type: ignore[attr-defined]
    assert bom.validate()


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_references_are_unique_and_lead_somewhere(make: Callable[[], Report]) -> None:
    document = bom_of(make())

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [one for item in node for one in references(item)]
        if isinstance(node, dict):
            own = [node["bom-ref"]] if "bom-ref" in node else []
            return own + [one for item in node.values() for one in references(item)]
        return []

    known = references(document)
    used = [affected["ref"] for item in document["vulnerabilities"] for affected in item["affects"]]
    used += [one for item in document["compositions"] for one in item["assemblies"]]
    assert len(known) == len(set(known))
    assert set(used) <= set(known)
    assert all(item["affects"] for item in document["vulnerabilities"])


def test_a_package_has_its_address_and_a_vulnerability_its_package() -> None:
    document = bom_of(report([Found()]))

    component = next(one for one in document["components"] if one["name"] == "libssl3")
    assert component["purl"] == "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12"
    (vulnerability,) = document["vulnerabilities"]
    assert vulnerability["affects"] == [
        {"ref": component["bom-ref"], "versions": [{"version": "3.0.11-1", "status": "affected"}]}
    ]
    assert vulnerability["recommendation"] == "update to libssl3 3.0.14-1"
    assert vulnerability["advisories"] == [{"url": "https://tracker.example/CVE-2024-6119"}]


def test_the_metadata_say_verdict_feeds_and_options() -> None:
    metadata = bom_of(report())["metadata"]

    assert said(metadata["properties"], "verdict") == ["findings"]
    assert said(metadata["properties"], "options") == ["--fail-on critical --max-feed-age 24h"]
    assert said(metadata["properties"], "feed")[0].startswith("Debian GNU/Linux 12 (bookworm): debian/updater of 2026-")
    assert metadata["component"]["version"].startswith("sha256:")


@pytest.mark.parametrize("name", ["undecided", "failed"])
def test_an_undecided_scan_is_an_incomplete_bill(name: str) -> None:
    document = bom_of(REPORTS[name]())

    assert document["compositions"] == [{"aggregate": "incomplete", "assemblies": ["image:image"]}]
    assert said(document["metadata"]["properties"], "verdict") == ["undecided"]
    assert said(document["metadata"]["properties"], "reason") != []


def test_an_ignored_finding_has_an_analysis() -> None:
    found = {one["id"]: one for one in bom_of(REPORTS["aside"]())["vulnerabilities"]}

    assert found["CVE-2024-6119"]["analysis"] == {
        "state": "in_triage",
        "detail": "ignored until 2026-12-31, entry 1 (CVE-2024-6119): not reachable: see T-12",
    }
    assert "analysis" not in found["CVE-2025-31115"]
    assert said(found["CVE-2025-31115"]["properties"], "standing") == ["known from the baseline"]


def test_each_platform_is_a_component_with_its_packages() -> None:
    document = bom_of(REPORTS["platforms"]())

    assert [one["bom-ref"] for one in document["components"]] == ["image:linux/amd64", "image:linux/arm64"]
    assert [len(one["components"]) for one in document["components"]] == [4, 5]


@pytest.mark.parametrize(
    ("image", "purl"),
    [
        ("registry.example.com:5000/team/app:1.2", ("app", "registry.example.com:5000/team/app", "1.2")),
        ("docker.io/library/debian@sha256:" + "b" * 64, ("debian", "docker.io/library/debian", None)),
    ],
)
def test_the_image_has_its_address(image: str, purl: tuple[str, str, str | None]) -> None:
    address = PackageURL.from_string(bom_of(with_image(report(()), image))["metadata"]["component"]["purl"])

    assert address.type == "oci"
    assert isinstance(address.qualifiers, dict)
    assert (address.name, address.qualifiers["repository_url"], address.qualifiers.get("tag")) == purl
    assert address.version is not None
    assert address.version.startswith("sha256:")


def package(name: str, version: str, arch: str = "") -> dict[str, Any]:
    return {"name": name, "version": version, "arch": arch}


ADDRESSES = [
    (package("zlib1g", "1:1.2.13", "amd64"), {"did": "debian", "version_id": "12"}, None,
     "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64&distro=debian-12"),
    (package("libc6", "2.35"), {"did": "ubuntu", "version_id": "22.04"}, None, "pkg:deb/ubuntu/libc6@2.35?distro=ubuntu-22.04"),
    (package("musl", "1.2.4-r0", "x86_64"), {"did": "alpine", "version": "3.18"}, None,
     "pkg:apk/alpine/musl@1.2.4-r0?arch=x86_64&distro=alpine-3.18"),
    (package("openssl-libs", "1:3.0.7-6.el9", "x86_64"), {"did": "rhel", "version_id": "9"}, None,
     "pkg:rpm/redhat/openssl-libs@3.0.7-6.el9?arch=x86_64&distro=rhel-9&epoch=1"),
    (package("glibc", "2.31-9"), {"did": "sles", "version_id": "15"}, None, "pkg:rpm/suse/glibc@2.31-9?distro=sles-15"),
    (package("glibc", "2.40-1"), {"did": "fedora", "version_id": "40"}, None, ""),
    (package("Zope_Interface", "5.0"), None, {"name": "pypi"}, "pkg:pypi/zope-interface@5.0"),
    (package("org.apache.logging:log4j-core", "2.14"), None, {"name": "maven"}, "pkg:maven/org.apache.logging/log4j-core@2.14"),
    (package("github.com/a/b", "v1.0"), None, {"name": "go"}, "pkg:golang/github.com/a/b@v1.0"),
    (package("rails", "7.0"), None, {"name": "rubygems"}, "pkg:gem/rails@7.0"),
    (package("left-pad", "1"), None, {"name": "crates"}, ""),
    (package("bash", "5"), {"did": "rhel", "version_id": "9"}, {"name": "cpe:/o:x", "key": "rhel-cpe-repository"},
     "pkg:rpm/redhat/bash@5?distro=rhel-9"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "distribution", "repository", "expected"), ADDRESSES, ids=[row[3] or "none" for row in ADDRESSES]
)
def test_addresses_of_packages(item: Any, distribution: Any, repository: Any, expected: str) -> None:
    address = name_package(item, [distribution] if distribution else [], [repository] if repository else [])

    assert address == expected
    if address:
        assert PackageURL.from_string(address).version == item["version"].removeprefix(
            "1:" if "epoch" in address else ""
        )
