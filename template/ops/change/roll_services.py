"""Replaces the containers of one service by what is applied now, and returns when the new ones work.

One replica: a restart. Several: one more container of the new release starts first and answers alone while the others are
replaced, so no read fails; the edge's list of servers is rewritten for that time, in the folder that Traefik watches. The edge
must be closed to writes (freeze_edge), whose file tells when Traefik has loaded a list.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, Callable, Dict, List, Sequence

from ..errors import UNDECIDED, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import POLL_SECONDS, containers, failure, start, works
from ..host.write_files import write_file
from ..host.yaml_reader import read_yaml
from ..network.open_connection import Deadline
from ..settings import Deployment
from .freeze_edge import announce

SERVERS = "dynamic/services.yaml"
# Requests that Traefik had given to a server before it took it off its list; reads take milliseconds.
SETTLE_SECONDS = 1.0
STOP_SECONDS = 30
# A Compose whose `upgrade` was killed goes on by itself and ends within seconds.
COMPOSE_SECONDS = 20.0
# How Compose calls a container that is to take another's place, until that one is gone (compose pkg/compose/convergence.go).
_REPLACING = re.compile(r"[0-9a-f]{12}_.+")


def roll(
    deployment: Deployment, service: str, timeout_seconds: float, progress: Progress, gapless: bool = False
) -> float:
    """Replace the containers of a service and return the seconds until all new ones work.

    `gapless`: it has as many replicas as before, more than one. Safe to run again after it was cut short. Raises Problem as
    `watch_start.start` does.
    """
    began = time.monotonic()
    if gapless:
        _roll_replicas(deployment, service, timeout_seconds, progress)
    else:
        start_service(deployment, service, timeout_seconds, progress)
        _mend_numbers(deployment, service, timeout_seconds, progress)
    return time.monotonic() - began


def start_service(
    deployment: Deployment, service: str, timeout_seconds: float, progress: Progress, options: Sequence[str] = ()
) -> None:
    """Bring the containers of one service to what is applied and wait until they work, without waiting for Docker to say so."""
    limit = progress.seconds + timeout_seconds
    start(deployment, [service], ["--no-deps", *options], limit, progress, is_ready=works)


def extra_names(deployment: Deployment, service: str) -> List[str]:
    """Return the containers of a service that its number of replicas does not ask for: left of a roll that was cut short."""
    wanted = _names(deployment, service)
    found = [one.name for one in containers(deployment) if one.service == service]
    return sorted(name for name in found if name not in wanted)


def remove_extras(deployment: Deployment, service: str) -> None:
    """Stop and remove what `extra_names` names."""
    for name in extra_names(deployment, service):
        engine.docker(["stop", "--time", str(STOP_SECONDS), name], timeout_seconds=STOP_SECONDS + 60, check=False)
        engine.docker(["rm", "--force", "--volumes", name], timeout_seconds=60, check=False)


def with_servers(services: bytes, service: str, urls: Sequence[str]) -> bytes:
    """Return Traefik's `services.yaml` with other servers for one service, as JSON, which is YAML.

    Raises Problem (2) if an operator wrote it in YAML that is not read here.
    """
    document: Dict[str, Any] = read_yaml(services.decode(), f"traefik/{SERVERS}")
    document["http"]["services"][service]["loadBalancer"]["servers"] = [{"url": url} for url in urls]
    return json.dumps(document, indent=1).encode()


def _names(deployment: Deployment, service: str) -> List[str]:
    count = int(deployment.facts["services"][service].get("replicas", 1))
    if count == 1:
        return [f"{deployment.name}-{service.replace('clair-', '', 1)}"]
    return [f"{deployment.name}-{service}-{number}" for number in range(1, count + 1)]


def _roll_replicas(deployment: Deployment, service: str, timeout_seconds: float, progress: Progress) -> None:
    count = int(deployment.facts["services"][service]["replicas"])
    scale = f"{service}={count + 1}"
    path = deployment.applied / "traefik" / SERVERS
    # While it holds another list, this is what it held; a roll that was cut short left the copy beside it.
    original = _original(deployment)
    extra = f"{deployment.name}-{service}-{count + 1}"
    end_replacing(deployment, service, progress)
    limit = progress.seconds + timeout_seconds
    options = ["--no-deps", "--no-recreate", "--scale", scale]
    start(deployment, [service], options, limit, progress, wait_for=[])
    _wait_for(deployment, extra, limit, progress)
    write_file(path, with_servers(original, service, [f"http://{extra}:6060"]), 0o444)
    announce(deployment, Deadline(timeout_seconds), progress)
    time.sleep(SETTLE_SECONDS)
    start_service(deployment, service, timeout_seconds, progress, ["--scale", scale])
    for name in _names(deployment, service):
        _wait_for(deployment, name, limit, progress)
    write_file(path, original, 0o444)
    announce(deployment, Deadline(timeout_seconds), progress)
    time.sleep(SETTLE_SECONDS)
    remove_extras(deployment, service)
    _forget_original(deployment)
    _mend_numbers(deployment, service, timeout_seconds, progress)


def end_replacing(deployment: Deployment, service: str, progress: Progress) -> None:
    """Let a replacement that was cut short come to its end, or remove it: it would count as one of the replicas, without its name."""
    limit = progress.seconds + COMPOSE_SECONDS
    while True:
        found = [one for one in containers(deployment) if one.service == service and _REPLACING.fullmatch(one.name)]
        if not found or progress.seconds > limit:
            break
        progress.waiting(f"waiting for {found[0].name}")
        time.sleep(POLL_SECONDS)
    for one in found:
        engine.docker(["rm", "--force", "--volumes", one.id], timeout_seconds=60, check=False)


def restore_servers(deployment: Deployment) -> None:
    """Put back the list of servers that a roll has replaced, if one was cut short."""
    copy = _copy(deployment)
    if copy.is_file():
        write_file(deployment.applied / "traefik" / SERVERS, copy.read_bytes(), 0o444)
        _forget_original(deployment)


def _copy(deployment: Deployment) -> Any:
    return deployment.state / "servers.yaml"


def _original(deployment: Deployment) -> bytes:
    copy = _copy(deployment)
    if not copy.is_file():
        write_file(copy, (deployment.applied / "traefik" / SERVERS).read_bytes(), 0o600)
    content: bytes = copy.read_bytes()
    return content


def _forget_original(deployment: Deployment) -> None:
    copy = _copy(deployment)
    if copy.is_file():
        copy.unlink()


def _mend_numbers(deployment: Deployment, service: str, timeout_seconds: float, progress: Progress) -> None:
    """Make all containers of a service anew if one has a number that the edge's list does not have."""
    if not extra_names(deployment, service):
        return
    progress.line(f"{service}: a container has another number than the edge expects; all are made anew")
    found = [one.id for one in containers(deployment) if one.service == service]
    engine.docker(["rm", "--force", *found], timeout_seconds=120)
    start_service(deployment, service, timeout_seconds, progress)


def _wait_for(deployment: Deployment, name: str, limit_seconds: float, progress: Progress) -> None:
    """Return when the container of this name works. Raises Problem: it ended (1), or does not work in time (3)."""
    _wait_until(lambda: _named_works(deployment, name), name, limit_seconds, progress)


def _named_works(deployment: Deployment, name: str) -> bool:
    found = [one for one in containers(deployment) if one.name == name]
    if found and found[0].state in ("exited", "dead", "restarting"):
        raise failure(found)
    return bool(found) and works(found[0])


def _wait_until(condition: Callable[[], bool], name: str, limit_seconds: float, progress: Progress) -> None:
    while not condition():
        if progress.seconds > limit_seconds:
            raise Problem(f"start not finished, {name}: it does not work in time", "./clair logs", UNDECIDED)
        progress.waiting(f"waiting for {name}")
        time.sleep(POLL_SECONDS)
