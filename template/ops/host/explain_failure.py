"""Says in words why a call of `docker` or `docker compose` failed, from what it printed.

Pure.
"""

from __future__ import annotations

import re
from typing import Tuple

from ..errors import UNDECIDED, USAGE, Problem

_LOAD_IMAGES = "make images lists all; docker load --input FILE brings them in without a registry"
INSTALL_COMPOSE = "install Compose 2.20 or newer: https://docs.docker.com/compose/install/linux/"

# Text that docker or Compose prints (lower case), then what failed, the reason ("" for the text's own line), hint, code.
_KNOWN_FAILURES: Tuple[Tuple[str, str, str, str, int], ...] = (
    (
        r"permission denied while trying to connect|connect: permission denied",
        "docker not allowed, its socket",
        "permission denied for this user",
        'sudo usermod -aG docker "$USER", then log in again',
        USAGE,
    ),
    (
        # Before the daemon's: Compose reports the calls that it cancels then as `error during connect`.
        r"non-overlapping ipv4 address pool",
        "networks used up, docker",
        "no address range is left for another network",
        "docker network prune, or more ranges by default-address-pools in /etc/docker/daemon.json",
        USAGE,
    ),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|error during connect|"
        r"failed to connect to the docker api",
        "docker unreachable, its daemon",
        "not running",
        "sudo systemctl start docker",
        UNDECIDED,
    ),
    (
        r"is not a docker command|unknown command: docker compose|unknown docker command: \"compose|"
        r"unknown flag: --project|unknown shorthand flag: 'f' in -f",
        "compose missing, docker compose",
        "not installed",
        INSTALL_COMPOSE,
        USAGE,
    ),
    (
        r"port is already allocated|address already in use|ports are not available",
        "port in use, published port",
        "",
        "make check",
        USAGE,
    ),
    (r"no space left on device", "disk full, docker", "", "docker system df", USAGE),
    (
        r"no such image|pull access denied|manifest unknown|no matching manifest|manifest for .* not found|"
        r"failed to resolve reference|image .* not found|failed to pull|toomanyrequests|"
        r"(head|get) \"?https?://[^ ]*/v2/",
        "image not available, pull",
        "",
        _LOAD_IMAGES,
        UNDECIDED,
    ),
)


def explain(what: str, output: str) -> Problem:
    """Return the Problem for the text a failed call left on stderr; `what` is such as `docker ps`."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = (
        re.sub(r"^(error:|Error response from daemon:)\s*", "", lines[-1], flags=re.IGNORECASE)
        if lines
        else "no message"
    )
    for pattern, failed, reason, hint, code in _KNOWN_FAILURES:
        if re.search(pattern, output.lower()):
            return Problem(f"{failed}: {reason or last}", hint, code)
    return Problem(f"call failed, {what}: {last}", "make check", UNDECIDED)


def image_problem(image: str, output: str) -> Problem:
    """Return the Problem (3, or the daemon's own) for an image that could not be pulled."""
    problem = explain("docker pull", output)
    if not problem.sentence.startswith(("call failed", "image not available")):
        return problem
    reason = problem.sentence.partition(": ")[2]
    return Problem(f"image not available, {image}: {reason}", _LOAD_IMAGES, UNDECIDED)
