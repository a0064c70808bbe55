"""Deletes backups beyond `backup_keep`, and what runs that were killed have left in `backups/`.

The newest count, and only a clock says which those are: a backup dated in the future is neither deleted nor counted, so that
it drives out none that was made since.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Collection, List, Sequence, Set

from ..settings import Deployment
from ..state.track_change import last_change, unfinished_change
from .read_backup import Backup, backups, backups_folder

KEEP = 7


def kept_number(deployment: Deployment) -> int:
    """Return how many backups are kept: the answer `backup_keep`, or 7 where it was applied before there was such a question."""
    return int(deployment.facts.get("backup", {}).get("keep", KEEP))


def pinned(deployment: Deployment) -> Set[str]:
    """Return the names of the backups that a way back needs: that of an unfinished change, and of the last finished one."""
    changes = (unfinished_change(deployment), last_change(deployment))
    return {Path(str(change.facts["backup"])).name for change in changes if change and change.facts.get("backup")}


def superfluous(found: Sequence[Backup], keep: int, held: Collection[str]) -> List[Backup]:
    """Return those of `found`, oldest first, that are neither among the newest `keep` of their kind nor held.

    Whole ones are a kind, those without a database (`--skip-matcher`) another: what lacks data stands in for no whole one.
    """
    gone: List[Backup] = []
    for partial in (False, True):
        kind = [backup for backup in found if bool(backup.manifest["skipped"]) == partial]
        gone += [backup for backup in kind[: max(0, len(kind) - keep)] if backup.name not in held]
    return gone


def dated_ahead(deployment: Deployment) -> List[str]:
    """Return the names of the backups that are dated in the future, by a clock that was wrong then or is wrong now."""
    now = _now()
    return [backup.name for backup in backups(deployment) if backup.made_at > now]


def prune(deployment: Deployment, held: Collection[str] = ()) -> List[str]:
    """Delete what is superfluous and not in `held`, and return the names. The lock must be held."""
    names, now = [], _now()
    found = [backup for backup in backups(deployment) if backup.made_at <= now]
    for backup in superfluous(found, kept_number(deployment), {*pinned(deployment), *held}):
        # Renamed first: half a backup must not look like one.
        gone = backup.path.with_name(f".{backup.name}.old")
        backup.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        names.append(backup.name)
    return names


def _now() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def remove_leftovers(deployment: Deployment) -> None:
    """Delete folders of this deployment that a killed run has left. The lock must be held."""
    folder = backups_folder(deployment)
    for ending in ("new", "old"):
        for path in folder.glob(f".{deployment.name}-*.{ending}") if folder.is_dir() else []:
            shutil.rmtree(path, ignore_errors=True)
