"""How long `make up` takes on empty volumes, against `docker compose up --wait` of a bare Compose file.

The bare file has the same images, services, mounts, health checks, start order and limits. Its database makes roles and
passwords the way images offer: a script in /docker-entrypoint-initdb.d. So what differs is what `make up` does beside:
creating secrets, checking the host, assembling what containers mount, progress.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.engine import compose, free_ports, remove_project
from bench.measure import Row, alternate, call, note, timed_call
from bench.project import render, with_interpreter

__all__ = ["measure"]

RUNS = 3
OURS, BARE = "clair-bench-up", "clair-bench-bare"
INIT_FOLDER = "/docker-entrypoint-initdb.d"


def passwords_script(project: Path) -> str:
    """Return the SQL that gives each role the password of its secret."""
    roles = [path.name.removeprefix("database-") for path in sorted((project / "secrets").glob("database-*"))]
    statements = [
        f"ALTER ROLE {role} PASSWORD '{(project / 'secrets' / f'database-{role}').read_text(encoding='utf-8').strip()}';"
        for role in roles
        if role != "superuser"
    ]
    return "\n".join(["\\connect postgres", *statements, ""])


def bare_model(model: Mapping[str, Any], name: str, ports: list[int], init: Path) -> dict[str, Any]:
    """Return a Compose file like `model`, under another name, on other ports, with a database that sets itself up."""
    bare: dict[str, Any] = json.loads(json.dumps(model))
    bare["name"] = name
    for kind in ("networks", "volumes"):
        for entry in bare.get(kind, {}).values():
            entry.pop("name", None)
    for service_name, service in bare["services"].items():
        service["container_name"] = f"{name}-{service_name}"
        service.pop("labels", None)
        for port in service.get("ports", []):
            port["published"] = str(ports.pop())
    bare["services"]["clair-database"]["volumes"].append(
        {"type": "bind", "source": str(init), "target": INIT_FOLDER, "read_only": True}
    )
    return bare


def measure() -> list[Row]:
    """Return the row of `make up`."""
    note("start: make up on empty volumes (about a minute)")
    ports = free_ports(4)
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name)
        answers = {"deployment_name": OURS, "edge_port": ports[0], "operations_port": ports[1]}
        project = render(folder / "project", answers)
        bare = folder / "bare.json"

        def ours() -> float:
            remove_project(OURS)
            for made in ("state", "secrets"):
                shutil.rmtree(project / made, ignore_errors=True)
            seconds = timed_call(["make", "-C", project, "up"], environment={"ALLOW_SMALL": "1", **with_interpreter()})
            write_bare(project, bare, ports[2:])
            remove_project(OURS)
            return seconds

        def floor() -> float:
            remove_project(BARE)
            seconds = timed_call(compose("--file", str(bare), "up", "--detach", "--wait"))
            remove_project(BARE)
            return seconds

        try:
            pair = alternate(RUNS, ours, floor, warm_up=False)
        finally:
            remove_project(OURS)
            remove_project(BARE)
    return [pair.row("`make up` on empty volumes to `docker compose up --wait` of a bare Compose file", "<= 1.3")]


def write_bare(project: Path, target: Path, ports: list[int]) -> None:
    """Write the bare Compose file for what `project` has applied just now."""
    init = target.with_name("init")
    init.mkdir(exist_ok=True)
    for path, text in (
        (init / "10-setup.sql", (project / "database" / "setup.sql").read_text(encoding="utf-8")),
        (init / "20-passwords.sql", passwords_script(project)),
    ):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    for path in (init, init.parent):
        path.chmod(0o755)
    applied = project / "state" / "applied"
    model = json.loads(
        call(
            compose(
                *("--project-directory", str(project), "--env-file", str(applied / "env")),
                *("--file", str(applied / "compose.yaml"), "config", "--format", "json"),
            )
        )
    )
    target.write_text(json.dumps(bare_model(model, BARE, list(ports), init)), encoding="utf-8")
