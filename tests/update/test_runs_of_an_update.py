"""Running `copier update`: twice, after it was killed, in the wrong folder, without --trust, with uncommitted changes, without tags."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support import copier_runs, repositories, updates
from tests.support.places import copy_template
from tests.support.projects import Project
from tests.update.conftest import NewProject, Renewed

# Appended to the extension of a throwaway version: ends the process at once, in the middle of writing the project.
DYING = """

import os
_hook = Gate.hook

def _dying_hook(self, context):
    _hook(self, context)
    if context.get("_copier_phase") == "render" and not _is_internal_render(context["_copier_conf"]):
        self.rendered = getattr(self, "rendered", 0) + 1
        if str(self.rendered) == os.environ.get("DIE_AFTER"):
            os.kill(os.getpid(), 9)

Gate.hook = _dying_hook
"""
UP_TO_DATE = "Keeping template version 2.0.0"


def test_second_update_changes_nothing(renewed: Renewed, tmp_path: Path) -> None:
    project = repositories.clone_of(renewed("defaults").folder, tmp_path / "project")
    repositories.commit(project, "the update")

    outcome = copier_runs.command(["update", "--trust", "--defaults"], project)

    assert (outcome.code, outcome.stderr.splitlines()[0]) == (0, UP_TO_DATE)
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize(("vcs_ref", "available"), [("v1.0.0", True), ("v2.0.0", False)], ids=["behind", "newest"])
def test_update_that_there_is_can_be_asked_for_without_trust(
    old_project: NewProject, vcs_ref: str, available: bool
) -> None:
    outcome = copier_runs.command(["check-update", "--output-format", "json"], old_project(vcs_ref=vcs_ref))

    assert (outcome.code, json.loads(outcome.stdout)["update_available"]) == (0, available)


def test_killed_update_is_taken_back_by_git_and_run_again(
    old_project: NewProject, next_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = old_project(template=next_version)
    (project / "secrets").mkdir()
    (project / "secrets" / "psk").write_text("key\n", encoding="utf-8")
    before = updates.everything(project)
    gate = next_version / "extensions" / "gate.py"
    gate.write_text(gate.read_text(encoding="utf-8") + DYING, encoding="utf-8")
    repositories.commit(next_version, "dies", "v3.0.0")
    monkeypatch.setenv("DIE_AFTER", "60")

    killed = copier_runs.command(["update", "--trust", "--defaults"], project)

    assert killed.code == -signal.SIGKILL
    assert repositories.git(project, "status", "--porcelain") != ""
    assert copier_runs.refusal_of_update(project).startswith("Destination repository is dirty")
    repositories.git(project, "reset", "--quiet", "--hard")
    repositories.git(project, "clean", "--quiet", "--force", "-d")
    assert updates.everything(project) == before
    monkeypatch.delenv("DIE_AFTER")
    updates.updated(project)


def test_subfolder_is_left_to_copier(old_project: NewProject) -> None:
    project = old_project()

    outcome = copier_runs.command(["update", "--trust", "--defaults"], project / "config")

    sentence = "Cannot update because cannot obtain old template references from `.copier-answers.yml`."
    assert (outcome.code, outcome.stderr) == (1, f"{sentence}\n")
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_missing_trust_is_left_to_copier(old_project: NewProject) -> None:
    project = old_project()

    outcome = copier_runs.command(["update", "--defaults"], project)

    assert (outcome.code, outcome.stderr.splitlines()[0]) == (
        4,
        "Template uses potentially unsafe feature: jinja_extensions.",
    )
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_dirty_project_is_left_to_copier(old_project: NewProject) -> None:
    project = old_project()
    (project / "Makefile").write_text("all:\n", encoding="utf-8")

    refusal = copier_runs.refusal_of_update(project)

    assert (
        refusal
        == "Destination repository is dirty; cannot continue. Please commit or stash your local changes and retry."
    )
    assert (project / "Makefile").read_text(encoding="utf-8") == "all:\n"


def test_older_version_of_the_template_is_left_to_copier(old_project: NewProject) -> None:
    project = old_project(vcs_ref="v2.0.0")

    refusal = copier_runs.refusal_of_update(project, vcs_ref="v1.0.0")

    assert refusal == "You are downgrading from 2.0.0 to 1.0.0. Downgrades are not supported."
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_template_without_tags_copies_and_updates(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template", commands=False)
    repositories.commit(template, "no tag")
    project = repositories.project(template, tmp_path / "project", {"architecture": "amd64"})
    updates.add_sentinel(template)
    repositories.commit(template, "still no tag")

    after = updates.updated(project)

    fresh = Project(copier_runs.copy(template, tmp_path / "fresh", {"architecture": "amd64"}))
    assert updates.differences(after, fresh) == []
