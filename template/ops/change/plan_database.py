"""Plans a change of the PostgreSQL major: what refuses it, which volumes, how much disk; asks Docker, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from ..clair.run_clairctl import size
from ..errors import Problem
from ..host import engine
from ..lifecycle.read_schema import Schema
from ..lifecycle.start_database import SERVICE
from ..settings import Deployment
from ..state.refuse_change import chosen_volume, data_major, database_volumes
from .free_space import backups_place, docker_folder, free_bytes
from .plan_upgrade import Disk


@dataclass(frozen=True)
class Plan:
    """What `database-upgrade` will do."""

    deployment_name: str
    from_major: str
    to_major: str
    from_image: str
    to_image: str
    old_volume: str
    new_volume: str
    databases: Dict[str, int]
    disk: List[Disk]


def refusal(
    applied: Optional[Mapping[str, Any]], rendered: Mapping[str, Any], left_major: str = ""
) -> Optional[Problem]:
    """Return why no database-upgrade leads from what is applied to what is rendered, or None.

    `left_major`: where nothing is applied, the major of the data that is there all the same, or an empty text.
    """
    name, after = rendered["deployment_name"], rendered["database"]
    if applied is None and not left_major:
        return Problem(f"no database-upgrade, {name}: it was never started", "make up")
    if applied is None:
        return Problem(
            f"no database-upgrade, {name}: state/ is lost, and with it how the server of PostgreSQL {left_major} was started",
            f"copier update --trust --defaults --data database_version={left_major}",
        )
    if applied.get("deployment_name") != name:
        was_named = applied.get("deployment_name")
        return Problem(
            f"no database-upgrade, {name}: the applied state is of {was_named}",
            f"copier update --trust --defaults --data deployment_name={was_named}",
        )
    before = applied.get("database", {})
    if before.get("mode") != "bundled" or after["mode"] != "bundled":
        return Problem(f"no database-upgrade, {name}: its database is external", "change it where it runs")
    was, now = str(before.get("version")), str(after["version"])
    if was != now and applied.get("clair_release") != rendered["clair_release"]:
        return Problem(
            f"no database-upgrade, {name}: Clair changes as well, from {applied.get('clair_release')} to "
            f"{rendered['clair_release']}, and one thing at a time has a way back",
            f"copier update --trust --defaults --data clair_version={applied.get('clair_release')}",
        )
    if was != now and applied.get("notifier_delivery") != "none" and rendered.get("notifier_delivery") == "none":
        return Problem(
            f"no database-upgrade, {name}: the notifier is taken out as well, and its database would be left behind",
            f"copier update --trust --defaults --data notifier_delivery={applied.get('notifier_delivery')}",
        )
    if int(now) < int(was):
        return Problem(
            f"no database-upgrade, {name}: PostgreSQL {was} is applied and {now} is rendered, and majors only go up",
            f"copier update --trust --defaults --data database_version={was}",
        )
    return None


def left_major_of(deployment: Deployment) -> str:
    """Return the newest major of the data in this deployment's volumes, or an empty text."""
    if not deployment.bundled_database:
        return ""
    return max((data_major(deployment, volume) for volume in database_volumes(deployment)), key=_number, default="")


def _number(text: str) -> int:
    return int(text or 0)


def places(backups: Path, docker: Optional[Path], databases_bytes: int) -> List[Disk]:
    """Return what is needed where: the dump in `backups`, the new data on Docker's disk; once if it is one disk."""
    same = docker is not None and docker.stat().st_dev == backups.stat().st_dev
    if same:
        return [Disk("backups/ and Docker's disk, the dump and the new data", 2 * databases_bytes, free_bytes(backups))]
    free = free_bytes(docker) if docker else None
    return [
        Disk("backups/, the dump", databases_bytes, free_bytes(backups)),
        Disk(f"{docker or 'Docker disk'}, the new data", databases_bytes, free),
    ]


def free_volume(deployment: Deployment, major: str, existing: List[str]) -> str:
    """Return a name for the new volume that no other has."""
    name, number = f"{deployment.name}_database-{major}", 2
    while name in existing:
        name, number = f"{deployment.name}_database-{major}-{number}", number + 1
    return name


def make_plan(old: Deployment, new: Deployment, schemas: Mapping[str, Schema]) -> Plan:
    """Return the plan; asks Docker for volumes and disk."""
    sizes = {name: found.size_bytes for name, found in schemas.items()}
    volumes = engine.docker(["volume", "ls", "--quiet"], timeout_seconds=60).stdout.split()
    return Plan(
        deployment_name=new.name,
        from_major=str(old.facts["database"]["version"]),
        to_major=str(new.facts["database"]["version"]),
        from_image=str(old.facts["images"][SERVICE]),
        to_image=str(new.facts["images"][SERVICE]),
        old_volume=chosen_volume(old),
        new_volume=free_volume(new, str(new.facts["database"]["version"]), volumes),
        databases=sizes,
        disk=places(backups_place(new), docker_folder(), sum(sizes.values())),
    )


def lines(plan: Plan) -> List[str]:
    """Return the plan for a person."""
    held = ", ".join(f"{name} {size(found)}" for name, found in plan.databases.items())
    text = [
        f"plan for {plan.deployment_name}: PostgreSQL {plan.from_major} to {plan.to_major}",
        f"images    {plan.from_image} to {plan.to_image}",
        f"data      {held}",
        f"volumes   {plan.old_volume} is kept as it is, {plan.new_volume} is new",
        "downtime  everything but the edge, while the dump is loaded; scans are answered 503 from the dump on",
        "way back  ./clair rollback, to the old volume; what comes in after this is not in it",
    ]
    for place in plan.disk:
        free = "unknown" if place.free_bytes is None else f"{size(place.free_bytes)} free"
        text.append(f"disk      {place.place}: at most {size(place.needed_bytes)}, {free}")
    return text
