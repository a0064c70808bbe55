"""What the measurements with containers need: whether there is an engine, free ports, and leaving nothing behind."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Sequence

from bench.measure import call

__all__ = ["compose", "docker", "free_ports", "missing_engine", "remove_project"]


def docker(*args: str) -> list[str]:
    """Return a docker command line; DOCKER replaces the program, as in the rendered repository."""
    return [*shlex.split(os.environ.get("DOCKER", "docker")), *args]


def compose(*args: str) -> list[str]:
    """Return a docker compose command line; COMPOSE replaces the program."""
    words = shlex.split(os.environ.get("COMPOSE", ""))
    return [*(words or docker("compose")), *args]


def missing_engine() -> str | None:
    """Return in a few words why there is no Docker engine with Compose here, or None."""
    for command, what in ((docker("info"), "Docker engine"), (compose("version"), "Docker Compose")):
        try:
            result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return f"no {what}"
        if result.returncode != 0:
            return f"no {what}"
    return None


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nothing uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def remove_project(name: str) -> None:
    """Remove the containers, volumes and networks of one Compose project, found by their label."""
    label = f"label=com.docker.compose.project={name}"
    kinds: Sequence[tuple[list[str], list[str]]] = (
        (docker("ps", "--all", "--quiet", "--filter", label), docker("rm", "--force", "--volumes")),
        (docker("volume", "ls", "--quiet", "--filter", label), docker("volume", "rm", "--force")),
        (docker("network", "ls", "--quiet", "--filter", label), docker("network", "rm")),
    )
    for listing, removal in kinds:
        if found := call(listing).split():
            call([*removal, *found])
