"""Asks before a change: at a terminal with a question, in a script by `--yes`."""

from __future__ import annotations

import sys

from ..errors import NO, USAGE, Problem
from ..host.read_arguments import Parser


def add_yes(parser: Parser) -> None:
    """Add `--yes`, the answer of a script."""
    parser.add_switch("--yes", "YES", "answer the question with yes")


def add_change_options(parser: Parser, timeout_seconds: float) -> None:
    """Add what the commands with a plan have in common; `timeout_seconds` is the default limit of each step."""
    parser.add_switch("--plan", "PLAN", "print what it would do and change nothing")
    parser.add_switch("--json", "JSON", "print what was done, or with --plan the plan, as a JSON document")
    add_yes(parser)
    parser.add_timeout(timeout_seconds)
    parser.add_switch("--allow-small", "ALLOW_SMALL", "only warn if this host is smaller than deployment_size asks for")


def ask(command: str, question: str, yes: bool) -> None:
    """Return if the operator agrees to `question`, such as `upgrade clair from Clair 4.8.0 to 4.9.0?`.

    `command` is what asks, with the flags that it was called with.

    Raises Problem: no agreement (1), or no terminal to ask at and no --yes (2).
    """
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise Problem(f"not confirmed, {command}: no terminal to ask at", f"./clair {command} --yes", USAGE)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("y", "yes"):
        raise Problem(f"not confirmed, {command}: nothing was changed", f"./clair {command}", NO)
