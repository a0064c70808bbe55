"""Fixtures: a copy of a rendered project, the fake docker, and `./clair` run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ops.settings import Deployment, load_deployment

from tests.conftest import Render
from tests.ops.lifecycle.fake_docker import FakeDocker
from tests.support.places import copy_commands

EVERYTHING = ("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Clair:
    """A rendered project of one test, and its commands."""

    folder: Path
    docker: FakeDocker
    environment: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022

    def __call__(self, *args: str, **environment: str) -> Result:
        """Run `./clair ARGS` with variables in its environment."""
        # Not the script itself: its python3 is whatever the machine has.
        result = subprocess.run(
            [sys.executable, "-s", "-m", "ops", *args],
            cwd=self.folder,
            env={**os.environ, **self.environment_of_a_command(), **environment},
            capture_output=True,
            text=True,
            umask=self.umask,
            check=False,
        )
        return Result(result.returncode, result.stdout, result.stderr)

    def environment_of_a_command(self) -> dict[str, str]:
        """Return the variables that make a command use the fake Docker."""
        fixed = {"DOCKER": str(self.docker.path), "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**fixed, **self.environment}

    @property
    def deployment(self) -> Deployment:
        """The rendered deployment."""
        return load_deployment(self.folder, applied=False)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the operator."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.chmod(0o644)
        target.write_text(text, encoding="utf-8")
        return target

    def change_facts(self, **changes: Any) -> None:
        """Change top-level values of ops/deployment.json."""
        path = self.folder / "ops" / "deployment.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**facts, **changes}), encoding="utf-8")


@pytest.fixture
def clair_of(render: Render, tmp_path: Path) -> Iterator[Callable[[str], Clair]]:
    """Return a function that copies the project of an answer file for this test."""

    def make(answers: str) -> Clair:
        folder = tmp_path / "my-clair"
        shutil.copytree(render(answers).folder, folder)
        copy_commands(folder)  # rendered without them: they are the same in every project
        fake = tmp_path / "fake"
        fake.mkdir()
        clair = Clair(folder, FakeDocker(fake))
        facts = clair.deployment.facts
        # The tests run on any machine, and on one where a deployment may be running.
        clair.change_facts(
            architecture="amd64",
            edge={**facts["edge"], "port": _free_port(), "operations_port": _free_port()},
        )
        return clair

    yield make
    # pytest deletes old temporary folders only if it may enter them.
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)


@pytest.fixture
def clair(clair_of: Callable[[str], Clair]) -> Clair:
    """A project of nothing but defaults."""
    return clair_of("defaults")


@pytest.fixture
def started(clair: Clair) -> Clair:
    """A project whose containers come up healthy."""
    comes_up(clair)
    return clair


def comes_up(clair: Clair, *services: str) -> None:
    """Make the fake show these services, by default all, healthy once Compose was asked to start something."""
    clair.docker.containers()
    clair.docker.healthy(*(services or EVERYTHING), after=r"\bup --detach")
    clair.docker.stored_passwords("postgres -", "indexer -", "matcher -", "notifier -", "ledger -")
    clair.docker.migrations(indexer=0, matcher=0, notifier=0)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
