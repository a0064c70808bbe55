"""How much disk a change may need at most, and how much is free; writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List, Optional

from ..backup.read_backup import backups_folder
from ..clair.run_clairctl import size
from ..errors import NO, Problem
from ..host import engine
from ..settings import Deployment
from .plan_upgrade import Disk


def disk_needs(deployment: Deployment, databases_bytes: int) -> List[Disk]:
    """Return what a backup and a way back need at most: the databases once as a dump, and once more beside themselves."""
    backups = Disk("backups/, the dump", databases_bytes, free_bytes(backups_place(deployment)))
    if not deployment.bundled_database:
        host = deployment.facts["database"]["host"]
        return [backups, Disk(f"{host}, for a way back", databases_bytes, None)]
    folder = docker_folder()
    place = "Docker's disk, for a way back" if folder is None else f"{folder}, for a way back"
    return [backups, Disk(place, databases_bytes, free_bytes(folder) if folder else None)]


def disk_problem(disk: List[Disk]) -> Optional[Problem]:
    """Return the Problem (1) for the first place that is too small, or None."""
    for place in disk:
        if place.free_bytes is not None and place.free_bytes < place.needed_bytes:
            return Problem(
                f"disk too small, {place.place}: {size(place.free_bytes)} free, {size(place.needed_bytes)} needed",
                "df -h",
                NO,
            )
    return None


def backups_place(deployment: Deployment) -> Path:
    """Return the folder whose disk the dump fills: `backups/`, which may be a mount or a link, or where it will be made."""
    folder = backups_folder(deployment)
    return folder if folder.is_dir() else deployment.root


def docker_folder() -> Optional[Path]:
    """Return where Docker keeps volumes, or None where this machine cannot see it (a virtual machine, a remote host)."""
    try:
        found = engine.docker(["info", "--format", "{{.DockerRootDir}}"], timeout_seconds=30).stdout.strip()
    except Problem:
        # Said by whatever needs Docker next.
        return None
    return Path(found) if found and Path(found).is_dir() else None


def free_bytes(path: Path) -> Optional[int]:
    """Return the bytes free at a path, or None if it cannot be asked."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
