"""What may already stand in the folder that a project is rendered into."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

__all__ = ["NOTHING", "destination_problem", "kept_if_present"]

ANSWERS_FILE = ".copier-answers.yml"
# A new, empty repository of a hosting service holds these; they stay as they are.
WELCOME = ("README.md", "LICENSE")
OUR_README = re.compile(r"# .+: Clair \d")  # how the rendered README.md begins
NOTHING = "/-"  # a pattern that matches no file of this template


def kept_if_present(folder: Path) -> str:
    """Return the pattern of files that stay as they are: README.md, if the one there was not rendered by this template."""
    readme = folder / "README.md"
    if not readme.exists():
        return NOTHING
    try:
        rendered = OUR_README.match(readme.read_text(encoding="utf-8")) and (folder / ANSWERS_FILE).exists()
    except (OSError, ValueError):
        rendered = False
    return NOTHING if rendered else "/README.md"


def destination_problem(folder: Path, overwrite: bool, template: Path) -> str | None:
    """Return why nothing is rendered into `folder`, or None.

    `overwrite` is set by `copier update` and by --overwrite; `template` is the folder of the template's files.
    """
    answers = folder / ANSWERS_FILE
    if answers.exists():
        if not _is_ours(answers):
            return f"destination '{folder}' holds a project of another template: choose an empty folder."
        if not overwrite:
            return f"destination '{folder}' holds a deployment already: run copier update there, or choose an empty folder."
        return None
    if overwrite:
        return None
    for path in sorted(template.rglob("*")):
        name = path.relative_to(template).as_posix()
        rendered = re.sub(r"\{%.*?%\}|\.jinja$", "", name)  # as if every condition in a name held
        if path.is_file() and "{" not in rendered and rendered not in WELCOME and (folder / rendered).exists():
            return (
                f"destination '{folder}' holds the file {rendered}, which would be overwritten: choose an empty folder."
            )
    return None


def _is_ours(answers: Path) -> bool:
    try:
        recorded = yaml.safe_load(answers.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(recorded, dict) and {"deployment_name", "clair_version"} <= set(recorded)
