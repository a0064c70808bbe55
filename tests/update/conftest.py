"""Fixtures of the update tests: two versions of the template, told apart by a file that only the second one renders.

The whole template takes twice as long as one without the commands' Python files, which Copier copies like any static file: it is
used where commands run, and once per released version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ops.lifecycle.conftest import EVERYTHING, Clair
from tests.ops.lifecycle.fake_docker import FakeDocker
from tests.support import answers as answer_files
from tests.support import repositories, updates
from tests.support.places import copy_commands
from tests.support.projects import Project

NewProject = Callable[..., Path]
Renewed = Callable[[str], Project]


def versions_of(folder: Path, commands: bool) -> Path:
    """Make a template with the tags v1.0.0 and v2.0.0; v2.0.0 knows a newer Clair and renders one file more."""
    repositories.template_repository(folder, commands)
    updates.add_release(folder)
    updates.add_sentinel(folder)
    repositories.commit(folder, "a newer Clair", "v2.0.0")
    return folder


@pytest.fixture(scope="session")
def whole_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole template with the tags v1.0.0 and v2.0.0; only read."""
    return versions_of(tmp_path_factory.mktemp("versions") / "clair", commands=True)


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without the commands, with the tags v1.0.0 and v2.0.0; only read."""
    return versions_of(tmp_path_factory.mktemp("versions") / "clair", commands=False)


@pytest.fixture
def next_version(two_versions: Path, tmp_path: Path) -> Path:
    """A copy of the two versions, for a test that adds a third."""
    return repositories.clone_of(two_versions, tmp_path / "template")


@pytest.fixture
def old_project(two_versions: Path, tmp_path: Path) -> NewProject:
    """Make a committed project of version v1.0.0, or another one, with these answers."""

    def make(answers: Mapping[str, Any] | None = None, template: Path = two_versions, vcs_ref: str = "v1.0.0") -> Path:
        return repositories.project(
            template, tmp_path / "project", {"architecture": "amd64", **(answers or {})}, vcs_ref=vcs_ref
        )

    return make


@pytest.fixture(scope="session")
def renewed(two_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Renewed:
    """Return the project of an answer file after its update from v1.0.0 to v2.0.0, once per session; it is only read."""
    made: dict[str, Project] = {}

    def make(name: str) -> Project:
        if name not in made:
            folder = tmp_path_factory.mktemp("renewed") / "project"
            project = repositories.project(two_versions, folder, answer_files.named(name), vcs_ref="v1.0.0")
            made[name] = updates.updated(project)
        return made[name]

    return make


def commands_of(project: Path, folder: Path) -> Clair:
    """Return `./clair` of a project with a Docker that runs nothing; a project without the commands gets them."""
    if not (project / "ops" / "__main__.py").exists():
        copy_commands(project)
    fake = folder / "fake"
    fake.mkdir()
    return Clair(project, FakeDocker(fake))


def pretend_applied(clair: Clair, release: Mapping[str, Any]) -> None:
    """Let a project look as if these facts of a release had been applied, and hold data."""
    facts = json.loads((clair.folder / "ops" / "deployment.json").read_text(encoding="utf-8"))
    clair.write("state/applied/deployment.json", json.dumps({**facts, **release}))
    clair.docker.on(r"^volume ls", f"{facts['deployment_name']}_database\n")
    clair.docker.healthy(*EVERYTHING)
