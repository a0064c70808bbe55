"""Deletes backups beyond `backup_keep`, and what runs that were killed have left in `backups/`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List, Sequence, Set

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


def superfluous(found: Sequence[Backup], keep: int, held: Set[str]) -> List[Backup]:
    """Return those of `found`, oldest first, that are neither among the newest `keep` nor held."""
    return [backup for backup in found[: max(0, len(found) - keep)] if backup.name not in held]


def prune(deployment: Deployment) -> List[str]:
    """Delete what is superfluous and return the names. The lock must be held."""
    names = []
    for backup in superfluous(backups(deployment), kept_number(deployment), pinned(deployment)):
        # Renamed first: half a backup must not look like one.
        gone = backup.path.with_name(f".{backup.name}.old")
        backup.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        names.append(backup.name)
    return names


def remove_leftovers(deployment: Deployment) -> None:
    """Delete folders of this deployment that a killed run has left. The lock must be held."""
    folder = backups_folder(deployment)
    for ending in ("new", "old"):
        for path in folder.glob(f".{deployment.name}-*.{ending}") if folder.is_dir() else []:
            shutil.rmtree(path, ignore_errors=True)
