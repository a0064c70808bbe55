"""`--all-platforms`: every image of an index, the differences between them, the worst of their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops.scan import scan_platforms

from .conftest import FakeLedger, Run
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Registry, Reply

Change = Callable[[dict[str, Any]], Any]
Everywhere = Callable[..., Any]


def no_findings(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}


@pytest.fixture
def digests(registry: Registry) -> dict[str, str]:
    """The image app:1 for two platforms, with an attestation beside them."""
    images = {f"linux/{name}": registry.push("app", name, name) for name in ("amd64", "arm64")}
    registry.push_index("app", "1", {**images, "unknown/unknown": registry.push("app", "attestation", "amd64")})
    return images


@pytest.fixture
def scan_all(scan: Run, digests: dict[str, str], ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Scan all platforms of app:1 with further arguments."""
    monkeypatch.setattr(scan_platforms, "LedgerSession", lambda deployment, deadline: ledger)

    def call(*arguments: str, image: str = "app:1") -> Any:
        return scan("--all-platforms", *arguments, image=image)

    return call


@pytest.fixture
def patched(clair: Clair, digests: dict[str, str]) -> Callable[..., None]:
    """Let the images of these platforms be without findings."""

    def patch(*platforms: str) -> None:
        clean = {digests[platform] for platform in platforms}
        clair.change_report = lambda report: no_findings(report) if report["manifest_hash"] in clean else report

    return patch


def test_each_platform_is_scanned_by_its_own_digest(scan_all: Run, clair: Clair, digests: dict[str, str]) -> None:
    outcome = scan_all()

    assert [manifest["hash"] for manifest in clair.manifests] == list(digests.values())
    assert [line for line in outcome.out.splitlines() if line.startswith("digest")] == [
        f"digest    {digest}" for digest in digests.values()
    ]


def test_the_differences_are_shown(scan_all: Run, patched: Callable[..., None]) -> None:
    patched("linux/amd64")

    outcome = scan_all()

    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert lines[-1] == "ALL PLATFORMS findings: linux/amd64 clean, linux/arm64 findings"
    assert "Critical  libssl3  CVE-2026-11111  -            3.0.11-1~deb12u2" in lines


def test_platforms_that_are_alike_have_no_difference(scan_all: Run) -> None:
    assert "no finding is on some platforms only\n" in scan_all().out


def test_all_platforms_clean_is_clean(scan_all: Run, patched: Callable[..., None]) -> None:
    patched("linux/amd64", "linux/arm64")

    outcome = scan_all()

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("ALL PLATFORMS clean: linux/amd64 clean, linux/arm64 clean\n")


def test_one_undecided_platform_makes_all_undecided_and_the_others_are_shown(
    *, scan_all: Run, clair: Clair, registry: Registry, digests: dict[str, str], no_waiting: None
) -> None:
    clair.fail("GET", VULNERABILITY_REPORT + digests["linux/amd64"], Reply(502))

    outcome = scan_all()

    edge = f"http://127.0.0.1:{clair.port}"
    assert outcome.code == 3
    assert outcome.err == (
        f"scan undecided, {registry.name}/app:1 for linux/amd64: matcher not available, {edge}: HTTP 502\n"
        "HINT: ./clair verify\n"
    )
    assert outcome.out.endswith("ALL PLATFORMS undecided: linux/amd64 undecided, linux/arm64 findings\n")
    assert "Critical  libssl3  CVE-2026-11111  ?            3.0.11-1~deb12u2" not in outcome.out
    assert "CVE-2026-11111" in outcome.out


def test_a_platform_that_is_missing_in_the_registry_is_undecided(
    scan_all: Run, registry: Registry, digests: dict[str, str]
) -> None:
    del registry.manifests["app", digests["linux/arm64"]]

    outcome = scan_all()

    assert outcome.code == 3
    assert f"scan undecided, {registry.name}/app:1 for linux/arm64: " in outcome.err


def test_a_tag_that_moves_meanwhile_changes_nothing(
    scan_all: Run, clair: Clair, registry: Registry, digests: dict[str, str]
) -> None:
    def move(report: dict[str, Any]) -> dict[str, Any]:
        registry.push_index("app", "1", {"linux/s390x": registry.push("app", "s390x", "s390x")})
        return report

    clair.change_index = move

    scan_all()

    assert [manifest["hash"] for manifest in clair.manifests] == list(digests.values())


def test_two_images_of_one_platform_are_both_scanned_and_told_apart(scan_all: Run, registry: Registry) -> None:
    first, second = (registry.push("app", name, "amd64", layers=(name.encode(),)) for name in ("a", "b"))
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
         "platform": {"os": "windows", "architecture": "amd64"}} for digest in (first, second)
    ]}  # fmt: skip
    registry.put("app", "twice", index)

    outcome = scan_all(image="app:twice")

    assert outcome.out.splitlines()[-1] == (
        f"ALL PLATFORMS findings: windows/amd64 ({first[7:19]}) findings, windows/amd64 ({second[7:19]}) findings"
    )


def test_a_single_image_is_its_only_platform(scan_all: Run, registry: Registry) -> None:
    registry.push("app", "arm-only", "arm64")

    outcome = scan_all(image="app:arm-only")

    assert outcome.out.endswith("ALL PLATFORMS findings: linux/arm64 findings\n")


def test_json_holds_each_platform_and_what_differs(
    scan_all: Run, patched: Callable[..., None], digests: dict[str, str]
) -> None:
    patched("linux/amd64")

    document = scan_all("--format", "json").json

    assert (document["verdict"], document["exit_code"]) == ("findings", 1)
    assert {one["platform"]: (one["verdict"], one["digest"]) for one in document["platforms"]} == {
        "linux/amd64": ("clean", digests["linux/amd64"]),
        "linux/arm64": ("findings", digests["linux/arm64"]),
    }
    assert document["differences"][0] == {
        "id": "CVE-2026-11111",
        "package": "libssl3",
        "severity": "Critical",
        "present": {"linux/amd64": False, "linux/arm64": True},
    }


def test_a_result_of_all_platforms_is_a_baseline_for_one_and_for_all(scan_all: Run, scan: Run, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    scan_all("--format", "json", "--output", str(path))

    assert scan("--platform", "linux/arm64", "--baseline", str(path), image="app:1").code == 0
    assert scan_all("--baseline", str(path)).code == 0


def test_what_a_platform_had_is_not_known_on_another(
    scan_all: Run, scan: Run, patched: Callable[..., None], tmp_path: Path
) -> None:
    patched("linux/arm64")
    path = tmp_path / "all.json"
    scan_all("--format", "json", "--output", str(path))
    patched()

    assert scan("--platform", "linux/arm64", "--baseline", str(path), image="app:1").code == 1


def test_one_platform_and_all_exclude_each_other(scan: Run) -> None:
    outcome = scan("--all-platforms", "--platform", "linux/arm64")

    assert outcome.code == 2
    assert outcome.err.startswith("wrong use, clair scan: --all-platforms and --platform exclude each other\n")


def test_the_environment_may_ask_for_all(scan_all: Run, scan: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PLATFORMS", "1")

    assert "ALL PLATFORMS findings" in scan(image="app:1").out


@pytest.mark.parametrize("name", ["json", "sarif", "junit", "markdown", "cyclonedx", "html"])
def test_a_failure_before_the_first_platform_is_undecided_in_every_format(
    *, scan_all: Run, ledger: FakeLedger, tmp_path: Path, name: str
) -> None:
    from ops.errors import Problem

    ledger.problem = Problem("feed ledger unreadable, database matcher: down", "./clair database", 3)
    path = tmp_path / "report"
    path.write_text("clean")

    outcome = scan_all("--format", name, "--output", str(path))

    assert outcome.code == 3
    assert "feed ledger unreadable" in path.read_text()
    if name == "json":
        assert json.loads(path.read_text())["verdict"] == "undecided"


def test_the_indexer_is_asked_once_for_each_platform(scan_all: Run, clair: Clair) -> None:
    scan_all()

    posts = [request.path for request in clair.requests if request.method == "POST"]
    assert posts == [INDEX_REPORT, INDEX_REPORT]
