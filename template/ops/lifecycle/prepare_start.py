"""Does what every starting command does first: refuse, create secrets, check, pull images, apply the rendered state."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from ..checks.check_deployment import require, require_merged
from ..errors import USAGE, Problem
from ..host.show_progress import Progress
from ..settings import Deployment
from ..state.apply_state import apply_state, swap_in
from ..state.build_parts import PARTS, build_parts, top_files
from ..state.create_secrets import create_missing
from ..state.refuse_change import is_unknown_data, refuse_change, refuse_other_major
from ..state.role_passwords import administrator_sql
from ..state.track_change import refuse_unfinished
from .pull_images import pull_missing

_CLAIR = ("indexer", "matcher", "notifier", "receiver")
# Command: the services it starts, the parts it applies, the checks that are none of its business.
_SCOPES: Dict[str, Tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "database": (("clair-database",), ("database", "tools"), ("ports", "certificates")),
    "traefik": (("traefik",), ("traefik",), ()),
    "services": (
        ("clair-database", *_CLAIR),
        [part for part in PARTS if part != "traefik"],
        ("ports", "certificates"),
    ),
    "up": (("clair-database", *_CLAIR, "traefik"), PARTS, ()),
}


def services_of(deployment: Deployment, command: str) -> List[str]:
    """Return the services that a command starts and this deployment has."""
    return [name for name in _SCOPES[command][0] if name in deployment.facts["services"]]


def apply_parts(deployment: Deployment, command: str) -> List[str]:
    """Bring a command's parts of the applied state to what is rendered; return the names of what changed."""
    return apply_state(deployment, _SCOPES[command][1])


def prepare(
    deployment: Deployment, command: str, timeout_seconds: float, progress: Progress, allow_small: bool = False
) -> List[str]:
    """Make everything ready for a start; the lock must be held. Return the names of the parts that changed.

    Where there is data of an unknown release, only the database (or the edge) is made ready, and no release counts as applied.
    Raises Problem: a change is unfinished, another release holds the data, a secret cannot be used, or an external database
    must learn a password, whose SQL is then printed (2); an update left conflicts, or a check failed (1); an image cannot be had (3).
    """
    # First: nothing else that is said about such files helps.
    require_merged(deployment)
    refuse_unfinished(deployment)
    refuse_change(deployment)
    created, _ = create_missing(deployment)
    for name in created:
        progress.line(f"created secrets/{name}")
    passwords = [f"secrets/{name}" for name in created if name.startswith("database-")]
    if passwords and not deployment.bundled_database:
        print(administrator_sql(deployment), end="")
        raise Problem(
            f"database not prepared, {deployment.facts['database']['host']}: it does not know the new {', '.join(passwords)} before "
            "its administrator has run the SQL above",
            f"./clair {command}",
            USAGE,
        )
    require(deployment, allow_small, _SCOPES[command][2])
    tools = [] if deployment.bundled_database else ["clair-database"]
    pull_missing(deployment, [*services_of(deployment, command), *tools], timeout_seconds, progress)
    refuse_other_major(deployment)
    if is_unknown_data(deployment):
        first = "traefik" if command == "traefik" else "database"
        # Without deployment.json nothing counts as applied: also after a kill, the next start asks the data again.
        top = {name: content for name, content in top_files(deployment).items() if name != "deployment.json"}
        return swap_in(deployment, build_parts(deployment, _SCOPES[first][1]), top)
    return apply_parts(deployment, command)
