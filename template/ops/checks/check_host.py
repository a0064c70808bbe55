"""Checks of this host and its Docker: versions, the Compose model, ports, memory, CPUs, disk, architectures, images."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import Problem
from ..host import engine
from ..host.explain_failure import explain
from ..settings import Deployment
from .findings import Finding, from_problem

GIB = 1024**3
# A host sold with 8 GiB shows a little less; below this share of `deployment_size` PostgreSQL and matcher compete.
MEMORY_SHARE = 0.85
# The first load of all feeds writes several GiB; a database with them takes tens.
DISK_MINIMUM_GIB = 5
DISK_ADVISED_GIB = 40
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "amd64": "amd64",
}


class Held(NamedTuple):
    """A port that a container publishes."""

    container: str
    project: str
    address: str
    port: int


def docker_findings(deployment: Deployment, allow_small: bool = False) -> List[Finding]:
    """Ask the Docker daemon about itself: version, memory, CPUs, disk, architecture."""
    try:
        answer = engine.docker(["info", "--format", "{{json .}}"], timeout_seconds=30)
        info: Dict[str, Any] = json.loads(answer.stdout)
    except Problem as problem:
        return [from_problem(problem)]
    except ValueError:
        return [Finding("docker unreadable, docker info: no JSON", "docker info")]
    errors = info.get("ServerErrors") or []
    if errors and not info.get("ServerVersion"):
        # Docker 20.10 and later print what failed here and exit 0.
        return [from_problem(explain("docker info", "\n".join(map(str, errors))))]
    old = engine.version_problem("docker", str(info.get("ServerVersion", "")), engine.DOCKER_MINIMUM)
    findings = [from_problem(old)] if old else []
    return (
        findings
        + size_findings(deployment, info, allow_small)
        + _disk_findings(info)
        + _machine_findings(deployment, info)
    )


def size_findings(deployment: Deployment, info: Dict[str, Any], allow_small: bool) -> List[Finding]:
    """Compare memory and CPUs of Docker's host with the size."""
    size = deployment.facts["size"]
    memory_gib, cpus = int(info.get("MemTotal", 0)) / GIB, int(info.get("NCPU", 0))
    findings = []
    if memory_gib < float(size["memory_gib"]) * MEMORY_SHARE:
        reason = f"{memory_gib:.1f} GiB, and deployment_size {size['name']} needs {size['memory_gib']} GiB"
        findings.append(Finding(f"memory too small, this host: {reason}", _SMALL_HINT, allow_small))
    if cpus < int(size["cpus"]):
        reason = f"{cpus}, and deployment_size {size['name']} needs {size['cpus']}"
        # Docker makes no container whose limit is above what the host has.
        smaller = "copier update --trust --defaults --data deployment_size=small"
        hint = _SMALL_HINT if size["name"] == "small" else smaller
        findings.append(Finding(f"too few CPUs, this host: {reason}", hint, allow_small))
    return findings


_SMALL_HINT = "ALLOW_SMALL=1 ./clair up"


def _disk_findings(info: Dict[str, Any]) -> List[Finding]:
    folder = str(info.get("DockerRootDir") or "")
    try:
        free_gib = shutil.disk_usage(folder).free / GIB
    except OSError:
        # Docker runs elsewhere (a virtual machine, a remote host): its disk cannot be seen from here.
        return []
    sentence = f"{free_gib:.0f} GiB free, and {{}}"
    if free_gib < DISK_MINIMUM_GIB:
        reason = sentence.format(f"images and a database without feeds need {DISK_MINIMUM_GIB} GiB")
        return [Finding(f"disk too full, {folder}: {reason}", "docker system df")]
    if free_gib < DISK_ADVISED_GIB:
        reason = sentence.format(f"all feeds together take up to {DISK_ADVISED_GIB} GiB")
        return [Finding(f"disk may become full, {folder}: {reason}", "docker system df", warning=True)]
    return []


def _machine_findings(deployment: Deployment, info: Dict[str, Any]) -> List[Finding]:
    machine = str(info.get("Architecture", ""))
    found = _MACHINES.get(machine, machine)
    if found == deployment.architecture:
        return []
    reason = f"{found}, and architecture {deployment.architecture} was answered"
    return [Finding(f"architecture wrong, this host: {reason}", f"copier update --trust -d architecture={found}")]


def compose_findings(deployment: Deployment, allow_small: bool = False) -> List[Finding]:
    """Check Compose's version, then the rendered model with the operator's override."""
    try:
        found = engine.run([*engine.program("compose"), "version", "--short"], timeout_seconds=30).stdout
        problem = engine.version_problem("compose", found, engine.COMPOSE_MINIMUM)
        if problem:
            return [from_problem(problem)]
        result = engine.compose(deployment, ["config", "--quiet"], timeout_seconds=60, check=False, rendered=True)
    except Problem as problem:
        return [from_problem(problem)]
    if result.returncode == 0:
        return []
    reason = ([line.strip() for line in result.stderr.splitlines() if line.strip()] or ["no message"])[-1]
    override = "compose.override.yaml" if (deployment.root / "compose.override.yaml").exists() else "compose.yaml"
    return [Finding(f"compose model wrong, {override}: {reason}", f"git diff {override}")]


def port_findings(deployment: Deployment, allow_small: bool = False) -> List[Finding]:
    """Check that the published ports are free, or held by this deployment."""
    if os.environ.get("DOCKER_HOST", "").startswith(("tcp:", "ssh:")):
        # The ports are another host's.
        return []
    edge = deployment.facts["edge"]
    wanted = [
        (str(edge["address"]), int(edge["port"])),
        (str(edge["operations_address"]), int(edge["operations_port"])),
    ]
    try:
        held = held_ports()
    except Problem:
        # Said by `docker_findings`; without Docker nobody knows which ports are this deployment's own.
        return []
    findings = []
    for address, port in wanted:
        holders = [
            one
            for one in held
            if one.port == port and (one.address == address or _is_any(one.address) or _is_any(address))
        ]
        if any(one.project == deployment.name for one in holders):
            continue
        reason = bind_problem(address, port)
        if reason:
            by = f" (by container {holders[0].container})" if holders else ""
            where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            question = "edge_port" if port == int(edge["port"]) else "operations_port"
            hint = f"ss -ltnp 'sport = :{port}'"
            findings.append(Finding(f"port not free, {where} ({question}): {reason}{by}", hint))
    return findings


def held_ports() -> List[Held]:
    """Return the ports that running containers of this host publish."""
    form = '{{.Names}}\t{{.Label "com.docker.compose.project"}}\t{{.Ports}}'
    rows = engine.docker(["ps", "--format", form], timeout_seconds=30).stdout.splitlines()
    return [held for row in rows if row.count("\t") == 2 for held in parse_ports(*row.split("\t"))]


def parse_ports(container: str, project: str, text: str) -> List[Held]:
    """Return the published ports in docker's text: `127.0.0.1:6060->6060/tcp, :::80->80/tcp, [::1]:6061-6062->...`."""
    held = []
    for address, first, last in re.findall(r"(\S+):(\d+)(?:-(\d+))?->", text):
        for port in range(int(first), int(last or first) + 1):
            held.append(Held(container, project, address.strip("[]"), port))
    return held


def bind_problem(address: str, port: int) -> str:
    """Return why a TCP port cannot be listened on, or an empty text."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that are closing do not keep a port from Docker either.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except PermissionError:
            # Below 1024 only root may listen; Docker's daemon may.
            return _connect_problem(family, address, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "in use"
            return "no address of this host" if error.errno == errno.EADDRNOTAVAIL else str(error.strerror)
    return ""


def _connect_problem(family: int, address: str, port: int) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        return "in use" if probe.connect_ex((target, port)) == 0 else ""


def _is_any(address: str) -> bool:
    return address in ("0.0.0.0", "::", "")


def image_findings(deployment: Deployment, allow_small: bool = False) -> List[Finding]:
    """Check the architecture of each image that is here already; one that is not is pulled by `up`."""
    findings = []
    for image, found in local_images(sorted(set(deployment.facts["images"].values()))).items():
        if found is not None and found != deployment.architecture:
            reason = f"it is for {found}, and architecture {deployment.architecture} was answered"
            findings.append(Finding(f"image of another architecture, {image}: {reason}", f"docker image rm {image}"))
    return findings


def local_images(images: Sequence[str]) -> Dict[str, Optional[str]]:
    """Return the architecture of each image on this host, None for one that is not here."""
    if not images:
        return {}
    with ThreadPoolExecutor(len(images)) as pool:
        return dict(zip(images, pool.map(_architecture, images)))


def _architecture(image: str) -> Optional[str]:
    try:
        result = engine.docker(
            ["image", "inspect", "--format", "{{.Architecture}}", image], timeout_seconds=30, check=False
        )
    except Problem:
        # Said by `docker_findings`.
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None


CHECKS: Tuple[Tuple[str, Any], ...] = (
    ("docker", docker_findings),
    ("compose", compose_findings),
    ("ports", port_findings),
    ("images", image_findings),
)
