"""Whole rendered trees of a few answer files, kept as real files so that a change of a template is read as what it does to a repository.

`make golden` writes them anew. Files that the template only copies, the commands above all, are left out; what hardly depends on an answer
stands in the first tree only.
"""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.support.places import GOLDEN, ROOT
from tests.support.projects import Project

ONCE = {"Makefile", ".env"}
TREES = ["defaults", "everything", "oldest-release", "tls-files"]


def tree_of_project(project: Project, first: bool) -> dict[str, str]:
    """Return the text of each rendered file of a tree, without what tells where and from which commit it was rendered."""
    texts = {
        name: path.read_text(encoding="utf-8")
        for name, path in project.files().items()
        if not (ROOT / "template" / name).exists()
    }
    answers = texts[".copier-answers.yml"].splitlines(keepends=True)
    texts[".copier-answers.yml"] = "".join(line for line in answers if not line.startswith(("_commit", "_src_path")))
    return {name: text for name, text in texts.items() if first or name not in ONCE}


def tree_of_folder(folder: Path) -> dict[str, str]:
    """Return the text of each file below a golden folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def difference(golden: dict[str, str], rendered: dict[str, str]) -> str:
    """Return a unified diff of two trees, empty if they are the same."""
    lines: list[str] = []
    for name in sorted({*golden, *rendered}):
        before, after = golden.get(name, "").splitlines(), rendered.get(name, "").splitlines()
        lines += difflib.unified_diff(before, after, f"golden/{name}", f"rendered/{name}", lineterm="", n=1)
    if golden.keys() != rendered.keys():
        lines.append(f"files that are not in both: {', '.join(sorted(golden.keys() ^ rendered.keys()))}")
    return "\n".join(lines)


@pytest.mark.parametrize("name", TREES)
def test_rendered_tree_is_the_golden_one(render: Render, pytestconfig: pytest.Config, name: str) -> None:
    rendered = tree_of_project(render(name), name == TREES[0])
    if pytestconfig.getoption("update_golden"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        for path, text in rendered.items():
            (GOLDEN / name / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name / path).write_text(text, encoding="utf-8")

    changes = difference(tree_of_folder(GOLDEN / name), rendered)

    assert not changes, f"if this is what you intended, run make golden and read its diff:\n{changes}"


def test_golden_folder_has_no_other_trees() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == TREES


def test_planted_difference_is_found() -> None:
    changes = difference({"a": "one\ntwo\n", "b": ""}, {"a": "one\nthree\n", "c": ""})

    assert changes.splitlines()[3:] == [" one", "-two", "+three", "files that are not in both: b, c"]
