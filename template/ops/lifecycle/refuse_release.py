"""Refuses to start Clair on data of another release where nothing applied says which, because `state/` was lost or is new.

Only the databases know then: each Clair service keeps the number of its last migration there. Reads; writes nothing.
"""

from __future__ import annotations

import re
from typing import Mapping, Optional

from ..errors import USAGE, Problem
from ..host import engine
from ..host.watch_start import containers
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from .read_schema import Schema, read_schemas

_UPDATE = "copier update --trust --defaults --data clair_version={}"
# What was rendered before, newest first, where no container is left to say what ran.
_RENDERED_BEFORE = "git log -p -- ops/deployment.json | grep '\"clair_release\"'"


def refuse_other_release(deployment: Deployment) -> None:
    """Compare the migrations in the databases, which must answer, with those of the rendered release.

    Databases without any are new and fit. Raises Problem: data of another release (2), a database cannot be read (3).
    """
    problem = release_problem(deployment, read_schemas(deployment), ran_before(deployment))
    if problem:
        raise problem


def release_problem(deployment: Deployment, found: Mapping[str, Schema], before: str = "") -> Optional[Problem]:
    """Return the Problem (2) for data that stands at other migrations than the rendered release's, or None.

    `before` is the release that ran on it, or an empty text where nobody knows.
    """
    wanted = {name: int(version) for name, version in deployment.facts["release"]["schema"].items()}
    other = {name: one.version for name, one in found.items() if one.version not in (0, wanted.get(name, one.version))}
    if not other:
        return None
    newer = [name for name, version in other.items() if version > wanted[name]]
    told = ", ".join(f"{name} {other[name]}, not {wanted[name]}" for name in newer or other)
    release = before or ("a newer release" if newer else "an older release")
    failed = f"release not applied, Clair {deployment.release}: the data is of {release}, at migration {told}"
    if newer:
        return Problem(f"{failed}, and migrations only go up", _UPDATE.format(before or "newest"), USAGE)
    return Problem(
        f"{failed}; render that release and start it, then update and upgrade, which makes a backup",
        _UPDATE.format(before) if before else _RENDERED_BEFORE,
        USAGE,
    )


def ran_before(deployment: Deployment) -> str:
    """Return the release of the Clair containers that are there, by their image's tag; an empty text if they do not say."""
    ids = [one.id for one in containers(deployment) if one.service in CLAIR_SERVICES]
    if not ids:
        return ""
    images = engine.docker(["inspect", "--format", "{{.Config.Image}}", *ids], check=False).stdout.split()
    tags = {found.group(1) for image in images if (found := re.search(r":v?(\d+\.\d+\.\d+)(?:@|$)", image))}
    return tags.pop() if len(tags) == 1 and tags != {deployment.release} else ""
