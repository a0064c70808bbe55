"""How long an update takes, against Copier's own update of a plain template: as many files of the same sizes, no question, no extension."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench.measure import BenchError, Row, alternate, call, note, timed_call
from bench.project import copier_command, copy_template
from bench.rendering import plain_template

__all__ = ["measure"]

RUNS = 5
# No setting of the user's own git takes part, and nobody has to be known to it.
GIT = {
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@example.com",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
NEW_FILE = "new.txt"
ANSWERS_FILE = "{{ _copier_conf.answers_file }}.jinja"


def commit(folder: Path, tag: str = "") -> None:
    """Commit everything in `folder`, which becomes a repository if it is none, with an annotated tag on request."""
    if not (folder / ".git").exists():
        call(["git", "-c", "init.defaultBranch=main", "init", "--quiet"], folder, GIT)
    call(["git", "add", "--all"], folder, GIT)
    call(["git", "commit", "--quiet", "--message", tag or "project"], folder, GIT)
    if tag:
        call(["git", "tag", "--annotate", tag, "--message", tag], folder, GIT)


def updatable(template: Path, project: Path) -> Path:
    """Render `project` from `template` at v1.0.0, commit it, and give the template a v2.0.0 with one file more."""
    commit(template, "v1.0.0")
    call(copier_command(template, project), environment=GIT)
    commit(project)
    (template / "template" / NEW_FILE).write_text("version 2\n", encoding="utf-8")
    commit(template, "v2.0.0")
    return project


def update(project: Path, folder: Path) -> float:
    """Update a copy of `project` and return the seconds it took."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(project, folder, symlinks=True)
    command = [sys.executable, "-m", "copier", "update", "--trust", "--defaults", "--quiet"]
    seconds = timed_call(command, folder, GIT)
    if not (folder / NEW_FILE).exists():
        raise BenchError(f"{folder}: the update brought nothing")
    return seconds


def measure() -> list[Row]:
    """Return the row of `copier update --defaults`."""
    note("update: copier update --defaults")
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name)
        template = copy_template(folder / "ours")
        floor = plain_template(template, folder / "plain")
        # Without a file of answers there is no update.
        shutil.copy(template / "template" / ANSWERS_FILE, floor / "template" / ANSWERS_FILE)
        plain = updatable(floor, folder / "plain-project")
        ours = updatable(template, folder / "our-project")
        work = folder / "work"
        pair = alternate(RUNS, lambda: update(ours, work), lambda: update(plain, work))
    return [pair.row("`copier update --defaults` to Copier's update of a plain template", "<= 2.0")]
