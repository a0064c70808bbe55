"""Faults of docs/faults.md on a running deployment: each is told in one line with a hint, and none is ever clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.faults import FAULTS, World
from tests.live.registry import Registry
from tests.live.samples import FAMILIES, add_samples, clair, push_samples, scan, wait_for_feeds
from tests.support.faults import Fault


@pytest.fixture(scope="module")
def world(shared_deployment: DeploymentFactory, registry: Registry, private_registry: Registry) -> World:
    """A deployment with its feeds loaded, and the sample images in two registries."""
    deployment = shared_deployment(updater_families=FAMILIES)
    add_samples(deployment)
    clair(deployment, "up")
    address, private = registry.join(deployment), private_registry.join(deployment)
    push_samples(registry, "sample/debian:12", "sample/arm64-only:1", "sample/empty:1", "sample/ubuntu:22.04")
    push_samples(private_registry, "sample/debian:12")
    wait_for_feeds(deployment)
    return World(deployment, address, private_registry, private)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.case for fault in FAULTS])
def test_a_fault_is_told_in_one_line_and_never_clean(world: World, fault: Fault, tmp_path: Path) -> None:
    fault.arrange(world)
    name = fault.arguments.replace("PRIVATE", world.private_address)
    if name == fault.arguments and not name.startswith("localhost"):
        name = f"{world.registry}/{name}"

    done = scan(world.deployment, name, DOCKER_CONFIG=str(tmp_path))

    told = fault.told(EDGE=world.deployment.edge_url, REGISTRY=world.registry, PRIVATE=world.private_address)
    said = re.sub(r"scan \d+\.\d+\.\d+\.\d+:5000", "scan ADDRESS:5000", done.stderr)
    # Lines before are progress: what is going on, and why it is tried again.
    assert "".join(said.splitlines(keepends=True)[-2:]) == told
    assert done.returncode == fault.code
    assert "clean" not in done.stdout
