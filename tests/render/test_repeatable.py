"""The same answers make the same files, which anybody may read and which hold no secret."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.support import answers as answer_files
from tests.support.clair_config import KEY_MATERIAL
from tests.support.copier_runs import copy
from tests.support.projects import Project

# Words that a secret would stand behind; a rendered file may name a password's file, never a password.
ASSIGNED = re.compile(r"(?i)(password|passwd|secret|token|psk|api_?key)\b\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{6,}")
TRAEFIK_DIGEST = re.compile(r"\[0-9a-f\]\{(64|128)\}")


@pytest.fixture
def umask_077() -> Iterator[None]:
    """Create files as a user does whose umask lets nobody else read."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", ["offline", "everything"])
def test_two_renders_are_byte_identical(template: Path, render: Render, tmp_path: Path, name: str) -> None:
    again = Project(copy(template, tmp_path / "again", answer_files.named(name)))

    first, second = render(name).files(), again.files()

    assert list(first) == list(second)
    assert [path for path in first if first[path].read_bytes() != second[path].read_bytes()] == []


def test_render_under_umask_077_is_the_same_and_can_be_run(
    whole_template: Path, rendered_default: Project, tmp_path: Path, umask_077: None
) -> None:
    strict = Project(copy(whole_template, tmp_path / "strict", answer_files.named("defaults")))

    first, second = rendered_default.files(), strict.files()

    assert {name: path.read_bytes() for name, path in first.items()} == {
        name: path.read_bytes() for name, path in second.items()
    }
    assert second["clair"].stat().st_mode & stat.S_IXUSR


def test_only_clair_is_executable(rendered_default: Project) -> None:
    executable = {name for name, path in rendered_default.files().items() if path.stat().st_mode & stat.S_IXUSR}

    assert executable == {"clair"}


@pytest.mark.parametrize("name", answer_files.names())
def test_no_rendered_file_holds_a_secret(render: Render, name: str) -> None:
    found = [
        f"{path}: {line.strip()}"
        for path, file in render(name).files().items()
        if not path.endswith(".py")
        for line in TRAEFIK_DIGEST.sub("", file.read_text(encoding="utf-8")).splitlines()
        if KEY_MATERIAL.search(line) or ASSIGNED.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("line", ["psk: c2VjcmV0LXNlY3JldA==", "POSTGRES_PASSWORD=hunter2", f"key: {'Zm9v' * 10}Zm8="])
def test_planted_secret_is_found(line: str) -> None:
    assert KEY_MATERIAL.search(line) or ASSIGNED.search(line)


@pytest.mark.parametrize("kind", ["folder", "symlink"])
def test_what_is_made_on_the_machine_is_ignored_by_git(rendered_default: Project, tmp_path: Path, kind: str) -> None:
    project, disk = tmp_path / "project", tmp_path / "disk"
    project.mkdir()
    subprocess.run(["git", "init", "--quiet", project], check=True)
    (project / ".gitignore").write_text(rendered_default.text(".gitignore"))
    for name in ("secrets", "state", "backups", "reports"):
        made = (disk if kind == "symlink" else project) / name
        made.mkdir(parents=True)
        (made / "file").touch()
        if kind == "symlink":
            (project / name).symlink_to(made)

    status = subprocess.run(
        ["git", "status", "--short"], cwd=project, capture_output=True, text=True, check=True
    ).stdout

    assert status == "?? .gitignore\n"


def test_compose_variables_hold_the_project_s_name_and_nothing_else(rendered_default: Project) -> None:
    lines = [line for line in rendered_default.text(".env").splitlines() if not line.startswith("#")]

    assert lines == ["COMPOSE_PROJECT_NAME=clair"]
