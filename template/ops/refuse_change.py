"""Refuses a start that would change the Clair release or the PostgreSQL major under existing data."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

from . import engine
from .errors import USAGE, Problem
from .settings import Deployment


def refuse_change(deployment: Deployment) -> None:
    """Compare the rendered deployment with the applied one.

    Raises Problem (2) that names `make upgrade` or `make database-upgrade` if they differ and data exists.
    """
    applied = applied_facts(deployment)
    if applied is None:
        return
    problem = change_problem(applied, deployment)
    if problem and has_data(deployment):
        raise problem


def applied_facts(deployment: Deployment) -> Optional[Dict[str, Any]]:
    """Return the applied deployment.json, or None if nothing (readable) is applied."""
    try:
        facts = json.loads((deployment.applied / "deployment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def change_problem(applied: Dict[str, Any], deployment: Deployment) -> Optional[Problem]:
    """Return what `up` may not change by itself, or None."""
    before, after = applied.get("database", {}), deployment.facts["database"]
    if before.get("mode") == after["mode"] == "bundled" and before.get("version") != after["version"]:
        return other_major_problem(deployment, str(before.get("version")))
    if applied.get("clair_release") != deployment.release:
        return Problem(
            f"release not applied, Clair {deployment.release}: this deployment holds data of {applied.get('clair_release')}",
            "make upgrade",
            USAGE,
        )
    return None


def other_major_problem(deployment: Deployment, found: str) -> Problem:
    """Return the sentence for a data folder of another PostgreSQL major."""
    return Problem(
        f"database not started, PostgreSQL {deployment.facts['database']['version']}: its data folder is of PostgreSQL {found}",
        "make database-upgrade",
        USAGE,
    )


def has_data(deployment: Deployment) -> bool:
    """Return whether the database's volume exists; an external database always counts as holding data."""
    if not deployment.bundled_database:
        return True
    project = f"label=com.docker.compose.project={deployment.name}"
    volume = "label=com.docker.compose.volume=database"
    result = engine.docker(["volume", "ls", "--quiet", "--filter", project, "--filter", volume])
    return bool(result.stdout.strip())
