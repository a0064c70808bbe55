"""Refuses a start that would change the Clair release or the PostgreSQL major under existing data, or leave the data behind.

Reads `state/applied/deployment.json` and, where that does not decide, the data folders themselves. Writes only where `state/`
was lost: which volume holds the data.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..errors import USAGE, Problem
from ..host import engine
from ..host.write_files import make_folder, write_file
from ..settings import Deployment
from .apply_state import DATABASE_VOLUME
from .track_change import last_change

# 18 keeps data one folder higher, in <major>/docker (docker-library/postgres issue 1259).
_READ_MAJOR = "cat /data/PG_VERSION /data/*/docker/PG_VERSION 2>/dev/null"


def refuse_change(deployment: Deployment) -> None:
    """Compare the rendered deployment with the applied one.

    Raises Problem (2) that names the command which makes the change if they differ and data exists.
    """
    applied = applied_facts(deployment)
    if applied is None:
        return
    problem = renamed_problem(deployment, applied) or other_mode_problem(deployment, applied)
    if problem:
        raise problem
    before, after = applied.get("database", {}), deployment.facts["database"]
    if before.get("mode") == after["mode"] == "bundled" and before.get("version") != after["version"]:
        volume = data_volume(deployment)
        major = data_major(deployment, volume) or before.get("version") if volume else after["version"]
        if major != after["version"]:
            raise other_major_problem(deployment, f"PostgreSQL {major}")
    if applied.get("clair_release") != deployment.release and has_data(deployment):
        raise older_release_problem(deployment, applied) or Problem(
            f"release not applied, Clair {deployment.release}: this deployment holds data of "
            f"{applied.get('clair_release')}, which an upgrade changes after a backup",
            "./clair upgrade",
            USAGE,
        )


def renamed_problem(deployment: Deployment, applied: Mapping[str, Any]) -> Optional[Problem]:
    """Return the Problem (2) if the applied state is of another deployment_name, whose containers nobody would find again."""
    name = str(applied.get("deployment_name", deployment.name))
    if name == deployment.name:
        return None
    return Problem(
        f"deployment not renamed, {name} to {deployment.name}: state/ is what the containers of {name} run on; another name "
        "is another deployment, in a folder of its own",
        f"copier update --trust --defaults --data deployment_name={shlex.quote(name)}",
        USAGE,
    )


def other_mode_problem(deployment: Deployment, applied: Mapping[str, Any]) -> Optional[Problem]:
    """Return the Problem (2) if database_mode has changed where there is data, which would stay behind."""
    mode = deployment.facts["database"]["mode"]
    before = applied.get("database", {}).get("mode", mode)
    if before != mode and (before != "bundled" or data_volume(deployment)):
        return Problem(
            f"database_mode not changed, {before} to {mode}: the data stays in the {before} database, and moves only as a "
            "backup that is restored in a new folder",
            f"./clair backup; copier update --trust --defaults --data database_mode={before}",
            USAGE,
        )
    return None


def older_release_problem(deployment: Deployment, applied: Dict[str, Any]) -> Optional[Problem]:
    """Return the Problem (2) if an older release is rendered than the applied one, else None: migrations only go up."""
    if release_number(deployment.facts) >= release_number(applied):
        return None
    before = str(applied.get("clair_release"))
    change = last_change(deployment)
    went_up = change is not None and change.operation == "upgrade" and change.facts.get("from") == deployment.release
    return Problem(
        f"release not applied, Clair {deployment.release}: this deployment holds data of {before}, and migrations only go up",
        "./clair rollback" if went_up else f"copier update --trust --defaults --data clair_version={before}",
        USAGE,
    )


def release_number(facts: Mapping[str, Any]) -> Tuple[int, ...]:
    """Return what orders releases: deployment.json's own number, else (older state) the release's text, read as one."""
    known = facts.get("release", {}).get("number")
    if known:
        return (int(known) // 1_000_000, int(known) // 1000 % 1000, int(known) % 1000)
    return engine.version_numbers(str(facts.get("clair_release", "")))


def refuse_other_major(deployment: Deployment) -> None:
    """Look into the data folders where nothing is applied that could tell, for example because `state/` was lost.

    One volume whose data is of the rendered major becomes the one in use, also where a database-upgrade made it. Needs the
    database's image on this host. Raises Problem (2) as `other_major_problem`, or if there are several to choose from.
    """
    if not deployment.bundled_database or applied_facts(deployment) is not None:
        return
    majors = {volume: data_major(deployment, volume) for volume in database_volumes(deployment)}
    wanted = deployment.facts["database"]["version"]
    fitting = [volume for volume, major in majors.items() if major == wanted]
    others = {major for major in majors.values() if major and major != wanted}
    if len(fitting) > 1:
        raise Problem(
            f"database not started, PostgreSQL {wanted}: {' and '.join(fitting)} both hold its data, and the one that "
            "was in use must be the only one",
            # Which one was in use only `state/` knew; a hint that deletes one could be the loss of all data.
            "docker volume inspect --format '{{.CreatedAt}} {{.Name}}' " + " ".join(fitting),
            USAGE,
        )
    if fitting and fitting[0] != default_volume(deployment):
        make_folder(deployment.state, 0o700)
        make_folder(deployment.applied, 0o755)
        write_file(deployment.applied / DATABASE_VOLUME, fitting[0].encode() + b"\n", 0o444)
    if others and not fitting:
        raise other_major_problem(deployment, f"PostgreSQL {max(others, key=int)}")


def applied_facts(deployment: Deployment) -> Optional[Dict[str, Any]]:
    """Return the applied deployment.json, or None if nothing (readable) is applied."""
    try:
        facts = json.loads((deployment.applied / "deployment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def is_unknown_data(deployment: Deployment) -> bool:
    """Return whether there is data, and nothing applied says of which release: `state/` was lost, or is new on this machine."""
    return applied_facts(deployment) is None and has_data(deployment)


def other_major_problem(deployment: Deployment, found: str) -> Problem:
    """Return the sentence for a data folder of another PostgreSQL major; `found` is such as `PostgreSQL 16`."""
    rendered, major = str(deployment.facts["database"]["version"]), found.rpartition(" ")[2]
    newer = major.isdigit() and int(major) > int(rendered)
    return Problem(
        f"database not started, PostgreSQL {rendered}: its data folder is of {found}",
        # Majors only go up.
        f"copier update --trust --defaults --data database_version={major}" if newer else "make database-upgrade",
        USAGE,
    )


def has_data(deployment: Deployment) -> bool:
    """Return whether the database's volume exists; an external database always counts as holding data."""
    return not deployment.bundled_database or bool(data_volume(deployment))


def data_volume(deployment: Deployment) -> str:
    """Return the name of the volume that holds the database's data, or an empty text if it does not exist."""
    chosen = chosen_volume(deployment)
    return chosen if chosen in database_volumes(deployment) else ""


def chosen_volume(deployment: Deployment) -> str:
    """Return the name of the volume in use: Compose's own for `database`, unless a database-upgrade has made another."""
    try:
        name = (deployment.applied / DATABASE_VOLUME).read_text(encoding="utf-8").strip()
    except OSError:
        name = ""
    return name or default_volume(deployment)


def default_volume(deployment: Deployment) -> str:
    """Return the name that Compose gives the volume `database`."""
    return f"{deployment.name}_database"


def database_volumes(deployment: Deployment) -> List[str]:
    """Return every volume that holds or held this database, those that a database-upgrade left included."""
    project = f"label=com.docker.compose.project={deployment.name}"
    volume = "label=com.docker.compose.volume=database"
    result = engine.docker(["volume", "ls", "--quiet", "--filter", project, "--filter", volume])
    return sorted(result.stdout.split())


def data_major(deployment: Deployment, volume: str) -> str:
    """Return the PostgreSQL major of the data in a volume; an empty text if there is none, or no image here to look with."""
    image = str(deployment.facts["images"]["clair-database"])
    words = ["run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--user", "999:999"]
    words += ["--volume", f"{volume}:/data:ro", "--entrypoint", "bash", image, "-c", _READ_MAJOR]
    result = engine.docker(words, check=False, timeout_seconds=120)
    majors = re.findall(r"^\d+$", result.stdout, re.MULTILINE)
    return max(majors, key=int, default="")
