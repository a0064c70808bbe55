"""Renders deployments for the measurements, from a copy of this template's files as they are now."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.measure import BenchError, call

__all__ = ["ROOT", "copier_command", "copy_template", "interpreter", "render", "with_interpreter"]

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("copier.yml", "extensions", "template")


def copy_template(folder: Path) -> Path:
    """Copy what renders into `folder`, without git, so that Copier neither clones nor asks for tags; return the folder."""
    folder.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def copier_command(template: Path, destination: Path, answers: Mapping[str, object] | None = None) -> list[str]:
    """Return the command line that renders `template` with the defaults and these answers."""
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    for name, value in (answers or {}).items():
        command += ["--data", f"{name}={value}"]
    return [*command, str(template), str(destination)]


def render(destination: Path, answers: Mapping[str, object] | None = None) -> Path:
    """Render a deployment from the files as they are now, with the answers in DATA as well; return its folder."""
    template = copy_template(destination.with_name(f"{destination.name}.template"))
    call(copier_command(template, destination, {**more_answers(), **(answers or {})}))
    return destination


def more_answers() -> dict[str, str]:
    """Return the answers in the environment variable DATA, such as the mirror to take images from."""
    try:
        items = shlex.split(os.environ.get("DATA", ""))
        return dict(item.split("=", 1) for item in items)
    except ValueError as error:
        raise BenchError("DATA is no list of key=value") from error


def interpreter() -> Path:
    """Return the Python that this runs on, outside any virtual environment; raises BenchError if it cannot be found."""
    path = Path(sys.base_prefix) / "bin" / "python3"
    if not path.exists():
        raise BenchError(f"{path}: no such file")
    return path


def with_interpreter() -> dict[str, str]:
    """Return the PATH on which `python3` is that interpreter: a version manager's wrapper takes longer than a command."""
    return {"PATH": f"{interpreter().parent}{os.pathsep}{os.environ['PATH']}"}
