"""The main job on real input: images built from real package databases, pushed to a registry, scanned through the edge.

The tests run in the order in which they stand here; the last ones stop a service each and bring it back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from demo import sample_feed, sample_image
from tests.live.conftest import DeploymentFactory
from tests.live.registry import Registry
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    container_ids,
    expected_findings,
    findings,
    push_samples,
    scan,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

DEBIAN, ALPINE, CLEAN = "sample/debian:12", "sample/alpine:3.18", "sample/alpine:3.18-updated"
MULTI, ARM64 = "sample/multi:1", "sample/arm64-only:1"


@dataclass(frozen=True)
class Scanned:
    """A running deployment, the address of a registry that it reaches, and what was pushed there."""

    deployment: Deployment
    registry: str
    digests: dict[str, str]

    def image(self, reference: str) -> str:
        """Return the full name of a sample image."""
        return f"{self.registry}/{reference}"


@pytest.fixture(scope="module")
def scanned(shared_deployment: DeploymentFactory, registry: Registry) -> Scanned:
    """A deployment with its feeds loaded, and the sample images in a registry."""
    deployment = shared_deployment(updater_families=FAMILIES)
    add_samples(deployment)
    clair(deployment, "up")
    address = registry.join(deployment)
    digests = push_samples(registry, DEBIAN, ALPINE, CLEAN, MULTI, ARM64)
    wait_for_feeds(deployment)
    return Scanned(deployment, address, digests)


@pytest.mark.parametrize("reference", [DEBIAN, ALPINE])
def test_findings_are_exactly_the_expected_ones(scanned: Scanned, reference: str) -> None:
    release = scanned.deployment.facts["clair_release"]

    done = scan(scanned.deployment, scanned.image(reference), "--format", "json")

    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert findings(document) == expected_findings(document, reference, release)
    assert document["image"] == scanned.image(reference)
    assert document["digest"] == scanned.digests[reference]
    assert document["platform"] == "linux/amd64"
    assert document["report"]["manifest_hash"] == scanned.digests[reference]


def test_table_names_image_digest_and_every_finding(scanned: Scanned) -> None:
    release = scanned.deployment.facts["clair_release"]

    done = scan(scanned.deployment, scanned.image(DEBIAN))

    rows = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert ("digest", scanned.digests[DEBIAN]) in rows
    assert ("platform", "linux/amd64") in rows
    for finding in sample_feed.expected_findings(DEBIAN, release=release):
        assert any((row[0], row[1], *row[3:]) == (finding.severity, finding.package, finding.fixed or "-", finding.id)
                   for row in rows if len(row) == 5), finding  # fmt: skip
    assert any(row[:2] == ("VERDICT", "findings:") for row in rows)


def test_clean_image_is_clean(scanned: Scanned) -> None:
    done = scan(scanned.deployment, scanned.image(CLEAN), "--format", "json")

    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document["findings"] == []
    assert document["verdict"] == "clean"


def test_feed_that_the_matchers_view_leaves_out_makes_no_verdict(scanned: Scanned) -> None:
    """As after an update that ended, or met another, before Clair had brought its view of the newest updates up to date."""
    name = scanned.deployment.psql("matcher", "SELECT updater FROM update_operation WHERE updater LIKE '%v3.18%'")[0][0]
    newer = f"INSERT INTO update_operation (updater, fingerprint, kind) VALUES ('{name}', 'newer', 'vulnerability')"
    in_use = (
        "SELECT count(*) FROM latest_update_operations JOIN update_operation USING (id) WHERE fingerprint = 'newer'"
    )
    scanned.deployment.psql("matcher", newer)
    try:
        done = scan(scanned.deployment, scanned.image(CLEAN))
        clair(scanned.deployment, "database")
        mended = scanned.deployment.psql("matcher", in_use)
    finally:
        scanned.deployment.psql("matcher", "DELETE FROM update_operation WHERE fingerprint = 'newer'")
        clair(scanned.deployment, "database")

    assert mended == [["1"]]

    assert done.returncode == 3
    assert f"the feed {name} is stored and not in use, Clair's view of the newest updates leaves it out" in done.stderr
    assert scan(scanned.deployment, scanned.image(CLEAN)).returncode == 0


def test_image_without_packages_is_undecided(scanned: Scanned) -> None:
    empty = sample_image.empty_image()
    registry = f"http://{scanned.registry}"
    sample_image.push(empty, registry, "sample/empty", "1")

    done = scan(scanned.deployment, scanned.image("sample/empty:1"))

    assert done.returncode == 3
    assert "no package" in done.stderr


def test_make_scan_ends_with_makes_own_code(scanned: Scanned) -> None:
    done = scanned.deployment.make("scan", f"IMAGE={scanned.image(MULTI)}", "PLATFORM=linux/arm64", check=False)

    assert done.returncode == 2
    assert "CVE-2023-6246" in done.stdout


@pytest.mark.parametrize("platform", ["amd64", "arm64"])
def test_the_platform_decides_what_is_scanned(scanned: Scanned, platform: str) -> None:
    release = scanned.deployment.facts["clair_release"]
    index = sample_image.multi_architecture_index()

    done = scan(scanned.deployment, scanned.image(MULTI), "--platform", f"linux/{platform}", "--format", "json")

    document = json.loads(done.stdout)
    assert document["digest"] == index.platforms[f"linux/{platform}"]
    assert findings(document) == expected_findings(document, MULTI, release, platform)


def test_missing_image_is_wrong_use(scanned: Scanned) -> None:
    done = scan(scanned.deployment, scanned.image("sample/debian:13"))

    assert done.returncode == 2
    assert f"image not found, {scanned.image('sample/debian:13')}" in done.stderr
    assert done.stdout == ""


def test_missing_platform_names_those_there_are(scanned: Scanned) -> None:
    done = scan(scanned.deployment, scanned.image(ARM64), "--platform", "linux/s390x")

    assert done.returncode == 2
    assert f"no image for linux/s390x, {scanned.image(ARM64)}: there is linux/arm64" in done.stderr


def test_private_registry_needs_a_login_and_then_works(scanned: Scanned, private_registry: Registry) -> None:
    address = private_registry.join(scanned.deployment)
    push_samples(private_registry, DEBIAN)
    empty = private_registry.folder / "no-docker-config"
    empty.mkdir(exist_ok=True)

    refused = scan(scanned.deployment, f"{address}/{DEBIAN}", DOCKER_CONFIG=str(empty))
    known = private_registry.docker_config(address)
    done = scan(scanned.deployment, f"{address}/{DEBIAN}", "--format", "json", DOCKER_CONFIG=str(known))

    assert refused.returncode == 2
    assert f"docker login {address}" in refused.stderr
    assert done.returncode == 1
    assert len(findings(json.loads(done.stdout))) == 11


def test_stopped_matcher_is_undecided_and_nothing_is_lost(scanned: Scanned) -> None:
    deployment = scanned.deployment
    deployment.engine.docker("stop", "--time", "5", deployment.container("matcher"))

    done = scan(deployment, scanned.image(DEBIAN), "--timeout", "20")
    told = clair(deployment, "verify", check=False)
    clair(deployment, "up")

    assert done.returncode == 3
    assert "VERDICT clean" not in done.stdout
    assert told.returncode == 1
    assert "matcher" in told.stderr
    assert scan(deployment, scanned.image(DEBIAN)).returncode == 1


def test_stopped_database_is_undecided_and_nothing_is_lost(scanned: Scanned) -> None:
    """The indexer answers "not found" for a known image then, and its health does not tell (Clair 4.5 to 4.9)."""
    deployment = scanned.deployment
    before = container_ids(deployment)
    deployment.engine.docker("stop", "--time", "30", deployment.container("clair-database"))

    done = scan(deployment, scanned.image(CLEAN), "--timeout", "20")
    restarted = clair(deployment, "up")

    assert done.returncode == 3, done.stdout
    assert "VERDICT clean" not in done.stdout
    assert "healthy: clair-database" in restarted.stderr
    assert container_ids(deployment) == before
    again = wait_until(
        lambda: (found := scan(deployment, scanned.image(DEBIAN), "--format", "json")).returncode == 1 and found,
        "the same verdict as before",
        60,
    )
    assert len(findings(json.loads(again.stdout))) == 11
