"""Two containers of a service: they are replaced while a third answers, also after a kill in the middle of it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import FAMILIES, add_samples, clair, container_ids
from tests.live.support import Deployment, Images
from tests.live.upgrades import NEW, OLD, STATE, killed_at, render_release, status

# The third container answers alone from about here on.
MIDDLE_SECONDS = 6.0
PROBE_SECONDS = 0.05


@pytest.fixture
def doubled(deployment: DeploymentFactory, whole_template: Path, images: Images) -> Deployment:
    """A deployment of the old release with two indexers; the new release is rendered."""
    running = deployment(updater_families=FAMILIES, clair_version=OLD, indexer_replicas=2)
    add_samples(running)
    clair(running, "up")
    render_release(running, whole_template, NEW)
    images.ensure(*running.facts["images"].values())
    return running


def indexers(deployment: Deployment) -> set[str]:
    """Return the names of the indexer's containers, without the deployment's."""
    names = {name.removeprefix(f"{deployment.name}-") for name in container_ids(deployment)}
    return {name for name in names if name.startswith("indexer")}


def test_no_read_of_the_indexer_fails_while_it_is_replaced_and_killed_in_the_middle(doubled: Deployment) -> None:
    answers: list[int] = []
    ended = threading.Event()

    def probe() -> None:
        while not ended.is_set():
            answers.append(status(doubled, "GET", STATE)[0])
            time.sleep(PROBE_SECONDS)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        killed_at(doubled, "upgrade", "roll-indexer", MIDDLE_SECONDS)
        clair(doubled, "upgrade", "--yes")
    finally:
        ended.set()
        thread.join()

    assert set(answers) == {200}
    assert indexers(doubled) == {"indexer-1", "indexer-2"}
    servers = (doubled.root / "state" / "applied" / "traefik" / "dynamic" / "services.yaml").read_text(encoding="utf-8")
    assert servers == (doubled.root / "traefik" / "dynamic" / "services.yaml").read_text(encoding="utf-8")

    killed_at(doubled, "rollback", "start", 1.0)
    clair(doubled, "rollback", "--yes")

    assert indexers(doubled) == {"indexer-1", "indexer-2"}
