"""A project of every released version updates to the template as it stands.

tests/answers/released/VERSION/ holds answers as that version recorded them. Where the repository still has the commit of the release,
the old project is rendered by that very version; a shallow clone has not, and says so. In any case the frozen answers are replayed: the
project is then rendered by the present template and carries the old version's answers file.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support import copier_runs, repositories, updates
from tests.support.places import ANSWERS, ROOT, copy_template
from tests.support.projects import Project

FOLDER = ANSWERS / "released"
COMMITS: dict[str, str] = yaml.safe_load((FOLDER / "commits.yml").read_text(encoding="utf-8"))
NEWEST_TAG = "v1000.0.0"


class Frozen(NamedTuple):
    """Answers that a released version recorded."""

    version: str
    name: str

    @property
    def text(self) -> str:
        """The answers file as it was."""
        return (FOLDER / self.version / f"{self.name}.yml").read_text(encoding="utf-8")

    @property
    def answers(self) -> dict[str, object]:
        """The answers, without Copier's own entries."""
        return {name: value for name, value in yaml.safe_load(self.text).items() if not name.startswith("_")}


FROZEN = [Frozen(path.parent.name, path.stem) for path in sorted(FOLDER.glob("*/*.yml"))]


def release_of(frozen: Frozen, folder: Path) -> Path:
    """Make a template repository whose tag is the released version, from its commit; skip where there is no such commit."""
    commit = COMMITS[frozen.version]
    archive = subprocess.run(
        ["git", "archive", commit, "copier.yml", "extensions", "template"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"commit {commit[:7]} of {frozen.version} is not in this clone: only its answers are replayed")
    folder.mkdir()
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    repositories.commit(folder, frozen.version, f"v{frozen.version}")
    return folder


def add_newest(repository: Path, commands: bool = True) -> None:
    """Add the template as it stands, and the sentinel, as the newest version."""
    updates.replace_template(repository, copy_template(repository.with_name("newest"), commands))
    updates.add_sentinel(repository)
    repositories.commit(repository, "newest", NEWEST_TAG)


def assert_is_fresh(project: Path, template: Path, frozen: Frozen) -> None:
    """Compare an updated project with a fresh one of the same answers."""
    fresh = copier_runs.copy(template, project.with_name("fresh"), frozen.answers)
    assert updates.differences(Project(project), Project(fresh)) == []


@pytest.mark.parametrize("frozen", FROZEN, ids="-".join)
def test_project_of_a_release_updates_to_what_a_fresh_one_is(tmp_path: Path, frozen: Frozen) -> None:
    template = release_of(frozen, tmp_path / "template")
    project = repositories.project(template, tmp_path / "project", frozen.answers)
    add_newest(template)
    assert (project / ".copier-answers.yml").read_text(encoding="utf-8") == recorded_from(template, frozen)

    updates.updated(project)

    assert_is_fresh(project, template, frozen)


@pytest.mark.parametrize("frozen", FROZEN, ids="-".join)
def test_answers_of_a_release_update_to_what_a_fresh_project_is(tmp_path: Path, frozen: Frozen) -> None:
    template = copy_template(tmp_path / "template", commands=False)
    repositories.commit(template, frozen.version, f"v{frozen.version}")
    project = copier_runs.copy(template, tmp_path / "project", frozen.answers)
    (project / ".copier-answers.yml").write_text(recorded_from(template, frozen), encoding="utf-8")
    repositories.commit(project, "deployment")
    add_newest(template, commands=False)

    updates.updated(project)

    assert_is_fresh(project, template, frozen)


def recorded_from(template: Path, frozen: Frozen) -> str:
    """Return the frozen answers file as it would be if the release had been copied from `template`."""
    return re.sub(r"^_src_path: .*$", f"_src_path: {template}", frozen.text, flags=re.MULTILINE)


def test_every_released_version_has_frozen_answers() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = set(re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE))

    assert {frozen.version for frozen in FROZEN if frozen.name == "defaults"} == set(COMMITS)
    assert released <= {*COMMITS, newest_version()}


def newest_version() -> str:
    """Return the version of pyproject.toml: its commit cannot name itself, and is frozen with the one after it."""
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]
