"""The steps of a change of the PostgreSQL major and of its way back, each safe to run again after it was cut short.

The new server gets a volume of its own, so the old one's data is never written to: until the end, and for as long as the old
volume is kept, the way back is to start the old server on it. `freeze`, `backup`, `keep`: nothing is touched. `apply`: Clair and
the old server stop, the new files are swapped in, the new volume is empty. `load`: roles, databases and the dump, compared
with what the backup counted. `start`, `verify`, `thaw`. What was cut short in `load` begins anew at `apply`, in `verify` at `start`.
"""

from __future__ import annotations

from typing import Callable, Dict, List

from ..backup.backup_database import make_backup
from ..backup.load_backup import load_into
from ..backup.read_backup import check_backup, read_manifest
from ..errors import NO, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import containers
from ..host.write_files import write_file
from ..lifecycle.pull_images import pull_missing
from ..lifecycle.start_database import SERVICE, start_database
from ..settings import Deployment, load_deployment
from ..state.apply_state import DATABASE_VOLUME, drop_old_parts, swap_in
from ..state.build_parts import CLAIR_SERVICES, build_parts, top_files
from ..state.refuse_change import chosen_volume, data_major
from ..state.track_change import (
    STEPS,
    UNTOUCHED,
    Change,
    advance,
    drop_change,
    finish_change,
    forget_last_change,
    schema_of,
    turn_back,
)
from .check_release import check_release
from .freeze_edge import freeze, is_frozen, thaw
from .keep_previous import previous_deployment, return_to_previous, save_previous
from .start_applied import start_database_where_down, start_everything

STOP_SECONDS = 120
# Step that was cut short: where it goes on. Since `start`, a `down` may have removed what there is to verify.
_AGAIN = {"load": "apply", "verify": "start"}


def move(
    new: Deployment, change: Change, timeout_seconds: float, progress: Progress, wrote: Callable[[Change], None]
) -> Change:
    """Do the steps from the one the journal stands at and finish the change; `wrote` gets each entry of the journal.

    The lock must be held. Raises Problem as the steps do; the journal then stands at the step that failed.
    """
    begin = _AGAIN.get(change.step, change.step)
    steps = STEPS["database-upgrade"]
    for name in steps[steps.index(begin) :]:
        if change.step != name:
            change = advance(new, change, name)
            wrote(change)
        progress.line(f"step {name}: {_TOLD[name]}")
        change = _WORK[name](new, change, timeout_seconds, progress)
        wrote(change)
    finish_change(new, change)
    return change


def _freeze(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    freeze(load_deployment(new.root), timeout_seconds, progress)
    return change


def _backup(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    backup = make_backup(load_deployment(new.root), progress, timeout_seconds, reason="database-upgrade")
    return advance(new, change, change.step, backup=f"backups/{backup.name}")


def _keep(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    forget_last_change(new)
    # Said in words from here on, so that the way back finds it among what was saved.
    write_file(new.applied / DATABASE_VOLUME, str(change.facts["old_volume"]).encode() + b"\n", 0o444)
    save_previous(new)
    return change


def _apply(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    if not is_frozen(new):
        freeze(previous_deployment(new), timeout_seconds, progress)
    check_backup(new.root / str(change.facts["backup"]))
    _stop_services(new)
    volume = str(change.facts["new_volume"])
    # What an earlier try of this change has loaded; the old volume has another name.
    _remove_volume(new, volume)
    swap_in(new, build_parts(new), {**top_files(new), DATABASE_VOLUME: volume.encode() + b"\n"})
    return change


def _load(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    # `apply`, which always runs just before, has checked every byte of it while the old server still answered.
    backup = read_manifest(new.root / str(change.facts["backup"]))
    start_database(new, progress.seconds + timeout_seconds, progress)
    load_into(new, backup, {name: name for name in backup.databases}, progress, timeout_seconds)
    return change


def _start(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    # Where this was cut short, a `down` may have come between.
    start_database_where_down(new, timeout_seconds, progress)
    start_everything(new, timeout_seconds, progress)
    return change


def _verify(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    check_release(new, timeout_seconds, progress, schema_of(change))
    return change


def _thaw(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Change:
    thaw(new, timeout_seconds, progress)
    drop_old_parts(new)
    return change


_WORK: "Dict[str, Callable[[Deployment, Change, float, Progress], Change]]" = {
    "freeze": _freeze,
    "backup": _backup,
    "keep": _keep,
    "apply": _apply,
    "load": _load,
    "start": _start,
    "verify": _verify,
    "thaw": _thaw,
}
_TOLD = {
    "freeze": "edge closed to writes",
    "backup": "dumping the databases",
    "keep": "keeping what is applied, for the way back",
    "apply": "stopping Clair and the old server",
    "load": "loading the dump into the new server",
    "start": "starting Clair",
    "verify": "verifying",
    "thaw": "opening the edge",
}


def go_back(deployment: Deployment, change: Change, progress: Progress, timeout_seconds: float) -> None:
    """Start the old server on its volume again and forget the change; the lock must be held.

    A new volume that was never verified is deleted; one that was in use is kept and named. Safe to run again. Raises Problem
    as the steps do; `rollback` then goes on.
    """
    if change.operation == "database-upgrade" and change.step in UNTOUCHED:
        thaw(load_deployment(deployment.root), timeout_seconds, progress)
        drop_change(deployment)
        return
    old = previous_deployment(deployment)
    _require_major(old, str(change.facts["old_volume"]))
    if change.operation != "rollback":
        change = turn_back(deployment, change, "return", failed_at=change.step)
    pull_missing(old, list(old.facts["services"]), timeout_seconds, progress)
    if not is_frozen(deployment):
        freeze(load_deployment(deployment.root), timeout_seconds, progress)
    volume = str(change.facts["new_volume"])
    progress.line("way back: stopping Clair and the new server")
    if chosen_volume(deployment) == volume:
        _stop_services(deployment)
    return_to_previous(old)
    progress.line("way back: starting the old server on its volume")
    start_database(old, progress.seconds + timeout_seconds, progress)
    start_everything(old, timeout_seconds, progress)
    check_release(old, timeout_seconds, progress, schema_of(change))
    thaw(old, timeout_seconds, progress)
    drop_old_parts(old)
    if change.facts.get("failed_at") == "done":
        progress.line(f"kept: volume {volume}, with what came in since; to delete it: docker volume rm {volume}")
        progress.line(
            f"the files here are still those for PostgreSQL {change.facts['to']}, and `up` refuses them; to take them back:"
        )
        progress.line(f"HINT: copier update --trust --defaults --data database_version={change.facts['from']}")
    else:
        _remove_volume(old, volume)
    forget_last_change(deployment)
    drop_change(deployment)


def _require_major(old: Deployment, volume: str) -> None:
    """Look into the old volume before anything stops: a server of another major would begin empty beside its data.

    Raises Problem (1) if its data is of another major; where there is no image here to look with, the server says so itself.
    """
    wanted, found = str(old.facts["database"]["version"]), data_major(old, volume)
    if found and found != wanted:
        raise Problem(
            f"no way back, {old.name}: volume {volume} holds data of PostgreSQL {found}, and {wanted} was in use before",
            "ls backups",
            NO,
        )


def _stop_services(deployment: Deployment) -> None:
    """Stop Clair, then the server; the server's container goes, because the next one has its name and another volume."""
    found = containers(deployment)
    for services in (CLAIR_SERVICES, (SERVICE,)):
        ids = [one.id for one in found if one.service in services and one.state == "running"]
        if ids:
            engine.docker(["stop", "--time", str(STOP_SECONDS), *ids], timeout_seconds=2 * STOP_SECONDS)
    for one in found:
        if one.service == SERVICE:
            engine.docker(["rm", "--force", one.id], timeout_seconds=60, check=False)


def _remove_volume(deployment: Deployment, volume: str) -> None:
    """Delete a volume of this change. Raises Problem (1) if Docker refuses."""
    listed = engine.docker(["volume", "ls", "--quiet", "--filter", f"name={volume}"], timeout_seconds=60).stdout.split()
    if volume not in listed:
        return
    result = engine.docker(["volume", "rm", volume], check=False, timeout_seconds=300)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise Problem(f"volume not deleted, {volume}: {reason}", f"docker volume rm {volume}", NO)


def kept_volumes(deployment: Deployment, volumes: List[str]) -> List[str]:
    """Return those of the database's volumes that are not in use."""
    return [volume for volume in volumes if volume != chosen_volume(deployment)]
