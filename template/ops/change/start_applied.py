"""Starts what is applied, in the middle of a change: all of it, or the database where it does not run."""

from __future__ import annotations

from ..host.show_progress import Progress
from ..host.watch_start import containers, start, works
from ..lifecycle.start_database import SERVICE
from ..lifecycle.start_services import own_services
from ..settings import Deployment
from .roll_services import start_service


def start_everything(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """Bring every service to what is applied and wait until all work; remove what no service asks for, as `up` does.

    The bundled database must answer already: named here, Compose would hold up the others until its next healthcheck.
    Raises Problem as `watch_start.start` does.
    """
    services = list(deployment.facts["services"])
    others = [name for name in services if name != SERVICE]
    own = own_services(deployment) if (deployment.applied / "compose.override.yaml").is_file() else []
    limit = progress.seconds + timeout_seconds
    options = ["--no-deps", "--remove-orphans"]
    start(deployment, [*others, *own], options, limit, progress, is_ready=works, wait_for=services)


def database_runs(deployment: Deployment) -> bool:
    """Return whether the bundled database's container runs; an external one always counts as running."""
    running = {one.service for one in containers(deployment) if one.state == "running"}
    return not deployment.bundled_database or SERVICE in running


def start_database_where_down(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """Start the bundled database where it does not run, after `down` or a power loss: a backup needs it."""
    if not database_runs(deployment):
        start_service(deployment, SERVICE, timeout_seconds, progress)
