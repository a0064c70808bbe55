"""Two versions of the template, and what an update of a project from one to the other leaves behind."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support import copier_runs, facts, repositories
from tests.support.places import TEMPLATE_PARTS
from tests.support.projects import Project

SENTINEL = "sentinel.txt"
NEXT_RELEASE = "4.10.0"


def release_as_data(version: str = NEXT_RELEASE, **changes: Any) -> str:
    """Return the catalogue's entry of a fictional release: the newest one's facts under another number, with these changes."""
    entry = {**facts.release(facts.releases()[-1]), "date": "2026-06-01", **changes}
    text = yaml.safe_dump({version: entry}, default_flow_style=None, sort_keys=False)
    return "".join(f"  {line}\n" for line in text.splitlines())


def add_release(template: Path, **changes: Any) -> None:
    """Add the fictional release to a template's catalogue."""
    edit(template, "extensions/data/clair.yaml", "\nreleases:\n", f"\nreleases:\n{release_as_data(**changes)}")


def add_sentinel(template: Path) -> None:
    """Let a template render one file more, by which an update that did nothing is told from one that did."""
    (template / "template" / SENTINEL).write_text("version 2\n", encoding="utf-8")


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the first `old` in a file by `new`; it must be there."""
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{name} no longer holds {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def drop_from_data(template: Path, name: str, *keys: str) -> None:
    """Remove the entry at `keys` of a data file; the last one may also be an item of a list."""
    file = template / "extensions" / "data" / name
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place.remove(keys[-1]) if isinstance(place, list) else place.pop(keys[-1])
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def replace_template(repository: Path, source: Path) -> None:
    """Replace the template in a repository by the one in `source`, what it no longer has included."""
    for part in TEMPLATE_PARTS:
        old, new = repository / part, source / part
        if new.is_dir():
            shutil.rmtree(old)
            shutil.copytree(new, old)
        else:
            shutil.copy2(new, old)


def updated(project: Path, answers: Mapping[str, Any] | None = None, **options: Any) -> Project:
    """Update a project to the newest version and make sure that it really was updated, without a conflict."""
    copier_runs.update(project, answers, **options)
    assert (project / SENTINEL).read_text(encoding="utf-8") == "version 2\n"
    assert conflicts(project) == []
    return Project(project)


def conflicts(project: Path) -> list[str]:
    """Return the files that an update could not merge, and the hunks that it rejected."""
    unmerged = repositories.git(project, "diff", "--name-only", "--diff-filter=U").split()
    return sorted([*unmerged, *(path.relative_to(project).as_posix() for path in project.rglob("*.rej"))])


def differences(one: Project, other: Project) -> list[str]:
    """Return the files whose bytes or mode differ, and those that only one of two projects of one template has.

    Nothing is left out, Copier's own lines of the answers file neither: both projects come from the same repository and version.
    """
    first, second = one.files(), other.files()
    found = first.keys() ^ second.keys()
    return sorted(
        found
        | {name for name in first.keys() & second.keys() if _fingerprint(first[name]) != _fingerprint(second[name])}
    )


def fingerprints(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return checksum and mode of each of these files and folders, and of everything in the folders."""
    paths = [path for name in names for path in (folder / name, *sorted((folder / name).rglob("*")))]
    return {path.relative_to(folder).as_posix(): _fingerprint(path) for path in paths}


def everything(project: Path) -> dict[str, tuple[str, str]]:
    """Return checksum and mode of everything in a project but its history."""
    return fingerprints(project, sorted(path.name for path in project.iterdir() if path.name != ".git"))


def _fingerprint(path: Path) -> tuple[str, str]:
    content = b"" if path.is_dir() else path.read_bytes()
    return hashlib.sha256(content).hexdigest(), stat.filemode(path.stat().st_mode)


def recorded(project: Path) -> dict[str, Any]:
    """Return the recorded answers of a project, without Copier's own entries."""
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in answers.items() if not name.startswith("_")}
