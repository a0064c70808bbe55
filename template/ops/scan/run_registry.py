"""A registry that lives for one `scan-local`: started, filled, and removed with all that it left anywhere.

Each has a name and a port of 127.0.0.1 of its own, so that several commands can run at once. This machine's Docker
pushes to `127.0.0.1:port`, the only kind of address it needs no TLS for; the indexer reads the same layers by the
container's name, which ends in `.registry`, a domain that is exempt from the deployment's proxy.

Writes `state/scan-local/ID` before anything is made, held by flock while the command lives; in it stands the manifest
to take out of the indexer. What a killed command left is removed by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import Optional

from ..clair.index_manifest import PATH, error_message
from ..clair.reach_edge import operations_edge
from ..errors import UNDECIDED, Problem
from ..host import engine
from ..host.explain_failure import image_problem
from ..host.write_files import make_folder
from ..network.open_connection import Deadline, NoAnswer
from ..settings import Deployment

SERVICE = "registry"
REPOSITORY = "scan-local"
PORT = 5000
POLL_SECONDS = 0.1
CALL_SECONDS = 120.0


class LocalRegistry:
    """One running registry; `close` removes it and what was made with it."""

    def __init__(self, deployment: Deployment) -> None:
        """Reserve a name for a registry. Raises Problem (2) if `state/` cannot be written."""
        self._deployment = deployment
        self._id, self._descriptor = _reserve(_folder(deployment))
        self.container = container_name(deployment, self._id)
        self.host = ""

    @property
    def tag(self) -> str:
        """The name under which this machine's Docker pushes an image to this registry."""
        return f"{self.host}/{REPOSITORY}:{self._id}"

    def layer_url(self, digest: str) -> str:
        """Return the address by which the indexer fetches a layer."""
        return f"http://{self.container}:{PORT}/v2/{REPOSITORY}/blobs/{digest}"

    def start(self, deadline: Deadline) -> None:
        """Start the registry and wait until it answers. Raises Problem (3) if it does not, or its image is not there."""
        image = str(self._deployment.facts["images"].get(SERVICE, ""))
        if not image:
            raise _not_started(image, f"no such service: {SERVICE}")
        call = ["run", "--detach", "--no-deps", "--publish", f"127.0.0.1::{PORT}", "--name", self.container, SERVICE]
        started = engine.compose(self._deployment, call, timeout_seconds=_left(deadline), check=False)
        if started.returncode != 0:
            raise _not_started(image, started.stderr)
        listed = engine.docker(["port", self.container, f"{PORT}/tcp"], timeout_seconds=CALL_SECONDS)
        self.host = listed.stdout.split()[0] if listed.stdout.split() else ""
        while not _answers(self.host):
            if deadline.remaining_or_zero() == 0 or not self.host:
                said = engine.docker(["logs", "--tail", "1", self.container], check=False)
                reason = (said.stderr or said.stdout).strip() or "no answer"
                raise Problem(f"registry not started, {self.container}: {reason}", "./clair check", UNDECIDED)
            time.sleep(POLL_SECONDS)

    def push(self, image_id: str, deadline: Deadline) -> None:
        """Tag an image of the local Docker for this registry and push it. Raises Problem (3)."""
        engine.docker(["image", "tag", image_id, self.tag], timeout_seconds=CALL_SECONDS)
        engine.docker(["image", "push", "--quiet", self.tag], timeout_seconds=_left(deadline))

    def indexes(self, digest: str) -> None:
        """Write down that the indexer gets a manifest it did not know, which `close` takes out of it again."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"digest": digest}).encode(), 0)
        os.fsync(self._descriptor)

    def close(self) -> list[Problem]:
        """Remove everything; return what could not be removed, which the next scan-local tries again."""
        try:
            return _remove(self._deployment, self._id, self._descriptor)
        finally:
            os.close(self._descriptor)


def container_name(deployment: Deployment, identifier: str) -> str:
    """Return the name of a registry's container, which is its name in the deployment's network, too."""
    return f"{deployment.name}-{identifier}.{SERVICE}"


def remove_leftovers(deployment: Deployment) -> list[Problem]:
    """Remove what commands left that were killed; return what could not be removed."""
    failures = []
    folder = _folder(deployment)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        descriptor = _lock(path)
        if descriptor is not None:
            try:
                failures += _remove(deployment, path.name, descriptor)
            finally:
                os.close(descriptor)
    return failures


def _folder(deployment: Deployment) -> Path:
    return deployment.state / "scan-local"


def _reserve(folder: Path) -> tuple[str, int]:
    make_folder(folder.parent, 0o700)
    make_folder(folder, 0o700)
    while True:
        path = folder / secrets.token_hex(4)
        path.touch(0o600)
        descriptor = _lock(path)
        if descriptor is not None:
            return path.name, descriptor


def _lock(path: Path) -> Optional[int]:
    """Return the descriptor of a file that this process holds now, or None if another one does or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # its command has just ended
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except OSError:  # held, or removed between opening and locking
        pass
    os.close(descriptor)
    return None


def _remove(deployment: Deployment, identifier: str, descriptor: int) -> list[Problem]:
    """Take the manifest out of the indexer, the name out of the local Docker, the registry with its volumes away."""
    failures = []
    try:
        digest = str(json.loads(os.pread(descriptor, 4096, 0))["digest"])
        failures += _forget(deployment, digest)
    except (ValueError, KeyError, TypeError):  # nothing was written: the indexer got nothing of it
        pass
    for listing, removal in (
        (
            ["image", "ls", "--filter", f"reference=127.0.0.1:*/{REPOSITORY}:{identifier}", "--format",
             "{{.Repository}}:{{.Tag}}"],
            ["image", "rm"],
        ),
        (
            ["ps", "--all", "--filter", f"name=^/?{container_name(deployment, identifier)}$", "--format", "{{.Names}}"],
            ["rm", "--force", "--volumes"],
        ),
    ):  # fmt: skip
        try:
            found = engine.docker(listing, timeout_seconds=CALL_SECONDS).stdout.split()
            if found:
                engine.docker([*removal, *found], timeout_seconds=CALL_SECONDS)
        except Problem as problem:
            failures.append(problem)
    if not failures:
        (_folder(deployment) / identifier).unlink(missing_ok=True)
    return failures


def _forget(deployment: Deployment, digest: str) -> list[Problem]:
    """Delete an index report through the operations entry point: the edge refuses DELETE.

    204 also for one that is not there (quay/clair httptransport/indexer_v1.go at v4.9.0).
    """
    edge = operations_edge(deployment)
    hint = f"./clair scan-local IMAGE removes it, once {edge.url} answers"
    try:
        answer = edge.request("DELETE", f"{PATH}/{digest}", Deadline(CALL_SECONDS))
    except NoAnswer as error:
        return [Problem(f"index report not removed, {digest}: {edge.url}: {error.reason}", hint, UNDECIDED)]
    if answer.status in (200, 204):
        return []
    said = f"HTTP {answer.status} {error_message(answer)}".strip()
    return [Problem(f"index report not removed, {digest}: {said}", hint, UNDECIDED)]


def _not_started(image: str, output: str) -> Problem:
    if "no such service" in output.lower():
        return Problem(
            f"registry not started, service {SERVICE}: the applied compose.yaml is of an older template", "make up"
        )
    return image_problem(image, output)


def _answers(host: str) -> bool:
    import http.client

    connection = http.client.HTTPConnection(host, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):  # not up yet
        return False
    finally:
        connection.close()


def _left(deadline: Deadline) -> float:
    """Return the seconds left for a call of Docker, at least one: the call itself then says that time is over."""
    return max(1.0, deadline.remaining_or_zero())
