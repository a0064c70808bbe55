"""Closing the edge: the file that Traefik reads, where it lies, and that it is no change of what is applied."""

from __future__ import annotations

import json

import pytest
from ops.change.freeze_edge import MAINTENANCE, MARKER, freeze, is_frozen, maintenance, thaw
from ops.change.roll_services import with_servers
from ops.errors import Problem
from ops.host.show_progress import Progress
from ops.state.apply_state import applied_tree, apply_state
from ops.state.create_secrets import create_missing
from ops.state.show_diff import differences

from tests.ops.lifecycle.conftest import Clair, clair, clair_of  # noqa: F401 - fixtures


@pytest.fixture
def applied(clair: Clair, monkeypatch: pytest.MonkeyPatch) -> Clair:  # noqa: F811
    """A project with an applied state, and the fake docker for what runs in this process."""
    monkeypatch.setenv("DOCKER", str(clair.docker.path))
    create_missing(clair.deployment)
    apply_state(clair.deployment)
    clair.docker.containers()
    return clair


@pytest.mark.parametrize("tls", [False, True])
def test_every_method_that_writes_is_closed_on_both_entry_points(tls: bool) -> None:
    http = json.loads(maintenance("token", tls))["http"]

    routers = http["routers"]
    assert [router["entryPoints"] for router in routers.values()] == [["edge"], ["operations"]]
    for router in routers.values():
        assert router["rule"] == "Method(`POST`) || Method(`PUT`) || Method(`PATCH`) || Method(`DELETE`)"
        assert http["services"][router["service"]]["loadBalancer"]["servers"] == []
    assert ("tls" in routers["maintenance-edge"], "tls" in routers["maintenance-operations"]) == (tls, False)
    headers = http["middlewares"]["maintenance"]["headers"]["customResponseHeaders"]
    assert headers == {"Retry-After": "60", MARKER: "token"}


def test_a_closed_edge_is_no_difference_and_stays_closed_in_a_new_folder(applied: Clair) -> None:
    deployment = applied.deployment
    freeze(deployment, 5, Progress())

    assert is_frozen(deployment)
    assert MAINTENANCE not in applied_tree(deployment, "traefik")
    assert differences(deployment) == []
    assert apply_state(deployment) == []

    applied.write("traefik/dynamic/edge.yaml", "http: {}\n")
    assert "traefik" in apply_state(deployment)
    assert is_frozen(deployment)
    # The running container mounts the old folder until it is replaced.
    old = list(deployment.state.glob(f"applied.old/traefik.*/{MAINTENANCE}"))
    assert len(old) == 1
    thaw(deployment, 5, Progress())
    assert not is_frozen(deployment)
    assert not old[0].exists()


def test_a_list_of_servers_is_changed_for_one_service_only(clair: Clair) -> None:  # noqa: F811
    text = (clair.folder / "traefik" / "dynamic" / "services.yaml").read_bytes()

    services = json.loads(with_servers(text, "matcher", ["http://clair-matcher-3:6060"]))["http"]["services"]

    assert services["matcher"]["loadBalancer"]["servers"] == [{"url": "http://clair-matcher-3:6060"}]
    assert services["matcher"]["loadBalancer"]["healthCheck"]["port"] == 8089
    assert services["indexer"]["loadBalancer"]["servers"] == [{"url": "http://indexer:6060"}]


def test_closing_waits_for_requests_that_came_in_before(applied: Clair) -> None:
    applied.docker.containers(("indexer", "running", "Up 9 seconds (healthy)"))
    applied.docker.on(r"^exec id-indexer bash -c", "1\n")

    with pytest.raises(Problem) as caught:
        freeze(applied.deployment, 0.5, Progress())

    assert caught.value.code == 3
    assert caught.value.sentence == "edge not closed, clair-indexer: requests from before are not answered after 0.5 s"
    assert is_frozen(applied.deployment)
    applied.docker.on(r"^exec id-indexer bash -c", "0\n")
    freeze(applied.deployment, 5, Progress())
