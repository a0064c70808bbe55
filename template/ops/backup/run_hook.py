"""Runs the operator's command after a backup, with the backup's path as its last word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence

from ..errors import NO, USAGE, Problem
from ..host.show_progress import Progress


def hook_words(hook: str) -> List[str]:
    """Return the words of the operator's command. Raises Problem (2) if it is no shell line."""
    try:
        return shlex.split(hook)
    except ValueError as error:
        raise Problem(f"hook unreadable, --hook or BACKUP_HOOK: {error}", "./clair backup --help", USAGE) from error


def run_hook(words: Sequence[str], path: Path, timeout_seconds: float, progress: Progress) -> None:
    """Run the operator's command with the backup's path; what it prints goes to standard error.

    Raises Problem (1): it failed or did not end in time.
    """
    if not words:
        return
    progress.line(f"hook: {words[0]}")
    try:
        code = subprocess.run(
            [*words, str(path)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            timeout=timeout_seconds,
        ).returncode
        reason = f"exit code {code}" if code else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"no end within {timeout_seconds:g} s"
    if reason:
        shown = f"backups/{path.name}"
        raise Problem(
            f"hook failed, {words[0]}: {reason}; the backup {shown} is whole", shlex.join([*words, shown]), NO
        )
