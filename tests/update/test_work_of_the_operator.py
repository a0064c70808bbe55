"""What an operator did to a repository outlives an update: edits, deletions, files of their own, and everything that git ignores."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import copier_runs, repositories, updates
from tests.support.projects import Project
from tests.support.updates import NEXT_RELEASE
from tests.update.conftest import NewProject

# File: a line as it is rendered, and as the operator wants it.
EDITS = {
    "Makefile": ("SHELL := /bin/sh\n", "SHELL := /bin/dash\n"),
    "README.md": ("## First start\n", "On call: Ada.\n\n## First start\n"),
    "compose.yaml": ("size=256m", "size=512m"),
    "config/indexer/config.yaml": ("log_level: info\n", "log_level: debug\n"),
    "traefik/traefik.yaml": ("  sendAnonymousUsage: false\n", "  sendAnonymousUsage: false\n  # as agreed\n"),
    "ops/errors.py": ("NO = 1\n", "NO = 1  # grep for it\n"),
}
DELETED = ["database/setup.sql", "traefik/dynamic"]
OWN = {
    "compose.override.yaml": "services: {}\n",
    "config/indexer/config.yaml.d/own.yaml": "log_level: debug\n",
    "config/matcher/config.yaml.d/own.yaml-patch": "[]\n",
    "config/ca/own.crt": "certificate\n",
    "config/receiver/settings.toml": "[[target]]\n",
    ".clair-ignore.json": "[]\n",
    "images.txt": "docker.io/library/alpine:3\n",
    "scripts/own.sh": "#!/bin/sh\n",
}
IGNORED = {
    "secrets/psk": "key\n",
    "state/applied/compose.yaml": "services: {}\n",
    "state/journal.json": "{}\n",
    "backups/clair-20260101T000000Z/manifest.json": "{}\n",
    "reports/fleet.jsonl": "{}\n",
}
IGNORED_FOLDERS = ["secrets", "state", "backups", "reports"]


class Kept(NamedTuple):
    """A project after its update, and the fingerprints of what must not change from before it."""

    project: Project
    before: dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def kept(whole_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A project in which an operator has worked, after its update; it is only read."""
    folder = tmp_path_factory.mktemp("worked") / "project"
    repositories.project(whole_versions, folder, {"architecture": "amd64"}, vcs_ref="v1.0.0")
    for name, (old, new) in EDITS.items():
        updates.edit(folder, name, old, new)
    for name in DELETED:
        repositories.git(folder, "rm", "-r", "--quiet", name)
    for name, text in {**OWN, **IGNORED}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "scripts" / "own.sh").chmod(0o755)
    (folder / "secrets" / "psk").chmod(0o444)
    (folder / "secrets").chmod(0o700)
    repositories.commit(folder, "our work")
    before = updates.fingerprints(folder, [*OWN, *IGNORED_FOLDERS])
    return Kept(updates.updated(folder), before)


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_a_rendered_file_is_merged(kept: Kept, name: str) -> None:
    assert EDITS[name][1] in kept.project.text(name)


@pytest.mark.parametrize("name", ["README.md", "compose.yaml", "config/indexer/config.yaml"])
def test_edited_file_gets_what_is_new_as_well(kept: Kept, name: str) -> None:
    assert NEXT_RELEASE in kept.project.text(name)


@pytest.mark.parametrize("name", DELETED)
def test_deleted_file_stays_deleted(kept: Kept, name: str) -> None:
    assert not (kept.project.folder / name).exists()


def test_own_files_and_all_that_git_ignores_keep_content_and_mode(kept: Kept) -> None:
    assert updates.fingerprints(kept.project.folder, [*OWN, *IGNORED_FOLDERS]) == kept.before


def test_nothing_but_what_is_new_is_changed(kept: Kept) -> None:
    changed = repositories.git(kept.project.folder, "diff", "--name-only").split()
    rendered = repositories.git(kept.project.folder, "ls-files").split()

    assert set(changed) <= set(rendered) - set(OWN)
    assert [name for name in changed if NEXT_RELEASE not in kept.project.text(name)] == [".copier-answers.yml"]


def test_own_readme_and_licence_of_a_new_repository_survive(two_versions: Path, tmp_path: Path) -> None:
    repositories.git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("# Mine\n", encoding="utf-8")
    (tmp_path / "LICENSE").write_text("mine\n", encoding="utf-8")
    project = repositories.project(two_versions, tmp_path, {"architecture": "amd64"}, vcs_ref="v1.0.0")

    after = updates.updated(project)

    assert (after.text("README.md"), after.text("LICENSE")) == ("# Mine\n", "mine\n")


def test_file_that_the_template_drops_goes_and_a_new_one_that_is_there_already_is_a_conflict(
    old_project: NewProject, next_version: Path
) -> None:
    project = old_project(template=next_version, vcs_ref="v2.0.0")
    (project / "notes.txt").write_text("mine\n", encoding="utf-8")
    repositories.commit(project, "own notes")
    (next_version / "template" / "notes.txt").write_text("theirs\n", encoding="utf-8")
    (next_version / "template" / "database" / "setup.sql.jinja").unlink()
    repositories.commit(next_version, "notes come, setup goes", "v3.0.0")

    copier_runs.update(project)

    assert not (project / "database" / "setup.sql").exists()
    assert updates.conflicts(project) == ["notes.txt"]


def test_deployment_in_a_folder_of_a_larger_repository_is_updated(two_versions: Path, tmp_path: Path) -> None:
    (tmp_path / "unrelated.txt").write_text("x\n", encoding="utf-8")
    project = copier_runs.copy(two_versions, tmp_path / "clair", {"architecture": "amd64"}, vcs_ref="v1.0.0")
    updates.edit(project, "compose.yaml", *EDITS["compose.yaml"])
    repositories.commit(tmp_path, "a deployment beside other things")

    after = updates.updated(project)

    assert EDITS["compose.yaml"][1] in after.text("compose.yaml")
    assert all(
        line[3:].startswith("clair/") for line in repositories.git(tmp_path, "status", "--porcelain").splitlines()
    )
