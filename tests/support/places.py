"""Where the tests find things."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ANSWERS = ROOT / "tests" / "answers"
GOLDEN = ROOT / "tests" / "render" / "golden"
DATA = ROOT / "extensions" / "data"

TEMPLATE_PARTS = ("copier.yml", "extensions", "template")


def tool(name: str) -> str:
    """Return the path of a program of the test environment: beside this interpreter, else on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing: run the tests with make test, which installs it"
    return found


def copy_template(folder: Path, commands: bool = True) -> Path:
    """Copy the template as it stands in the working tree, uncommitted changes included, and return the copy's folder.

    Without `commands` their Python files are left out: they are the same in every project, and copying them is most of the time.
    """
    ignored = ["__pycache__", "*.pyc", ".*_cache"]
    folder.mkdir(parents=True, exist_ok=True)
    for part in TEMPLATE_PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns(*ignored))
        else:
            shutil.copy2(source, folder / part)
    if not commands:
        for path in (folder / "template" / "ops").rglob("*.py"):
            path.unlink()
    return folder


def copy_commands(project: Path) -> None:
    """Copy the commands into a project that was rendered without them; what is there under the same name is replaced."""
    skipped = shutil.ignore_patterns("*.jinja", "__pycache__", "*.pyc")
    shutil.copytree(ROOT / "template" / "ops", project / "ops", ignore=skipped, dirs_exist_ok=True)
