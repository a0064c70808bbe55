"""Starts services with `docker compose up` and watches until they are healthy, with progress and a time limit.

Compose's own `--wait` sees no container that restarts for ever and does not say why one is unhealthy; this does both.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence

from ..errors import NO, UNDECIDED, Problem
from ..settings import Deployment
from . import engine
from .explain_failure import explain
from .read_logs import log_reason
from .show_progress import Progress

POLL_SECONDS = 0.3
# Restarts after which a container is given up: its restart policy would go on for ever.
RESTARTS = 3
_FORMAT = '{{.ID}}\t{{.State}}\t{{.Status}}\t{{.Label "com.docker.compose.service"}}\t{{.Names}}'


@dataclass(frozen=True)
class Container:
    """One container of this deployment as `docker ps` shows it."""

    id: str
    state: str
    status: str
    service: str
    name: str

    @property
    def health(self) -> str:
        """`healthy`, `unhealthy` or `starting`; where no health is told, the state (`exited`, `restarting`, ...)."""
        if "(unhealthy)" in self.status:
            return "unhealthy"
        if self.state == "running":
            # A container without a healthcheck counts as healthy once it runs, as with Compose's --wait.
            return "starting" if "health: starting" in self.status else "healthy"
        return self.state


def containers(deployment: Deployment) -> List[Container]:
    """Return the containers of this deployment, also stopped ones, without those of `compose run`."""
    project = f"label=com.docker.compose.project={deployment.name}"
    words = ["ps", "--all", "--no-trunc", "--format", _FORMAT, "--filter", project]
    result = engine.docker([*words, "--filter", "label=com.docker.compose.oneoff=False"], timeout_seconds=60)
    rows = (line.split("\t") for line in result.stdout.splitlines() if line.count("\t") == 4)
    return [Container(*row) for row in rows]


def works(container: Container) -> bool:
    """Return whether a container's own healthcheck passes now; Docker runs it every 10 seconds only."""
    if container.state != "running" or container.health == "healthy":
        return container.state == "running"
    form = "{{json .Config.Healthcheck.Test}}"
    test = json.loads(engine.docker(["inspect", "--format", form, container.id], check=False).stdout.strip() or "null")
    if not test or test[0] not in ("CMD", "CMD-SHELL"):
        return False
    words = test[1:] if test[0] == "CMD" else ["sh", "-c", *test[1:]]
    return engine.docker(["exec", container.id, *words], timeout_seconds=30, check=False).returncode == 0


def start(
    deployment: Deployment,
    services: Sequence[str],
    options: Sequence[str],
    timeout_seconds: float,
    progress: Progress,
    *,
    is_ready: Optional[Callable[[Container], bool]] = None,
    wait_for: Optional[Sequence[str]] = None,
) -> None:
    """Start services, then return when every replica of `wait_for` (default: all of them) is ready, that is healthy.

    `timeout_seconds` counts from the command's start. Raises Problem: a container is unhealthy, exited or restarts again
    and again (1), the time is over (3), or what Compose says (see `explain_failure`).
    """
    if not services:
        # Without names Compose would start everything.
        return
    command = engine.compose_command(deployment, ["up", "--detach", *options, *services])
    process = engine.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=deployment.root)
    output: List[str] = []
    # A full pipe would stop Compose.
    reader = threading.Thread(target=lambda: output.extend(process.stderr or []), daemon=True)
    reader.start()
    names = list(services if wait_for is None else wait_for)
    try:
        code = _watch(deployment, names, process, timeout_seconds, progress, is_ready=is_ready)
        reader.join(timeout=5)
        if code:
            raise explain("compose up", "".join(output))
    finally:
        progress.end()
        if process.poll() is None:
            process.terminate()
            process.wait()
        reader.join(timeout=5)


def wait_healthy(deployment: Deployment, services: Sequence[str], timeout_seconds: float, progress: Progress) -> None:
    """Return when every replica of services that were started is healthy; raises Problem as `start` does."""
    try:
        _watch(deployment, list(services), None, timeout_seconds, progress)
    finally:
        progress.end()


def _watch(
    deployment: Deployment,
    services: List[str],
    process: "Optional[subprocess.Popen[str]]",
    timeout_seconds: float,
    progress: Progress,
    *,
    is_ready: Optional[Callable[[Container], bool]] = None,
) -> int:
    """Return 0 when all are ready, or the exit code with which Compose failed."""
    wanted = {name: int(deployment.facts["services"][name].get("replicas", 1)) for name in services}
    before: Dict[str, int] = {}
    while True:
        # Asked before the containers are: what is seen after Compose's end is what it left.
        code = process.poll() if process else 0
        found = [container for container in containers(deployment) if container.service in wanted]
        for container in found:
            progress.container(container.name, container.health)
        failed = [container for container in found if _has_failed(container, code, before)]
        if failed:
            raise failure(failed)
        if code:
            return code
        ready = [container.service for container in found if (is_ready or _is_healthy)(container)]
        missing = [name for name, count in wanted.items() if ready.count(name) < count]
        if code == 0 and not missing:
            return 0
        if progress.seconds > timeout_seconds:
            raise _timeout(missing or services, found, timeout_seconds)
        progress.waiting(f"waiting for {', '.join(missing)}" if missing else "waiting for docker compose")
        time.sleep(POLL_SECONDS)


def _is_healthy(container: Container) -> bool:
    return container.health == "healthy"


def _has_failed(container: Container, code: Optional[int], before: Dict[str, int]) -> bool:
    """Return whether waiting for a container is in vain."""
    if container.state == "restarting":
        # Counted from the first look: one that failed because the database was away recovers with its next restart.
        restarts = _restarts(container)
        return restarts - before.setdefault(container.id, restarts) >= RESTARTS
    # Before Compose has ended, a stopped container may be one it is about to start or replace.
    return code is not None and (container.health == "unhealthy" or container.state in ("exited", "dead"))


def _restarts(container: Container) -> int:
    text = engine.docker(["inspect", "--format", "{{.RestartCount}}", container.id], check=False).stdout.strip()
    return int(text) if text.isdigit() else 0


def failure(failed: Sequence[Container]) -> Problem:
    """Return the Problem (1) that names each failed container with the reason its log gives."""
    told = [f"{container.name}: {container.health}, {log_reason(container.id)}" for container in failed]
    return Problem(f"start failed, {'; '.join(told)}", f"make logs SERVICE={failed[0].service}", NO)


def _timeout(missing: Sequence[str], found: Sequence[Container], timeout_seconds: float) -> Problem:
    """Return the Problem (3) that names what is not healthy yet; the first container's log says why, as far as it does."""
    late = [container for container in found if container.service in missing and not _is_healthy(container)]
    reason = f"; {late[0].name} is {late[0].health}, {log_reason(late[0].id)}" if late else ""
    return Problem(
        f"start not finished, {', '.join(missing)}: not healthy within {timeout_seconds:g} s{reason}",
        f"make logs SERVICE={late[0].service if late else missing[0]}",
        UNDECIDED,
    )
