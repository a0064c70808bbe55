"""Checks after a change that what runs is what is applied: images, health, schema versions, answers through the edge."""

from __future__ import annotations

import json
import time
from typing import Dict, List, Optional

from ..clair.reach_edge import deployment_edge
from ..errors import NO, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import containers, works
from ..lifecycle.read_schema import read_schemas
from ..network.open_connection import Deadline, NoAnswer
from ..settings import Deployment
from ..verify.verify_edge import PROBES

POLL_SECONDS = 0.5


def check_release(
    deployment: Deployment, timeout_seconds: float, progress: Progress, schema: Optional[Dict[str, int]] = None
) -> None:
    """Return once every container is of the applied image and works, the schema is right and the edge answers reads.

    `schema`: the migration each database must stand at (default: the release's own). Raises Problem (1) with the first thing
    that is still wrong after `timeout_seconds`.
    """
    deadline = Deadline(timeout_seconds)
    while True:
        wrong = container_problem(deployment) or edge_problem(deployment)
        if not wrong:
            break
        if deadline.remaining_or_zero() == 0:
            raise Problem(f"not verified, {deployment.name}: {wrong}", "./clair verify", NO)
        progress.waiting(f"verifying: {wrong}")
        time.sleep(POLL_SECONDS)
    wanted = schema if schema is not None else deployment.facts["release"]["schema"]
    for name, found in read_schemas(deployment).items():
        if name in wanted and found.version != int(wanted[name]):
            raise Problem(
                f"not verified, database {name}: it stands at migration {found.version}, and {wanted[name]} is expected",
                f"./clair logs {name}",
                NO,
            )


def container_problem(deployment: Deployment) -> str:
    """Return what is wrong with the containers, or an empty text."""
    found = containers(deployment)
    images = _images([one.id for one in found])
    for service, settings in deployment.facts["services"].items():
        own = [one for one in found if one.service == service]
        wanted = int(settings.get("replicas", 1))
        if len(own) != wanted:
            return f"{service} has {len(own)} containers, and {wanted} are expected"
        image = deployment.facts["images"].get(service, deployment.facts["images"]["clair"])
        for one in own:
            if images.get(one.id, image) != image:
                return f"{one.name} runs {images[one.id]}, and {image} is expected"
            if not works(one):
                return f"{one.name} is {one.health}"
    return ""


def edge_problem(deployment: Deployment) -> str:
    """Return which service does not answer a read through the edge, or an empty text."""
    edge = deployment_edge(deployment)
    for service, (path, wanted) in PROBES.items():
        if service not in deployment.facts["services"]:
            continue
        try:
            status = edge.request("GET", path, Deadline(15)).status
        except NoAnswer as error:
            if error.kind in ("untrusted", "tls"):
                # Another fault than the change's: the certificate was not trusted before it either.
                return ""
            return f"{edge.url} does not answer: {error.reason}"
        if status not in wanted:
            return f"{service} answers HTTP {status} through the edge"
    return ""


def _images(ids: List[str]) -> Dict[str, str]:
    """Return the name of the image that each container was made from."""
    if not ids:
        return {}
    result = engine.docker(["inspect", "--format", "{{json .Id}} {{json .Config.Image}}", *ids], check=False)
    rows = [line.split(" ", 1) for line in result.stdout.splitlines() if " " in line]
    return {json.loads(row[0]): json.loads(row[1]) for row in rows}
