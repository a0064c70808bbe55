"""What the live tests are made of: the engine, the images, and a rendered deployment.

Every deployment is named `clairtest-...`, publishes on loopback only, and is removed by the fixture that made it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doubles.images.build import ImageReport, ensure
from tests.support import copier_runs
from tests.support.places import ROOT

__all__ = [
    "PROJECT",
    "Deployment",
    "Engine",
    "EngineMissing",
    "Images",
    "find_engine",
    "render_deployment",
]

PROJECT = ROOT
COMPOSE_MINIMUM = (2, 20)
COMMAND_SECONDS = 300.0

_GUESTS = "{{range $id, $_ := .Containers}}{{$id}} {{end}}"


class EngineMissing(Exception):
    """There is no usable Docker on this machine; the text says in one line what is missing."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers, and its versions."""

    version: str
    compose_version: str

    def docker(self, *arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGUMENTS` for at most COMMAND_SECONDS; with `check`, a failure shows what Docker said."""
        return _run([*_docker(), *arguments], check=check, stdin=stdin)


def find_engine() -> Engine:
    """Return the engine of this machine. Raises EngineMissing."""
    version = _first_line([*_docker(), "info", "--format", "{{.ServerVersion}}"])
    compose = _first_line([*_docker(), "compose", "version", "--short"])
    found = tuple(int(number) for number in re.findall(r"\d+", compose)[:2])
    if found < COMPOSE_MINIMUM:
        raise EngineMissing(f"live tests need Docker Compose {'.'.join(map(str, COMPOSE_MINIMUM))}, found {compose!r}")
    return Engine(version, compose)


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EngineMissing(f"live tests need Docker, {shlex.join(command[:2])}: {reason}") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise EngineMissing(f"live tests need Docker, {shlex.join(command[:2])}: {reason}")
    return done.stdout.strip().splitlines()[0]


@dataclass
class Images:
    """The images that the live tests of this run used, real or made."""

    reports: dict[str, ImageReport] = field(default_factory=dict)

    def ensure(self, *references: str) -> None:
        """Make each image available locally. Raises ImageError."""
        for reference in references:
            if reference not in self.reports:
                self.reports[reference] = ensure(reference)

    def is_real(self, reference: str) -> bool:
        """Return whether `reference`, which must have been ensured, is the published image."""
        return self.reports[reference].kind == "real"


@dataclass(frozen=True)
class Deployment:
    """A rendered repository with a name and ports of its own."""

    root: Path
    name: str
    edge_port: int
    operations_port: int
    engine: Engine

    @property
    def facts(self) -> dict[str, Any]:
        """The rendered ops/deployment.json."""
        parsed: dict[str, Any] = json.loads((self.root / "ops" / "deployment.json").read_text(encoding="utf-8"))
        return parsed

    @property
    def edge_url(self) -> str:
        """Where clients reach Clair, without a slash at the end."""
        scheme = "http" if self.facts["edge"]["tls"] == "off" else "https"
        return f"{scheme}://127.0.0.1:{self.edge_port}"

    @property
    def operations_url(self) -> str:
        """Where Clair's whole API is, for this machine only."""
        return f"http://127.0.0.1:{self.operations_port}"

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `./clair ARGUMENTS` in the repository; with `check`, a failure shows both outputs."""
        return _run(["./clair", *arguments], check=check, cwd=self.root, environment=environment)

    def make(self, target: str, *variables: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `make TARGET NAME=value ...` in the repository."""
        return _run(["make", "--no-print-directory", target, *variables], check=check, cwd=self.root)

    def container(self, service: str, replica: int = 1) -> str:
        """Return the id of the container of a Compose service. Raises AssertionError if there is none."""
        found = self.engine.docker(
            "ps", "--all", "--quiet",
            "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service={service}",
            "--filter", f"label=com.docker.compose.container-number={replica}",
            "--filter", "label=com.docker.compose.oneoff=False",
        ).stdout.split()  # fmt: skip
        assert len(found) == 1, f"{service} has {len(found)} containers in {self.name}"
        return found[0]

    def logs(self, service: str, lines: int = 200) -> str:
        """Return the last lines that a service wrote to either output."""
        done = self.engine.docker("logs", "--tail", str(lines), self.container(service))
        return done.stdout + done.stderr

    def execute(self, service: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside the container of a service."""
        return self.engine.docker("exec", self.container(service), *command, check=check)

    def psql(self, database: str, statement: str) -> list[list[str]]:
        """Run one SQL statement as the superuser over the bundled database's own socket; return rows of text."""
        done = self.execute("clair-database", "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--field-separator",
                            "\t", "--set", "ON_ERROR_STOP=1", "--username", "postgres", "--dbname", database,
                            "--command", statement)  # fmt: skip
        return [line.split("\t") for line in done.stdout.splitlines()]

    def all_logs(self, lines: int = 40) -> str:
        """Return the last lines of every container, for a person who reads why a test failed."""
        listing = self._project_objects("ps", "--all", "--format", "{{.Names}} {{.Status}}")
        parts = []
        for container in listing:
            done = self.engine.docker("logs", "--tail", str(lines), container.split()[0], check=False)
            parts.append(f"--- {container}\n{done.stdout}{done.stderr}")
        return "\n".join(parts)

    def remove(self) -> None:
        """Remove every container, network and volume of this deployment, whatever state it is in."""
        containers = self._project_objects("ps", "--all", "--quiet")
        if containers:
            self.engine.docker("rm", "--force", "--volumes", *containers)
        for network in self._project_objects("network", "ls", "--quiet"):
            # A registry that joined keeps the network in use.
            guests = self.engine.docker("network", "inspect", "--format", _GUESTS, network).stdout.split()
            for guest in guests:
                self.engine.docker("network", "disconnect", "--force", network, guest)
            self.engine.docker("network", "rm", network)
        volumes = self._project_objects("volume", "ls", "--quiet")
        if volumes:
            self.engine.docker("volume", "rm", "--force", *volumes)

    def _project_objects(self, *command: str) -> list[str]:
        label = f"label=com.docker.compose.project={self.name}"
        return self.engine.docker(*command, "--filter", label).stdout.splitlines()


def render_deployment(template: Path, destination: Path, engine: Engine, answers: Mapping[str, Any]) -> Deployment:
    """Render `template` in this process with free ports and a name that no other deployment has."""
    with ExitStack() as held:
        # Both listeners are open at once, so that the two ports differ.
        ports = []
        for _ in range(2):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
    asked = {
        "deployment_name": f"clairtest-{secrets.token_hex(4)}",
        "edge_port": ports[0],
        "operations_port": ports[1],
        **answers,
    }
    copier_runs.copy(template, destination, asked)
    return Deployment(destination, asked["deployment_name"], asked["edge_port"], asked["operations_port"], engine)


def _docker() -> list[str]:
    return shlex.split(os.environ.get("DOCKER") or "docker")


def _run(
    command: Sequence[str],
    check: bool,
    cwd: Path | None = None,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, input=stdin, env={**os.environ, **(environment or {})},
                          capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)  # fmt: skip
    shown = f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert not check or done.returncode == 0, shown
    return done
