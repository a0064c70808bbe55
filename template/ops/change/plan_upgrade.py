"""The plan of an upgrade: what it changes, what it needs, how long each service is away. Pure; `read_plan` asks the machine.

Only deployment.json decides what a release needs, so that no version is compared here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..clair.run_clairctl import size
from ..errors import USAGE, Problem
from ..lifecycle.read_schema import Schema
from ..state.build_parts import CLAIR_SERVICES

# In data-flow order, the database first: each is healthy before the next.
ORDER = ("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")


@dataclass(frozen=True)
class Step:
    """One step beside the migrations: of `clairctl admin`, before (`pre`) or after (`post`), or a repair."""

    when: str
    name: str
    service: str
    does: str
    sql: str = ""


@dataclass(frozen=True)
class Away:
    """How long a service is expected to be away, in words; `changes` says whether its container is replaced at all."""

    service: str
    replicas: int
    changes: bool
    downtime: str


@dataclass(frozen=True)
class Disk:
    """Bytes that are needed at most in a place, and bytes that are free there; None where that cannot be seen from here."""

    place: str
    needed_bytes: int
    free_bytes: Optional[int]


@dataclass(frozen=True)
class Plan:
    """What `upgrade` will do. `schema` is service: (now, after)."""

    deployment_name: str
    from_release: str
    to_release: str
    schema: Dict[str, Tuple[int, int]]
    steps: List[Step]
    images: Dict[str, bool]
    services: List[Away]
    disk: List[Disk]

    def as_dict(self) -> Dict[str, Any]:
        """Return the plan for `--json`."""
        return {
            "format": 1,
            "deployment_name": self.deployment_name,
            "from": self.from_release,
            "to": self.to_release,
            "schema": {name: {"from": now, "to": after} for name, (now, after) in self.schema.items()},
            "steps": [{key: value for key, value in asdict(step).items() if value} for step in self.steps],
            "images": [{"image": image, "present": present} for image, present in self.images.items()],
            "services": [asdict(away) for away in self.services],
            "disk": [asdict(disk) for disk in self.disk],
        }


def upgrade_problem(applied: Mapping[str, Any], rendered: Mapping[str, Any]) -> Optional[Problem]:
    """Return why no upgrade leads from what is applied to what is rendered, or None.

    An older release is `refuse_change.older_release_problem`'s.
    """
    before, after = applied.get("database", {}), rendered["database"]
    name = rendered["deployment_name"]
    if applied.get("deployment_name") != name:
        was = applied.get("deployment_name")
        return Problem(
            f"not upgraded, {name}: the applied state is of {was}",
            f"copier update --trust --defaults --data deployment_name={was}",
            USAGE,
        )
    if before.get("mode") != after["mode"]:
        return Problem(
            f"not upgraded, {name}: database_mode changes with the release, from {before.get('mode')} to {after['mode']}",
            f"copier update --trust --defaults --data database_mode={before.get('mode')}",
            USAGE,
        )
    if after["mode"] == "bundled" and before.get("version") != after["version"]:
        return Problem(
            f"not upgraded, {name}: PostgreSQL changes with the release, from {before.get('version')} to {after['version']}, "
            "and one thing at a time has a way back",
            f"copier update --trust --defaults --data database_version={before.get('version')}",
            USAGE,
        )
    return None


def make_plan(
    applied: Mapping[str, Any],
    rendered: Mapping[str, Any],
    schemas: Mapping[str, Schema],
    *,
    images: Mapping[str, bool],
    changed: Mapping[str, bool],
    disk: List[Disk],
) -> Plan:
    """Return the plan. `images`: whether each is on this host; `changed`: whether each service's container is replaced."""
    release = rendered["release"]
    schema = {
        name: (found.version, int(release["schema"][name]))
        for name, found in schemas.items()
        if name in release["schema"]
    }
    return Plan(
        deployment_name=str(rendered["deployment_name"]),
        from_release=str(applied["clair_release"]),
        to_release=str(rendered["clair_release"]),
        schema=schema,
        steps=needed_steps(release, {name: found.version for name, found in schemas.items()}),
        images=dict(images),
        services=[
            _away(name, applied, rendered, schema, changed.get(name, True))
            for name in ORDER
            if name in rendered["services"]
        ],
        disk=disk,
    )


def needed_steps(release: Mapping[str, Any], schema: Mapping[str, int]) -> List[Step]:
    """Return the steps that have something to do for databases that stand at `schema`, in their order.

    A release also knows steps that prepare the migration of a later one: they are that upgrade's, right before it.
    """
    steps = []
    for when in ("pre", "post"):
        for step in release.get("admin", {}).get(when, ()):
            reached = release["schema"][step["service"]]
            if schema.get(step["service"], step["below"]) < step["below"] <= reached:
                steps.append(Step(when, str(step["version"]), str(step["service"]), str(step["does"])))
    for step in release.get("repairs", ()):
        if 0 < schema.get(step["service"], step["below"]) < step["below"]:
            steps.append(Step("repair", str(step["name"]), str(step["service"]), str(step["does"]), str(step["sql"])))
    return steps


def rolls_without_gap(service: str, applied: Mapping[str, Any], rendered: Mapping[str, Any]) -> bool:
    """Return whether a service has several replicas before and after, so that one can answer while others are replaced."""
    counts = {int(facts["services"].get(service, {}).get("replicas", 1)) for facts in (applied, rendered)}
    return service in CLAIR_SERVICES and len(counts) == 1 and counts.pop() > 1


def _away(
    service: str,
    applied: Mapping[str, Any],
    rendered: Mapping[str, Any],
    schema: Mapping[str, Tuple[int, int]],
    changes: bool,
) -> Away:
    replicas = int(rendered["services"][service].get("replicas", 1))
    now, after = schema.get(service, (0, 0))
    migrations = f" and {after - now} migration{'s' if after - now > 1 else ''}" if after > now else ""
    if not changes:
        downtime = "none, it stays as it is"
    elif rolls_without_gap(service, applied, rendered):
        downtime = f"none for reads, its {replicas} replicas are replaced while another answers{', after' + migrations[4:] if migrations else ''}"
    elif service == "clair-database":
        downtime = "a restart of PostgreSQL, for all services"
    elif service == "traefik":
        downtime = "a restart of the edge, about 2 s, for all services"
    else:
        downtime = f"a restart, about 5 s{migrations}"
    return Away(service, replicas, changes, downtime)


def lines(plan: Plan) -> List[str]:
    """Return the plan for a person."""
    told = [f"upgrade of {plan.deployment_name}: Clair {plan.from_release} to {plan.to_release}"]
    for name, (now, after) in plan.schema.items():
        told.append(f"schema    {name}: " + (f"{now} to {after}" if after != now else f"stays at {now}"))
    for step in plan.steps:
        where = f"with the {step.service}'s config"
        what = (
            f"clairctl admin {step.when} {step.name}, {where}"
            if step.when != "repair"
            else f"repair, in the {step.service}'s database"
        )
        told.append(f"step      {what}: {step.does}")
    if not plan.steps:
        told.append("step      none beside the migrations")
    told += [f"image     {image}: {'here' if here else 'is pulled'}" for image, here in plan.images.items()]
    told += [f"downtime  {away.service}: {away.downtime}" for away in plan.services]
    for disk in plan.disk:
        free = "free space unknown" if disk.free_bytes is None else f"{size(disk.free_bytes)} free"
        scarce = disk.free_bytes is not None and disk.free_bytes < disk.needed_bytes
        told.append(
            f"disk      {disk.place}: at most {size(disk.needed_bytes)}, {free}{', which may be too little' if scarce else ''}"
        )
    told.append("writes    POST and DELETE are answered 503 with Retry-After from the backup until all is verified")
    return told
