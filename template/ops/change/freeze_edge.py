"""Keeps writes away while a change runs: POST, PUT, PATCH and DELETE are answered 503 with Retry-After, reads go on.

Writes `dynamic/maintenance.yaml` into the folder that Traefik mounts, which it watches; so no container restarts, and after a
power loss the edge is still closed to writes until the change went on or back. Both entry points are closed: the operations
entry point passes Clair's whole API. Each writing has a token of its own, which the edge's answer shows as soon as Traefik has
loaded the file, together with everything else in that folder (providers/file: a folder is one configuration).
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import List, Optional

from ..clair.reach_edge import Edge, deployment_edge, operations_edge
from ..errors import UNDECIDED, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import containers
from ..host.write_files import make_folder, write_file
from ..network.open_connection import Deadline, NoAnswer
from ..settings import Deployment

MAINTENANCE = "dynamic/maintenance.yaml"
RETRY_AFTER_SECONDS = 60
MARKER = "X-Clair-Maintenance"
# Traefik gathers changes for two seconds (providersThrottleDuration) before it loads them.
POLL_SECONDS = 0.1
# A file system that tells nobody of a change (a folder shared with a virtual machine): Traefik is restarted once after this.
UNNOTICED_SECONDS = 15.0
# Above the length of every rule, which is Traefik's own priority.
PRIORITY = 1_000_000
_PROBE = "/change-under-way"
# Only shell builtins, which every release's image has.
_IN_FLIGHT = (
    "exec 3<>/dev/tcp/127.0.0.1/8089 && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && "
    'while read -r name value _ <&3; do case "$name" in clair_http_indexerv1_in_flight_requests*) echo "$value";; esac; done'
)


def maintenance(token: str, tls: bool) -> bytes:
    """Return the content of `maintenance.yaml`; `tls` says whether the edge speaks it."""
    router = {
        "rule": " || ".join(f"Method(`{method}`)" for method in ("POST", "PUT", "PATCH", "DELETE")),
        "priority": PRIORITY,
        "service": "maintenance",
        "middlewares": ["maintenance"],
    }
    edge = {**router, "entryPoints": ["edge"], **({"tls": {}} if tls else {})}
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS), MARKER: token}
    http = {
        "routers": {"maintenance-edge": edge, "maintenance-operations": {**router, "entryPoints": ["operations"]}},
        # Without a server Traefik answers 503.
        "services": {"maintenance": {"loadBalancer": {"servers": []}}},
        "middlewares": {"maintenance": {"headers": {"customResponseHeaders": headers}}},
    }
    # JSON is YAML, and needs no writer of it.
    return json.dumps({"http": http}, indent=1).encode()


def is_frozen(deployment: Deployment) -> bool:
    """Return whether the applied edge is closed to writes."""
    return (deployment.applied / "traefik" / MAINTENANCE).is_file()


def freeze(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """Close the edge to writes; return once it is closed and every request that came in before is answered.

    Safe to run again. Without a running Traefik only the file is written: the edge starts closed. Raises Problem (3) if the
    edge does not take it in time, or a request is not answered in time; it is then still closed.
    """
    deadline = Deadline(timeout_seconds)
    announce(deployment, deadline, progress)
    _wait_for_requests(deployment, deadline, progress)
    progress.line(f"edge closed to POST and DELETE (503, Retry-After: {RETRY_AFTER_SECONDS})")


def thaw(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """Open the edge for writes again and return once it is; safe to run again. Raises Problem (3) if it stays closed."""
    for folder in _folders(deployment):
        with suppress(FileNotFoundError):
            (folder / MAINTENANCE).unlink()
    _wait_for_edge(deployment, None, Deadline(timeout_seconds), progress)
    progress.line("edge open")


def announce(deployment: Deployment, deadline: Deadline, progress: Progress) -> None:
    """Write `maintenance.yaml` with a new token and return once the edge shows it, so that all of the folder is loaded.

    Raises Problem (3) if it does not in time.
    """
    token = secrets.token_hex(8)
    content = maintenance(token, deployment.facts["edge"]["tls"] != "off")
    for folder in _folders(deployment):
        make_folder((folder / MAINTENANCE).parent, 0o755)
        write_file(folder / MAINTENANCE, content, 0o444)
    _wait_for_edge(deployment, token, deadline, progress)


def _folders(deployment: Deployment) -> List[Path]:
    """Return the folders that a Traefik of this deployment may have mounted: one that was replaced is used until its restart."""
    return [deployment.applied / "traefik", *sorted((deployment.state / "applied.old").glob("traefik.*"))]


def _traefik(deployment: Deployment) -> str:
    """Return the id of the running edge, or an empty text."""
    running = [one.id for one in containers(deployment) if one.service == "traefik" and one.state == "running"]
    return next(iter(running), "")


def _wait_for_edge(deployment: Deployment, token: Optional[str], deadline: Deadline, progress: Progress) -> None:
    """Return when both entry points show `token`, or nothing of the kind where it is None."""
    if not _traefik(deployment):
        return
    started, restarted = time.monotonic(), False
    entry_points = [operations_edge(deployment), deployment_edge(deployment)]
    while True:
        entry_points = [edge for edge in entry_points if not _shows(edge, token)]
        if not entry_points:
            return
        if deadline.remaining_or_zero() == 0:
            state = "open" if token else "closed"
            raise Problem(
                f"edge not changed, {entry_points[0].url}: still {state} for writes after {deadline.seconds:g} s",
                "./clair logs traefik",
                UNDECIDED,
            )
        if not restarted and time.monotonic() - started > UNNOTICED_SECONDS:
            restarted = True
            progress.line("the edge has not noticed the change of its folder: restarting it")
            engine.docker(["restart", _traefik(deployment)], timeout_seconds=120, check=False)
        progress.waiting("waiting for the edge")
        time.sleep(POLL_SECONDS)


def _shows(edge: Edge, token: Optional[str]) -> bool:
    """Return whether an entry point answers a POST with `token`, or where that is None, as if nothing were closed."""
    try:
        answer = edge.request("POST", _PROBE, Deadline(5), body=b"", signed=False)
    except NoAnswer as error:
        # A certificate that nobody trusts is no reason to leave a change half done; what the other one shows counts.
        return error.kind in ("untrusted", "tls")
    return (answer.header(MARKER) or None) == token


def _wait_for_requests(deployment: Deployment, deadline: Deadline, progress: Progress) -> None:
    """Return when no indexer has a request that came in before; each must have been without one once."""
    busy = [one for one in containers(deployment) if one.service == "indexer" and one.state == "running"]
    while True:
        busy = [one for one in busy if _in_flight(one.id)]
        if not busy:
            return
        if deadline.remaining_or_zero() == 0:
            raise Problem(
                f"edge not closed, {busy[0].name}: requests from before are not answered after {deadline.seconds:g} s",
                "./clair logs indexer",
                UNDECIDED,
            )
        progress.waiting(f"waiting for {busy[0].name} to answer what it has")
        time.sleep(POLL_SECONDS)


def _in_flight(container_id: str) -> int:
    """Return how many requests an indexer has; 0 where it cannot tell, because it is not up."""
    words = ["exec", container_id, "bash", "-c", _IN_FLIGHT]
    result = engine.docker(words, timeout_seconds=30, check=False)
    return sum(int(float(value)) for value in result.stdout.split() if value.replace(".", "", 1).isdigit())
