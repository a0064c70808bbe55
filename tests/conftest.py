"""Fixtures of every test folder: the template as it stands, projects rendered from it, the catalogue."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from extensions.catalogue import Catalogue, load_catalogue
from tests.support import answers as answer_files
from tests.support import copier_runs, facts, repositories
from tests.support.places import DATA, copy_template
from tests.support.projects import Project
from tests.support.quick_copier import quick_copier

Render = Callable[[str | Mapping[str, Any]], Project]

# No deadline: a busy machine is no failure. Enough examples to find what one character does, few enough to run at every save.
# The same examples in every run, so that a failure is one of this change; `--hypothesis-profile=search` looks for new ones.
settings.register_profile("project", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden, which writes the golden trees anew instead of comparing."""
    parser.addoption("--update-golden", action="store_true", help="write tests/render/golden anew, for review")


# A shell that runs the tests in the background ignores Ctrl-C for them, and every program they start would inherit that: the
# tests that send it could not see it work.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own Copier settings and git configuration out of every test."""
    file = tmp_path_factory.mktemp("copier") / "settings.yml"
    file.write_text("{}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(file))
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)  # inside a git hook they name the repository that is being committed to
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_renders() -> Iterator[None]:
    """Copier runs in this process take half the time."""
    with quick_copier():
        yield


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The facts of extensions/data, as the rules get them."""
    return load_catalogue(DATA)


@pytest.fixture(scope="session")
def releases() -> list[str]:
    """Every supported Clair release, oldest first, read from the catalogue."""
    return facts.releases()


@pytest.fixture(scope="session")
def whole_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it stands in the working tree, outside git."""
    return copy_template(tmp_path_factory.mktemp("template") / "clair")


@pytest.fixture(scope="session")
def template(whole_template: Path) -> Path:
    """The template as it stands in the working tree, outside git; tests/render has a quicker one under this name."""
    return whole_template


@pytest.fixture(scope="session")
def tagged_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a git repository with the one tag v1.0.0; tests that change it take a copy."""
    return repositories.template_repository(tmp_path_factory.mktemp("template") / "clair-git")


@pytest.fixture(scope="session")
def quick_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without the commands' Python files, which are the same in every project and most of a render's time."""
    return copy_template(tmp_path_factory.mktemp("template") / "clair-quick", commands=False)


@pytest.fixture(scope="session")
def render(quick_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render answers, or an answer file by its name, once per session and without the commands; the result is only read."""
    rendered: dict[str, Project] = {}

    def project(answers: str | Mapping[str, Any]) -> Project:
        chosen = answer_files.named(answers) if isinstance(answers, str) else dict(answers)
        key = json.dumps(chosen, sort_keys=True)
        if key not in rendered:
            folder = tmp_path_factory.mktemp("rendered") / "project"
            rendered[key] = Project(copier_runs.copy(quick_template, folder, chosen))
        return rendered[key]

    return project


@pytest.fixture(scope="session")
def rendered_default(whole_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A whole project of nothing but defaults; it is only read."""
    return Project(
        copier_runs.copy(whole_template, tmp_path_factory.mktemp("whole") / "project", answer_files.named("defaults"))
    )
