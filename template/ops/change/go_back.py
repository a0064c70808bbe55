"""The way back of an upgrade, each step safe to run again: a `rollback` that was cut short goes on where its journal stands.

Where the databases were not touched: back to the old files, start what changed, open the edge. Else the dump is loaded beside
the databases while what runs still answers reads; then Clair stops, files and databases are swapped (the databases in one
transaction), and the old release starts. What the new release had written is deleted only after the old one was verified.
"""

from __future__ import annotations

from typing import Callable, List

from ..backup.load_backup import load_beside
from ..backup.read_backup import Backup, check_backup
from ..backup.swap_databases import drop_databases, swap_in_databases
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import containers, works
from ..lifecycle.pull_images import pull_missing
from ..lifecycle.start_database import SERVICE, start_database
from ..settings import Deployment, load_deployment
from ..state.apply_state import drop_old_parts
from ..state.build_parts import CLAIR_SERVICES
from ..state.track_change import STEPS, Change, advance, drop_change, forget_last_change, schema_of
from .check_release import check_release
from .freeze_edge import freeze, is_frozen, thaw
from .keep_previous import drop_previous, previous_deployment, return_to_previous
from .roll_services import remove_extras, restore_servers
from .start_applied import start_everything


def back_steps(change: Change) -> List[str]:
    """Return the steps of the way back, in their order."""
    # "return" is the one step of the way back to another volume (move_database).
    left_out = ("return",) if change.facts.get("touched") else ("return", "load", "stop")
    return [step for step in STEPS["rollback"] if step not in left_out]


def go_back(deployment: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    """Do the steps of the way back from the one the journal stands at, and forget the change.

    Raises Problem as the steps do; the journal then stands at the step that failed.
    """
    old = previous_deployment(deployment)
    steps = back_steps(change)
    for name in steps[steps.index(change.step) if change.step in steps else 0 :]:
        if change.step != name:
            change = advance(deployment, change, name)
        progress.line(f"way back: {_TOLD[name]}")
        _WORK[name](old, change, timeout_seconds, progress)
    forget_last_change(deployment)
    drop_change(deployment)
    drop_previous(deployment)


def backup_of(deployment: Deployment, change: Change) -> Backup:
    """Return the backup that a change began with, checked whole. Raises Problem as `check_backup` does."""
    return check_backup(deployment.root / str(change.facts["backup"]))


def _close(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    if change.facts.get("touched"):
        backup_of(old, change)
    pull_missing(old, list(old.facts["services"]), timeout_seconds, progress)
    if not is_frozen(old):
        freeze(_serving(old, change), timeout_seconds, progress)


def _serving(old: Deployment, change: Change) -> Deployment:
    """Return the deployment whose edge runs until the swap: its port, its certificate may be other ones than the old one's."""
    order = STEPS["upgrade"]
    reached = str(change.facts.get("failed_at") or order[-1])
    rolled = reached not in order or order.index(reached) > order.index("roll-traefik")
    return load_deployment(old.root) if rolled else old


def _load(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    if old.bundled_database and not _database_works(old):
        # The change failed at the database itself: its old container first.
        return_to_previous(old)
        start_database(old, progress.seconds + timeout_seconds, progress)
    load_beside(old, backup_of(old, change), _beside(change), progress, timeout_seconds)


def _stop(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    found = [one for one in containers(old) if one.service in CLAIR_SERVICES]
    if found:
        engine.docker(["stop", "--time", "30", *(one.id for one in found)], timeout_seconds=120)


def _swap(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    restore_servers(old)
    for service in CLAIR_SERVICES:
        if service in old.facts["services"]:
            remove_extras(old, service)
    return_to_previous(old)
    if old.bundled_database:
        start_database(old, progress.seconds + timeout_seconds, progress)
    if change.facts.get("touched"):
        databases = [name for name in CLAIR_SERVICES if name in old.facts["services"]]
        swap_in_databases(old, databases, _beside(change), _kept(change))


def _start(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    start_everything(old, timeout_seconds, progress)


def _check(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    check_release(old, timeout_seconds, progress, schema_of(change))


def _open(old: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    thaw(old, timeout_seconds, progress)
    if change.facts.get("touched"):
        drop_databases(old, _kept(change))
    drop_old_parts(old)


_WORK: "dict[str, Callable[[Deployment, Change, float, Progress], None]]" = {
    "close": _close,
    "load": _load,
    "stop": _stop,
    "swap": _swap,
    "start": _start,
    "check": _check,
    "open": _open,
}
_TOLD = {
    "close": "edge closed to writes",
    "load": "loading the dump beside the databases",
    "stop": "stopping Clair",
    "swap": "swapping files and databases",
    "start": "starting the old release",
    "check": "verifying",
    "open": "opening the edge",
}


def _beside(change: Change) -> str:
    """Return the suffix of the databases that are loaded from the dump."""
    return f"back_{change.id}"


def _kept(change: Change) -> str:
    """Return the suffix of the databases that the new release had written to."""
    return f"left_{change.id}"


def _database_works(deployment: Deployment) -> bool:
    return any(one.service == SERVICE and works(one) for one in containers(deployment))
