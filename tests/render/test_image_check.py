"""image_check asks each registry once, only for the project being written, and only when asked to."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import repositories
from tests.support.copier_runs import refusal_of_copy, refusal_of_update
from tests.support.projects import Project

CHECKED = {"architecture": "arm64", "image_check": "true"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a Docker SDK into place whose registry has everything; the list of the images it is asked for."""
    asked: list[str] = []

    class Client:
        @property
        def images(self) -> Any:
            return self

        def ping(self) -> None: ...

        def get_registry_data(self, image: str) -> Any:
            asked.append(image)
            return self

        def has_platform(self, platform: str) -> bool:
            return platform == "linux/arm64"

    docker, errors = ModuleType("docker"), ModuleType("docker.errors")
    docker.from_env = lambda timeout: Client()  # type: ignore[attr-defined]
    docker.errors = errors  # type: ignore[attr-defined]
    errors.DockerException = errors.NotFound = OSError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "docker", docker)
    monkeypatch.setitem(sys.modules, "docker.errors", errors)
    return asked


def test_every_image_is_asked_for_once(template: Path, tmp_path: Path, asked: list[str]) -> None:
    assert refusal_of_copy(template, tmp_path / "new", CHECKED) == ""

    assert asked == sorted(set(Project(tmp_path / "new").facts["images"].values()))


def test_update_asks_once_and_not_for_the_renders_it_compares(
    tagged_template: Path, tmp_path: Path, asked: list[str]
) -> None:
    project = repositories.project(tagged_template, tmp_path / "project", CHECKED)
    asked.clear()

    assert refusal_of_update(project) == ""

    assert asked == sorted(set(Project(project).facts["images"].values()))


def test_nothing_is_asked_by_default(template: Path, tmp_path: Path, asked: list[str]) -> None:
    assert refusal_of_copy(template, tmp_path / "new", {"architecture": "arm64"}) == ""

    assert asked == []


def test_missing_image_is_refused_before_anything_is_written(template: Path, tmp_path: Path, asked: list[str]) -> None:
    refusal = refusal_of_copy(template, tmp_path / "new", {**CHECKED, "architecture": "amd64"})

    assert refusal.startswith("image_check 'true': docker.io/library/postgres:")
    assert refusal.endswith(" has no image for amd64: choose another architecture or clair_version.")
    assert not (tmp_path / "new").exists()
