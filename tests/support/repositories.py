"""Throwaway git repositories: a template with version tags, and projects rendered from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.copier_runs import copy
from tests.support.places import copy_template

# Who commits, and no setting of the user's own git (hooks, signing, line endings) takes part.
GIT_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Operator",
    "GIT_AUTHOR_EMAIL": "operator@example.com",
    "GIT_COMMITTER_NAME": "Operator",
    "GIT_COMMITTER_EMAIL": "operator@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return what it printed; raises CalledProcessError if it fails."""
    run = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "gc.auto=0", *arguments],
        cwd=folder,
        env={**os.environ, **GIT_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def commit(folder: Path, message: str = "change", tag: str = "") -> None:
    """Commit everything in `folder`, which becomes a repository if it is none, with an annotated tag on request."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    if tag:
        git(folder, "tag", "--annotate", tag, "--message", tag)


def template_repository(folder: Path, commands: bool = True) -> Path:
    """Make a git repository of the working tree's template with the tag v1.0.0, and return its folder."""
    copy_template(folder, commands)
    commit(folder, "template", "v1.0.0")
    return folder


def project(template: Path, folder: Path, answers: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """Render a project and commit it, as its operator does on the first day; return its folder."""
    copy(template, folder, answers, **options)
    commit(folder, "deployment")
    return folder


def clone_of(repository: Path, folder: Path) -> Path:
    """Copy a repository with its tags and return the copy's folder."""
    return Path(shutil.copytree(repository, folder, symlinks=True))
