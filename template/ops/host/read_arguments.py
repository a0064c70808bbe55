"""Reads a command's arguments: flags win over environment variables, and wrong use is one line."""

from __future__ import annotations

import argparse
import os
from typing import Any, NoReturn

from ..errors import Problem

TIMEOUT_SECONDS = 600.0


class Parser(argparse.ArgumentParser):
    """An argument parser whose every complaint is a Problem (2)."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"clair {command}", description=description, allow_abbrev=False)
        self.command = command

    def error(self, message: str) -> NoReturn:
        """Raise Problem (2) instead of printing a usage text."""
        raise Problem(f"wrong use, clair {self.command}: {message}", f"./clair {self.command} --help")

    def add_switch(self, flag: str, variable: str, help_text: str) -> None:
        """Add a yes/no flag that the environment can set: any value but empty, 0, no and false means yes."""
        value = os.environ.get(variable, "").strip().lower()
        default = value not in ("", "0", "no", "false")
        self.add_argument(flag, action="store_true", default=default, help=f"{help_text} [{variable}=1]")

    def add_file(self, help_text: str) -> None:
        """Add the file that a command is about: as it stands, or after `--file`, else from the environment."""
        self.add_argument("file", nargs="?", default=argparse.SUPPRESS, metavar="FILE", help=f"{help_text} [FILE]")
        self.add_argument("--file", default=os.environ.get("FILE", ""), metavar="FILE", help="the same")

    def add_timeout(self, default: float = TIMEOUT_SECONDS) -> None:
        """Add `--timeout SECONDS`, the limit of everything that waits."""
        self.add_argument(
            "--timeout",
            type=_seconds,
            default=os.environ.get("TIMEOUT") or str(default),
            metavar="SECONDS",
            help=f"limit of all waiting (default {default:g}) [TIMEOUT]",
        )


def _seconds(text: Any) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value
