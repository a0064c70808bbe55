"""Writes a command's data to standard output or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import UNDECIDED, Problem


def check_output(path: str) -> None:
    """Raise Problem (2) if a file cannot be written at `path`: better before the work than after it."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise Problem(f"output not writable, {path}: it is a folder", f"./clair scan --output {target / 'report.json'}")
    if not folder.is_dir():
        raise Problem(f"output not writable, {path}: there is no folder {folder}", f"mkdir -p {folder}")
    if not os.access(folder if not target.exists() or target.is_file() else target, os.W_OK):
        raise Problem(f"output not writable, {path}: permission denied", f"ls -ld {folder}")


def write_output(pieces: Iterable[str], path: str) -> None:
    """Write text to the file `path` (0644), or to standard output if it is empty.

    Raises Problem if the file (2) or standard output (3) cannot be written. A reader of standard output that goes away early is no failure:
    the exit code still says what the verdict is.
    """
    if not path:
        _write_stdout(pieces)
        return
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to rename over
            with target.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.writelines(pieces)
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            with temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.writelines(pieces)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Problem(f"output not written, {path}: {(error.strerror or str(error)).lower()}", "df -h .") from error


def _write_stdout(pieces: Iterable[str]) -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a terminal that knows ASCII only must not stop a verdict
        reconfigure(errors="backslashreplace")
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # `./clair scan ... | head`: what is left to flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        reason = (error.strerror or str(error)).lower()
        raise Problem(f"output not written, standard output: {reason}", "df -h", UNDECIDED) from error
