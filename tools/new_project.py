"""`make new`: render a deployment repository from this checkout with `copier copy`.

Environment: DEST (folder to make), DEFAULTS (1: ask nothing), DATA ("key=value ...", split like a shell line), ANSWERS (a file
of answers). Without a terminal the defaults are taken. Exit codes: those of copier; 2 for wrong use.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def copier_command(environment: Mapping[str, str], is_clone: bool, is_terminal: bool) -> list[str]:
    """Return the copier call for these variables; raises ValueError with a sentence for wrong use."""
    destination = environment.get("DEST", "")
    if not destination:
        raise ValueError("DEST is missing: make new DEST=../my-clair")
    try:
        data = shlex.split(environment.get("DATA", ""))
    except ValueError as error:
        raise ValueError(f"DATA cannot be split like a shell line ({error}): DATA=\"key=value key2='a b'\"") from error
    for item in data:
        if "=" not in item:
            raise ValueError(f"DATA item '{item}' is no key=value: DATA=\"deployment_size=medium edge_port=7070\"")
    answers = environment.get("ANSWERS", "")
    if answers and not Path(answers).is_file():
        raise ValueError(f"ANSWERS file '{answers}' does not exist: give the path of a YAML file with answers")
    command = [sys.executable, "-m", "copier", "copy", "--trust"]
    command += ["--vcs-ref", "HEAD"] if is_clone else []
    command += ["--defaults"] if environment.get("DEFAULTS", "") not in ("", "0") or not is_terminal else []
    command += ["--data-file", answers] if answers else []
    for item in data:
        command += ["--data", item]
    return [*command, str(ROOT), destination]


def update_warning(is_clone: bool) -> str | None:
    """Return why a project rendered now can get no `copier update`, or None."""
    if not is_clone:
        return "this template is no git clone: the project can be used, but not updated with copier update"
    dirty = subprocess.run(
        ["git", "-C", str(ROOT), "status", "--porcelain"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if dirty:
        return "this checkout has uncommitted changes: the project can be used, but not updated with copier update"
    return None


def main() -> int:
    """Run copier; return its exit code."""
    is_clone = (ROOT / ".git").exists()
    try:
        command = copier_command(os.environ, is_clone, sys.stdin.isatty())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if warning := update_warning(is_clone):
        print(f"WARNING: {warning}", file=sys.stderr)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
