"""Shows and stops what runs: `ps`, `logs`, `restart`, `down`, all on the applied state.

`logs` prints the last 200 lines and ends, unless --follow. `restart` waits until healthy, and starts what has no container:
so the applied release comes back after `down` also where another one is rendered by now. `down` removes containers and
networks of all profiles and never a volume. Exit codes: 0 done; 1 `ps`: something is not healthy; 2 wrong use; 3 no answer.
Environment: SERVICE (logs, restart), FOLLOW=1 (logs), JSON=1 (ps), TIMEOUT in seconds (600, restart).
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import List, Tuple

from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.read_arguments import Parser
from ..host.remove_scratch import remove_scratch
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.watch_start import Container, containers, start, wait_healthy
from ..settings import Deployment, load_deployment
from ..state.refuse_change import applied_facts
from ..state.track_change import refuse_unfinished, unfinished_problem

LINES = 200


def known_service(deployment: Deployment, name: str) -> str:
    """Return the Compose service for a name, also given as its container's (`clair-indexer`).

    Raises Problem (2) if there is none, with the nearest name.
    """
    services = list(deployment.facts["services"])
    for service in services:
        short = service.replace("clair-", "", 1)
        if name in (service, short, f"{deployment.name}-{service}", f"{deployment.name}-{short}"):
            return str(service)
    if any(one.service == name for one in containers(deployment)):
        # A service of the operator's compose.override.yaml.
        return name
    near = difflib.get_close_matches(name, services, 1, 0.4) or services[:1]
    raise Problem(f"service unknown, {name}: choose one of {', '.join(services)}", f"make logs SERVICE={near[0]}")


def table(rows: List[Container]) -> str:
    """Return the containers as a table, one a line."""
    cells = [("CONTAINER", "SERVICE", "HEALTH", "STATUS")]
    cells += [(one.name, one.service, one.health, one.status) for one in sorted(rows, key=lambda one: one.name)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join("  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]) for row in cells)


def main_ps(argv: List[str]) -> int:
    """Run `ps`."""
    parser = Parser("ps", "List the containers with their health; exit 1 if one is missing or not healthy.")
    parser.add_switch("--json", "JSON", "one JSON list on stdout")
    options = parser.parse_args(argv)
    deployment = load_deployment()
    unfinished = unfinished_problem(deployment)
    if unfinished:
        print(f"warning: {unfinished.sentence}\nHINT: {unfinished.hint}", file=sys.stderr)
    rows = containers(deployment)
    if options.json:
        print(json.dumps([{**vars(one), "health": one.health} for one in rows], indent=1))
    else:
        print(table(rows))
    wanted = {name: int(facts.get("replicas", 1)) for name, facts in deployment.facts["services"].items()}
    healthy = {name: sum(one.service == name and one.health == "healthy" for one in rows) for name in wanted}
    bad = [name for name, count in wanted.items() if healthy[name] < count]
    if bad:
        print(f"not healthy: {', '.join(bad)}", file=sys.stderr)
    return NO if bad else 0


def main_logs(argv: List[str]) -> int:
    """Run `logs`."""
    parser = Parser("logs", f"Show the last {LINES} log lines of all services, or of one.")
    parser.add_argument("service", nargs="?", default=os.environ.get("SERVICE", ""), help="service name [SERVICE]")
    parser.add_switch("--follow", "FOLLOW", "go on printing until Ctrl-C")
    options = parser.parse_args(argv)
    deployment = load_deployment()
    service = known_service(deployment, options.service) if options.service else ""
    if options.follow:
        _follow(deployment, service)
        return 0
    chosen = [one for one in containers(deployment) if service in ("", one.service)]
    if not chosen:
        raise Problem(f"no logs, {service or deployment.name}: no container", "make up")
    for name, text in last_lines(chosen):
        print(f"{name} | {text}")
    return 0


def last_lines(chosen: List[Container]) -> List[Tuple[str, str]]:
    """Return the last LINES log lines of containers together, oldest first: container name and text."""
    with ThreadPoolExecutor(len(chosen)) as pool:
        texts = list(pool.map(_timed_log, chosen))
    rows = []
    for container, text in zip(chosen, texts):
        for line in text.splitlines():
            stamp, _, rest = line.partition(" ")
            rows.append((stamp, container.name, rest))
    # Sorted by time only: lines of one instant keep the order of their container.
    rows.sort(key=lambda row: row[0])
    return [(name, rest) for _, name, rest in rows[-LINES:]]


def _timed_log(container: Container) -> str:
    result = engine.docker(["logs", "--timestamps", "--tail", str(LINES), container.id], timeout_seconds=60)
    return result.stdout + result.stderr


def _follow(deployment: Deployment, service: str) -> None:
    """Print log lines as they come, until Ctrl-C."""
    words = ["logs", "--no-color", "--follow", "--tail", str(LINES)]
    command = engine.compose_command(deployment, [*words, service] if service else words)
    try:
        # Straight through: there is no end to wait for.
        result = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, env=engine.environment(), cwd=deployment.root
        )
    except OSError:
        # The program is missing or cannot be run; `run` fails the same way and has the sentence.
        engine.run(command)
        raise
    if result.returncode != 0:
        raise Problem(
            f"logs broken off, {service or deployment.name}: docker compose says why above", "make ps", UNDECIDED
        )


def main_restart(argv: List[str]) -> int:
    """Run `restart`."""
    parser = Parser("restart", "Restart all containers, or those of one service, and wait until they are healthy.")
    parser.add_argument("service", nargs="?", default=os.environ.get("SERVICE", ""), help="service name [SERVICE]")
    parser.add_timeout()
    options = parser.parse_args(argv)
    deployment = load_deployment()
    names = [known_service(deployment, options.service)] if options.service else list(deployment.facts["services"])
    progress = Progress()
    with hold_lock(deployment, "restart"):
        # In the middle of a change a service may be neither the old nor the new one.
        refuse_unfinished(deployment)
        there = {one.service for one in containers(deployment)}
        missing = [name for name in names if name not in there]
        if missing and applied_facts(deployment) is None:
            raise Problem(f"nothing restarted, not running: {', '.join(missing)}", "./clair up")
        present = [name for name in names if name in there]
        if present:
            engine.compose(deployment, ["restart", *present], timeout_seconds=options.timeout)
        # Compose's own restart passes over these.
        start(deployment, missing, ["--no-recreate"], options.timeout, progress, wait_for=[])
        # None waits for a service of the operator's compose.override.yaml, as with `up`.
        own = [name for name in names if name in deployment.facts["services"]]
        wait_healthy(deployment, own, options.timeout, progress)
    progress.line(f"restarted: {', '.join(names)} ({progress.seconds:.1f} s)")
    return 0


def main_down(argv: List[str]) -> int:
    """Run `down`."""
    parser = Parser("down", "Stop and remove the containers and networks; volumes, secrets and state stay.")
    parser.parse_args(argv)
    deployment = load_deployment()
    with hold_lock(deployment, "down"):
        before = containers(deployment)
        # They are in this deployment's networks, which could not go before them.
        remove_scratch(deployment)
        # Without the wildcard containers of a profile stay behind.
        engine.compose(deployment, ["--profile", "*", "down", "--remove-orphans"])
    print(f"removed {len(before)} containers; all data stays", file=sys.stderr)
    return 0
