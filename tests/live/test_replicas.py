"""Two containers of every Clair service: each is in the edge's rotation, and losing one loses no reads."""

from __future__ import annotations

import json

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    container_ids,
    findings,
    request,
    sample_repository,
    scan,
    token,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

SERVICES = ("indexer", "matcher", "notifier")
SAMPLE = "sample/debian:12"
PATHS = (
    "/indexer/api/v1/index_state",
    "/matcher/api/v1/vulnerability_report/{digest}",
    "/notifier/api/v1/notification/00000000-0000-0000-0000-000000000000",
)
# More than both replicas get in turn.
ROUNDS = 6


@pytest.fixture(scope="module")
def doubled(shared_deployment: DeploymentFactory) -> Deployment:
    """A running deployment with two containers of each Clair service, and its feeds."""
    deployment = shared_deployment(
        updater_families=FAMILIES, indexer_replicas=2, matcher_replicas=2, notifier_replicas=2
    )
    add_samples(deployment)
    clair(deployment, "up")
    wait_for_feeds(deployment)
    return deployment


def test_containers_are_numbered(doubled: Deployment) -> None:
    names = {name.removeprefix(f"{doubled.name}-") for name in container_ids(doubled)} - {"demo"}

    assert names == {"database", "receiver", "traefik", *(f"{one}-{number}" for one in SERVICES for number in (1, 2))}


def test_up_again_and_verify_know_of_every_replica(doubled: Deployment) -> None:
    before = container_ids(doubled)

    clair(doubled, "up")
    document = json.loads(clair(doubled, "verify", "--json").stdout)

    assert container_ids(doubled) == before
    ready = {check["name"] for check in document["checks"] if check["result"] == "ok"}
    for service in SERVICES:
        assert all(any(f"{service}-{number}" in name for name in ready) for number in (1, 2)), service


def test_scan_finds_what_one_container_finds(doubled: Deployment) -> None:
    done = scan(doubled, f"{sample_repository(doubled)}/{SAMPLE}", "--format", "json")

    assert done.returncode == 1
    assert len(findings(json.loads(done.stdout))) == 11


def answers(deployment: Deployment, digest: str) -> set[int]:
    """Return the statuses of some requests to each service."""
    headers = {"Authorization": f"Bearer {token(deployment)}"}
    paths = [path.format(digest=digest) for path in PATHS] * ROUNDS
    return {request(deployment.edge_url, "GET", path, headers)[0] for path in paths}


def test_either_replica_of_every_service_answers_alone(doubled: Deployment) -> None:
    """With number 1 stopped all reads are number 2's, and the reverse: so both are in the rotation."""
    reference = f"{sample_repository(doubled)}/{SAMPLE}"
    digest = json.loads(scan(doubled, reference, "--format", "json").stdout)["digest"]
    assert answers(doubled, digest) == {200}

    for stopped in (1, 2):
        containers = [doubled.container(service, stopped) for service in SERVICES]
        doubled.engine.docker("stop", "--time", "15", *containers)
        # The edge takes it out at its next health check; until then scan tries again.
        assert scan(doubled, reference, "--timeout", "60").returncode == 1
        wait_until(lambda: answers(doubled, digest) == {200}, f"reads without number {stopped}", 30)
        shown = clair(doubled, "ps", check=False)
        assert shown.returncode == 1
        assert "not healthy: indexer, matcher, notifier" in shown.stderr
        doubled.engine.docker("start", *containers)
        wait_until(lambda: clair(doubled, "ps", check=False).returncode == 0, "all healthy", 60)


def test_restart_of_one_container_is_not_seen_by_scans(doubled: Deployment) -> None:
    reference = f"{sample_repository(doubled)}/{SAMPLE}"

    doubled.engine.docker("restart", "--time", "15", doubled.container("indexer", 1))

    assert scan(doubled, reference, "--timeout", "60").returncode == 1
