"""Starts the edge (`traefik`), the Clair services (`services`) or everything (`up`) and waits until all is healthy.

Each creates missing secrets, checks what can be checked, pulls missing images, applies the rendered state and starts what
it needs; run twice it changes nothing. Refused when the applied release differs from the rendered one and data exists:
that is the work of `upgrade`; where nothing is applied, the database says which release its data is of. Exit codes: 0 healthy; 1 a check failed or a service is unhealthy; 2 configuration; 3 another
command is running, or not healthy in time. Environment: TIMEOUT in seconds (600); ALLOW_SMALL=1 lets a host below the
minimum of deployment_size pass with a warning.
"""

from __future__ import annotations

from typing import List

from ..checks.check_external import check_external
from ..host import engine
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.watch_start import start
from ..settings import Deployment, load_deployment
from ..state.apply_state import drop_old_parts
from ..state.refuse_change import is_unknown_data
from .prepare_start import apply_parts, prepare, services_of
from .refuse_release import refuse_other_release
from .start_database import SERVICE, start_database

# Wait for no database, so they start together with it.
_INDEPENDENT = ("traefik", "receiver")


def start_all(
    deployment: Deployment, command: str, timeout_seconds: float, progress: Progress, allow_small: bool = False
) -> List[str]:
    """Apply the state and start a command's services; return their names. The lock must be held.

    Raises Problem as `prepare`, `start_database`, `check_external`, `refuse_other_release` and `start` do.
    """
    prepare(deployment, command, timeout_seconds, progress, allow_small)
    unknown = command != "traefik" and is_unknown_data(deployment)
    if unknown:
        # Alone: what else runs stays as it is if this release may not start.
        if deployment.bundled_database:
            start_database(deployment, timeout_seconds, progress)
        else:
            check_external(deployment, timeout_seconds)
        refuse_other_release(deployment)
        apply_parts(deployment, command)
    services = services_of(deployment, command)
    started: List[str] = []
    if command != "traefik":
        started = [name for name in services if name in _INDEPENDENT]
        if deployment.bundled_database:
            start_database(deployment, timeout_seconds, progress, started)
            started.append(SERVICE)
        else:
            start(deployment, started, ["--no-deps"], timeout_seconds, progress, wait_for=[])
            if not unknown:
                check_external(deployment, timeout_seconds)
    # What these depend on answers; without --no-deps Compose would wait seconds more for its healthcheck to say so.
    options = ["--no-deps", "--remove-orphans"] if command == "up" else ["--no-deps"]
    left = [name for name in services if name not in started]
    if command == "up" and (deployment.applied / "compose.override.yaml").is_file():
        left += own_services(deployment)
    start(deployment, left, options, timeout_seconds, progress, wait_for=services)
    if command == "up":
        # Every container now mounts the new folders.
        drop_old_parts(deployment)
    return services


def own_services(deployment: Deployment) -> List[str]:
    """Return the services that the operator's compose.override.yaml adds; `up` starts them and waits for none."""
    names = engine.compose(deployment, ["config", "--services"], timeout_seconds=60).stdout.split()
    return [name for name in names if name not in deployment.facts["services"]]


def run(command: str, help_text: str, argv: List[str]) -> int:
    """Run one of the three commands."""
    parser = Parser(command, help_text)
    parser.add_timeout()
    parser.add_switch("--allow-small", "ALLOW_SMALL", "only warn if this host is smaller than deployment_size asks for")
    options = parser.parse_args(argv)
    deployment = load_deployment(applied=False)
    progress = Progress()
    with hold_lock(deployment, command):
        services = start_all(deployment, command, options.timeout, progress, options.allow_small)
    progress.line(f"healthy: {', '.join(services)} ({progress.seconds:.1f} s)")
    return 0


def main_traefik(argv: List[str]) -> int:
    """Run `traefik`."""
    return run("traefik", "Start the edge.", argv)


def main_services(argv: List[str]) -> int:
    """Run `services`."""
    return run("services", "Start indexer, matcher, notifier and receiver, and the database they need.", argv)


def main_up(argv: List[str]) -> int:
    """Run `up`."""
    return run("up", "Start or update everything and wait until it is healthy.", argv)
