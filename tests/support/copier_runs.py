"""Copier, in this process (fast; the user's own settings never take part) and as the command line that a user types."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier
from copier.errors import UserMessageError


def copy(template: Path, destination: Path, answers: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """Render into `destination` with defaults for everything else and return it; raises UserMessageError for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Copier warns about uncommitted changes of a template, which is what is tested
        copier.run_copy(
            str(template),
            destination,
            data=dict(answers or {}),
            defaults=True,
            unsafe=True,
            quiet=True,
            settings=copier.Settings(),
            **options,
        )
    return destination


def update(project: Path, answers: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """Update a project with defaults for new questions and return it; raises UserMessageError for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copier.run_update(
            project,
            data=dict(answers or {}),
            defaults=True,
            overwrite=True,
            unsafe=True,
            quiet=True,
            settings=copier.Settings(),
            **options,
        )
    return project


def refusal_of_copy(template: Path, destination: Path, answers: Mapping[str, Any]) -> str:
    """Return the sentence with which these answers are refused; "" if they are accepted.

    Any error but Copier's own UserMessageError passes through: at the command line it would be a traceback.
    """
    try:
        copy(template, destination, answers)
    except UserMessageError as error:
        return error.message
    return ""


def refusal_of_update(project: Path, answers: Mapping[str, Any] | None = None, **options: Any) -> str:
    """Return the sentence with which an update is refused; "" if it goes through."""
    try:
        update(project, answers, **options)
    except UserMessageError as error:
        return error.message
    return ""


def refusal_of_recorded(project: Path) -> str:
    """Return the sentence with which a project's recorded answers are refused; "" if they are accepted.

    By `copier recopy`: it reads them as an update does, without the two renders that an update compares.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copier.run_recopy(
                project, defaults=True, overwrite=True, unsafe=True, quiet=True, settings=copier.Settings()
            )
    except UserMessageError as error:
        return error.message
    return ""


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


def command(arguments: Sequence[str], folder: Path | None = None) -> Outcome:
    """Run `copier ARGUMENTS` without a terminal and return how it ended."""
    run = subprocess.run(
        [sys.executable, "-m", "copier", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(run.returncode, run.stdout, run.stderr)
