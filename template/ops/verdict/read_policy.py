"""The options that decide what counts, the same for every command that scans.

Reads the ignore file. Environment overrides: FAIL_ON (critical), ONLY_FIXED, IGNORE_UNKNOWN, MAX_FEED_AGE (24h, 30d
offline), ALLOW_STALE, ALLOW_EMPTY, IGNORE (the ignore file; `.clair-ignore.json` of the deployment where it exists).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..host.escape_text import printable
from ..host.read_arguments import Parser
from ..settings import Deployment
from .finding import LIMITS
from .judge_report import Options
from .read_ignore import DEFAULT_NAME, Ignores, read_ignores

HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


def max_feed_age(text: str) -> float:
    """Return the hours of a text such as 24h or 30d. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if not match or int(match.group(1)) == 0:
        raise argparse.ArgumentTypeError(f"{printable(text)!r} is no age: the form is 24h or 30d")
    return int(match.group(1)) * HOURS[match.group(2)]


def one_of(names: Sequence[str]) -> type:
    """Return a checker for a value of `names`; unlike argparse's choices it checks values of the environment, too."""

    def check(text: str) -> str:
        if text.lower() not in names:
            raise argparse.ArgumentTypeError(f"{printable(text)!r} is none of {', '.join(names)}")
        return text.lower()

    return check  # type: ignore[return-value]


def add_policy(parser: Parser) -> None:
    """Add the options that decide what counts."""
    environment = os.environ
    parser.add_argument(
        "--fail-on",
        type=one_of(tuple(LIMITS)),
        default=environment.get("FAIL_ON") or "critical",
        metavar="SEVERITY",
        help=f"exit 1 on findings at or above: {', '.join(LIMITS)}; default critical [FAIL_ON]",
    )
    parser.add_switch("--only-fixed", "ONLY_FIXED", "count only findings that have a fix")
    parser.add_switch("--ignore-unknown", "IGNORE_UNKNOWN", "do not count findings of unknown severity")
    parser.add_argument(
        "--ignore",
        default=environment.get("IGNORE", ""),
        metavar="FILE",
        help=f"accepted findings; default {DEFAULT_NAME} of the deployment, if it is there [IGNORE]",
    )
    parser.add_argument(
        "--max-feed-age",
        type=max_feed_age,
        default=environment.get("MAX_FEED_AGE") or None,
        metavar="AGE",
        help="how old a feed may be: 24h (default; offline 30d) [MAX_FEED_AGE]",
    )
    parser.add_switch("--allow-stale", "ALLOW_STALE", "accept feeds of any age, if they ever loaded")
    parser.add_switch("--allow-empty", "ALLOW_EMPTY", "accept an image without packages")


def read_policy(options: argparse.Namespace, deployment: Deployment) -> Options:
    """Return what the options of `add_policy` allow. Raises Problem (2) for an ignore file that is wrong."""
    return Options(
        options.fail_on,
        options.only_fixed,
        options.ignore_unknown,
        options.allow_stale,
        options.allow_empty,
        _ignores(options.ignore, deployment),
    )


def _ignores(given: str, deployment: Deployment) -> Ignores:
    if given:
        return read_ignores(Path(given))
    default = deployment.root / DEFAULT_NAME
    # A link that leads nowhere is a mistake to tell, not a file that is not there.
    if default.exists() or default.is_symlink():
        return read_ignores(default, DEFAULT_NAME)
    return Ignores()
