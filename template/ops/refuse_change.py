"""Refuses a start that would change the Clair release or the PostgreSQL major under existing data.

Reads `state/applied/deployment.json` and, where that does not decide, the data folder itself; writes nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Optional

from . import engine
from .errors import USAGE, Problem
from .settings import Deployment

# 18 keeps data one folder higher, in <major>/docker (docker-library/postgres issue 1259).
_READ_MAJOR = "cat /data/PG_VERSION /data/*/docker/PG_VERSION 2>/dev/null"


def refuse_change(deployment: Deployment) -> None:
    """Compare the rendered deployment with the applied one.

    Raises Problem (2) that names the answer to go back to if they differ and data exists.
    """
    applied = applied_facts(deployment)
    if applied is None:
        return
    before, after = applied.get("database", {}), deployment.facts["database"]
    if before.get("mode") == after["mode"] == "bundled" and before.get("version") != after["version"]:
        volume = data_volume(deployment)
        major = data_major(deployment, volume) or before.get("version") if volume else after["version"]
        if major != after["version"]:
            raise other_major_problem(deployment, f"PostgreSQL {major}")
    if applied.get("clair_release") != deployment.release and has_data(deployment):
        raise Problem(
            f"release not applied, Clair {deployment.release}: this deployment holds data of {applied.get('clair_release')}, "
            "and migrations only go up",
            # The change of a release, with its backup and its way back, is no command of this version.
            f"copier update --trust --defaults --data clair_version={applied.get('clair_release')}",
            USAGE,
        )


def refuse_other_major(deployment: Deployment) -> None:
    """Look into the data folder where nothing is applied that could tell, for example because `state/` was lost.

    Needs the database's image on this host. Raises Problem (2) as `other_major_problem`.
    """
    if not deployment.bundled_database or applied_facts(deployment) is not None:
        return
    volume = data_volume(deployment)
    major = data_major(deployment, volume) if volume else ""
    if major and major != deployment.facts["database"]["version"]:
        raise other_major_problem(deployment, f"PostgreSQL {major}")


def applied_facts(deployment: Deployment) -> Optional[Dict[str, Any]]:
    """Return the applied deployment.json, or None if nothing (readable) is applied."""
    try:
        facts = json.loads((deployment.applied / "deployment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def other_major_problem(deployment: Deployment, found: str) -> Problem:
    """Return the sentence for a data folder of another PostgreSQL major; `found` is such as `PostgreSQL 16`."""
    major = found.rpartition(" ")[2]
    return Problem(
        f"database not started, PostgreSQL {deployment.facts['database']['version']}: its data folder is of {found}",
        # The change of a major, with its backup and its way back, is no command of this version.
        f"copier update --trust --defaults --data database_version={major if major.isdigit() else 'MAJOR'}",
        USAGE,
    )


def has_data(deployment: Deployment) -> bool:
    """Return whether the database's volume exists; an external database always counts as holding data."""
    return not deployment.bundled_database or bool(data_volume(deployment))


def data_volume(deployment: Deployment) -> str:
    """Return the name of the database's volume, or an empty text if there is none."""
    project = f"label=com.docker.compose.project={deployment.name}"
    volume = "label=com.docker.compose.volume=database"
    result = engine.docker(["volume", "ls", "--quiet", "--filter", project, "--filter", volume])
    return next(iter(result.stdout.split()), "")


def data_major(deployment: Deployment, volume: str) -> str:
    """Return the PostgreSQL major of the data in a volume; an empty text if there is none, or no image here to look with."""
    image = str(deployment.facts["images"]["clair-database"])
    words = ["run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--user", "999:999"]
    words += ["--volume", f"{volume}:/data:ro", "--entrypoint", "bash", image, "-c", _READ_MAJOR]
    result = engine.docker(words, check=False, timeout_seconds=120)
    majors = re.findall(r"^\d+$", result.stdout, re.MULTILINE)
    return max(majors, key=int, default="")
