"""The command `scan`: one image, from its name to a verdict.

Reads the registry, Clair through the edge, the matcher's database; writes to standard output or to `--output`.
Exit codes: 0 clean; 1 findings at or above the limit; 2 wrong use, no such image or platform, no login; 3 undecided.
Environment overrides: IMAGE, PLATFORM (default linux/ and the deployment's architecture), FORMAT (table), OUTPUT,
FAIL_ON (critical), ONLY_FIXED, IGNORE_UNKNOWN, MAX_FEED_AGE (24h, 30d offline), ALLOW_STALE, ALLOW_EMPTY,
TIMEOUT (seconds, 600), DOCKER_CONFIG, HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence

from .choose_proxy import deployment_proxies
from .errors import UNDECIDED, Problem
from .format_json import format_failure, format_json
from .format_table import format_table, summary
from .judge_report import EMPTY, LIMITS, UNDECIDED_VERDICT, Options
from .match_updaters import read_feeds
from .open_connection import Deadline, Trust, pem_files
from .parse_reference import Reference, is_loopback, parse_platform, parse_reference, printable
from .reach_edge import deployment_edge
from .read_arguments import Parser
from .read_ledger import LedgerSession
from .registry import Image, Registry
from .run_scan import Result, run_scan
from .settings import Deployment, load_deployment
from .show_activity import Activity
from .web import Client
from .write_output import check_output, write_output

FORMATS = ("table", "json")
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


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options. Raises Problem (2)."""
    environment = os.environ
    parser = Parser("scan", "Scan one image of a registry and decide: 0 clean, 1 findings, 2 wrong use, 3 undecided.")
    parser.add_argument("image", nargs="?", default=environment.get("IMAGE", ""), metavar="IMAGE", help="[IMAGE]")
    parser.add_argument("--platform", default=environment.get("PLATFORM", ""), help="such as linux/arm64 [PLATFORM]")
    parser.add_argument(
        "--format",
        type=one_of(FORMATS),
        default=environment.get("FORMAT") or "table",
        help="table (default) or json [FORMAT]",
    )
    parser.add_argument("--output", default=environment.get("OUTPUT", ""), metavar="FILE", help="write there [OUTPUT]")
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
        "--max-feed-age",
        type=max_feed_age,
        default=environment.get("MAX_FEED_AGE") or None,
        metavar="AGE",
        help="how old a feed may be: 24h (default; offline 30d) [MAX_FEED_AGE]",
    )
    parser.add_switch("--allow-stale", "ALLOW_STALE", "accept feeds of any age, if they ever loaded")
    parser.add_switch("--allow-empty", "ALLOW_EMPTY", "accept an image without packages")
    parser.add_timeout()
    return parser.parse_args(argv)


def scannable(text: str) -> Reference:
    """Return the reference of an image name. Raises Problem (2) also for a registry on `localhost`."""
    if not text:
        raise Problem("wrong use, clair scan: no image given", "./clair scan docker.io/library/debian:12")
    reference = parse_reference(text)
    if is_loopback(reference.domain):
        raise Problem(
            f"registry not reachable for Clair, {reference.domain}: the indexer fetches the layers itself, and inside its "
            "container that name means the container; what works is the address of this machine in your network, "
            "or a name that ends in .local",
            f"./clair scan {_own_address(reference)}",
        )
    return reference


def _own_address(reference: Reference) -> str:
    """Return the reference with this machine's address in place of localhost, as far as it can be told offline."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address packets would leave from
            address = probe.getsockname()[0]
        except OSError:
            address = "ADDRESS"
    port = reference.domain.rpartition(":")[2] if not reference.domain.endswith("]") else ""
    domain = f"{address}:{port}" if port.isdigit() else address
    return str(Reference(domain, reference.path, reference.tag, reference.digest))


def scan(deployment: Deployment, options: argparse.Namespace, activity: Activity) -> Result:
    """Scan the image that `options` name. Raises Problem as run_scan does."""
    reference = scannable(options.image)
    platform = parse_platform(options.platform or f"linux/{deployment.architecture}")
    feeds = read_feeds(deployment.facts["feeds"], options.max_feed_age)
    allowed = Options(
        options.fail_on, options.only_fixed, options.ignore_unknown, options.allow_stale, options.allow_empty
    )
    deadline = Deadline(options.timeout)
    edge = deployment_edge(deployment)
    client = Client(Trust(pem_files(deployment.root / "config" / "ca")), deployment_proxies(deployment))
    source = Registry(client, reference, deadline, notice=activity.notice)
    options.image, options.platform = str(reference), str(platform)

    def resolved(image: Image) -> None:
        options.digest = image.digest

    def step(text: str) -> None:
        activity.text = f"{text} {reference}"

    ledger = LedgerSession(deployment, deadline)
    try:
        return run_scan(
            source,
            edge,
            ledger,
            feeds=feeds,
            options=allowed,
            wanted=platform,
            deadline=deadline,
            resolved=resolved,
            step=step,
            notice=activity.notice,
        )
    finally:
        ledger.close()


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = arguments(argv)
    options.digest = None
    deployment = load_deployment()
    if options.output:
        check_output(options.output)
    try:
        with Activity(f"reading {printable(options.image)}") as activity:
            result = scan(deployment, options, activity)
    except Problem as problem:
        if problem.code == UNDECIDED and (options.format == "json" or options.output):
            # Without this, a file of an earlier scan would stay and be taken for the answer.
            write_output([_failure(problem, deployment, options)], options.output)
        raise
    if options.format == "json":
        write_output(format_json(result, deployment.release), options.output)
    else:
        write_output((line + "\n" for line in format_table(result, deployment.release)), options.output)
    verdict = result.verdict
    if verdict.verdict == UNDECIDED_VERDICT:
        more = f" (and {len(verdict.reasons) - 1} more)" if len(verdict.reasons) > 1 else ""
        raise Problem(f"scan undecided, {result.image.name}: {verdict.reasons[0]}{more}", _hint(result), UNDECIDED)
    if options.output:
        print(
            f"{verdict.verdict}, {result.image.name}: {summary(result)}; written to {options.output}", file=sys.stderr
        )
    return verdict.code


def _failure(problem: Problem, deployment: Deployment, options: argparse.Namespace) -> str:
    if options.format == "json":
        known = {"digest": options.digest, "platform": options.platform}
        return format_failure(problem.sentence, options.image, deployment.release, time.time(), **known)
    lines = [
        f"image     {options.image}",
        f"digest    {options.digest or 'unknown'}",
        f"platform  {options.platform}",
        f"clair     {deployment.release}",
        f"VERDICT {UNDECIDED_VERDICT}: {problem.sentence}",
    ]
    return "\n".join(lines) + "\n"


def _hint(result: Result) -> str:
    """Return the command that helps with the first reason of an undecided verdict."""
    name, verdict = result.image.name, result.verdict
    if verdict.reasons[0] == EMPTY:
        return f"./clair scan --allow-empty {name}"
    first = next((cover for cover in verdict.covers if verdict.reasons[0].startswith(f"{cover.subject}: ")), None)
    if first is not None and not first.family:
        return f"docker run --rm --entrypoint cat {name} /etc/os-release"
    return "./clair verify"
