"""The folders of the commands use one another in one direction only, so that each can be read without those above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests.support.places import ROOT

OPS = ROOT / "template" / "ops"
TOP = {"__init__.py", "__main__.py", "commands.py", "errors.py", "settings.py"}


def imported_folders(path: Path) -> Iterator[str]:
    """Yield the folder of `ops/` that each relative import of a module leads to; "" is `ops/` itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.relative_to(OPS).parent.parts
            target = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            yield target[0] if target and (OPS / target[0]).is_dir() else ""


def uses() -> dict[str, set[str]]:
    """Return what each folder of `ops/` uses, itself and the modules at the top left out."""
    found: dict[str, set[str]] = {}
    for path in OPS.rglob("*.py"):
        folder = path.relative_to(OPS).parent.as_posix()
        if folder != ".":
            found.setdefault(folder, set()).update(set(imported_folders(path)) - {folder, ""})
    return found


def test_only_what_every_command_needs_stands_at_the_top() -> None:
    assert {path.name for path in OPS.glob("*.py")} == TOP


def test_the_top_uses_no_folder() -> None:
    assert {folder for name in TOP for folder in imported_folders(OPS / name)} <= {""}


def test_no_two_folders_use_each_other_even_by_way_of_others() -> None:
    order = list(TopologicalSorter(uses()).static_order())  # a circle is a CycleError that names its folders

    assert order.index("host") < order.index("clair") < order.index("scan")


def test_the_receiver_uses_nothing_that_its_container_does_not_mount() -> None:
    assert uses()["receiving"] == set()
