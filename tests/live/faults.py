"""The faults that are arranged with containers: a group of docs/faults.md. In this order: the last ones stop a service."""

from __future__ import annotations

from dataclasses import dataclass

from tests.live.registry import Registry
from tests.live.samples import request, token, wait_until
from tests.live.support import Deployment
from tests.support.faults import Fault

STOP_SECONDS = 60.0


@dataclass(frozen=True)
class World:
    """A running deployment with feeds, an open registry and a private one, and the address of each."""

    deployment: Deployment
    registry: str
    private: Registry
    private_address: str

    def stop(self, service: str) -> None:
        """Stop a service."""
        self.deployment.engine.docker("stop", "--time", "2", self.deployment.container(service))

    def stop_matcher(self) -> None:
        """Stop the matcher and wait until the edge has noticed: before, it answers 502 or 504."""
        self.stop("matcher")
        path = f"/matcher/api/v1/vulnerability_report/sha256:{'0' * 64}"
        headers = {"Authorization": f"Bearer {token(self.deployment)}"}
        wait_until(
            lambda: request(self.deployment.edge_url, "GET", path, headers)[0] == 503, "503 of the edge", STOP_SECONDS
        )


FAULTS = [
    Fault("with containers: an image of another architecture only", "sample/arm64-only:1", lambda world: None,
          "no image for linux/amd64, REGISTRY/sample/arm64-only:1: there is linux/arm64",
          "./clair scan --platform linux/arm64 REGISTRY/sample/arm64-only:1", 2),
    Fault("with containers: a registry at localhost", "localhost:5000/sample/debian:12", lambda world: None,
          "registry not reachable for Clair, localhost:5000: the indexer fetches the layers itself, and inside its container "
          "that name means the container; what works is the address of this machine in your network, or a name that ends in "
          ".local", "./clair scan ADDRESS:5000/sample/debian:12", 2),
    Fault("with containers: a private registry without login", "PRIVATE/sample/debian:12", lambda world: None,
          "image not accessible, PRIVATE/sample/debian:12: no such image, or it needs a login (HTTP 401)",
          "docker login PRIVATE", 2),
    Fault("with containers: the image has no packages", "sample/empty:1", lambda world: None,
          "scan undecided, REGISTRY/sample/empty:1: Clair found no package in the image, so there was nothing to compare "
          "(--allow-empty accepts that)", "./clair scan --allow-empty REGISTRY/sample/empty:1", 3),
    Fault("with containers: the distribution's feed is not loaded", "sample/ubuntu:22.04", lambda world: None,
          "scan undecided, REGISTRY/sample/ubuntu:22.04: Ubuntu 22.04: the feed ubuntu/updater/jammy never loaded; ubuntu is "
          "not among updater_families", "./clair verify", 3),
    Fault("with containers: the matcher is stopped", "sample/debian:12", lambda world: world.stop_matcher(),
          "matcher not available, EDGE: HTTP 503", "./clair logs matcher", 3),
    Fault("with containers: the database is stopped", "sample/debian:12",
          lambda world: world.stop("clair-database"),
          "feed ledger unreadable, database matcher: the database's container is not running", "./clair database", 3),
    Fault("with containers: the edge is stopped", "sample/debian:12",
          lambda world: (world.deployment.engine.docker("start", world.deployment.container("clair-database")),
                         world.stop("traefik")),
          "indexer unreachable, EDGE: connection refused", "./clair verify", 3),
]  # fmt: skip
