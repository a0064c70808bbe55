"""The command `scan`: one image, from its name to a verdict; with --all-platforms every image of its index.

Reads the registry, Clair through the edge, the matcher's database, the ignore file, a baseline; writes to standard
output or to `--output`.
Exit codes: 0 clean; 1 findings at or above the limit; 2 wrong use, no such image or platform, no login; 3 undecided.
With --all-platforms the worst of all, in the order 3, 1, 0.
Environment overrides: IMAGE, PLATFORM (default linux/ and the deployment's architecture), ALL_PLATFORMS, FORMAT
(table), OUTPUT, BASELINE, those of read_policy.py, TIMEOUT (seconds, 600), DOCKER_CONFIG, HTTPS_PROXY, HTTP_PROXY,
NO_PROXY.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Union

from ..clair.reach_edge import deployment_edge
from ..errors import UNDECIDED, Problem
from ..feeds.match_updaters import Feeds, read_feeds
from ..feeds.read_ledger import LedgerSession
from ..formats.describe_result import headline
from ..formats.format_report import FORMATS, format_report
from ..host.escape_text import printable
from ..host.read_arguments import Parser
from ..host.show_activity import Activity
from ..host.write_output import check_output, write_output
from ..network.choose_proxy import deployment_proxies
from ..network.open_connection import Deadline, Trust, pem_files
from ..network.web import Client
from ..registries.parse_reference import Reference, is_loopback, parse_platform, parse_reference
from ..registries.registry import Image, Registry
from ..settings import Deployment, load_deployment
from ..state.name_images import ImageNames
from ..verdict.finding import UNDECIDED_VERDICT
from ..verdict.judge_report import EMPTY
from ..verdict.read_policy import add_policy, one_of, read_policy
from ..verdict.report import Report, failed_result
from ..verdict.run_scan import Result, run_scan

# What a command does between its options and its output: one result, or one for each platform of an index.
Scan = Callable[[Deployment, argparse.Namespace, Activity], Union[Result, Sequence[Result]]]


def arguments(argv: Sequence[str], command: str = "scan") -> argparse.Namespace:
    """Return the options of `scan`, or of a command that scans an image from elsewhere. Raises Problem (2)."""
    environment = os.environ
    from_registry = command == "scan"
    where = "of a registry" if from_registry else "of the local Docker"
    parser = Parser(command, f"Scan one image {where} and decide: 0 clean, 1 findings, 2 wrong use, 3 undecided.")
    parser.add_argument("image", nargs="?", default=environment.get("IMAGE", ""), metavar="IMAGE", help="[IMAGE]")
    parser.add_argument("--platform", default=environment.get("PLATFORM", ""), help="such as linux/arm64 [PLATFORM]")
    if from_registry:
        parser.add_switch("--all-platforms", "ALL_PLATFORMS", "scan every platform and show the differences")
    parser.add_argument(
        "--format",
        type=one_of(FORMATS),
        default=environment.get("FORMAT") or "table",
        help=f"{', '.join(FORMATS)}; default table [FORMAT]",
    )
    parser.add_argument("--output", default=environment.get("OUTPUT", ""), metavar="FILE", help="write there [OUTPUT]")
    add_policy(parser)
    parser.add_argument(
        "--baseline",
        default=environment.get("BASELINE", ""),
        metavar="FILE",
        help="an earlier json result of this image: only what is new counts [BASELINE]",
    )
    parser.add_timeout()
    options = parser.parse_args(argv)
    options.command, options.digest, options.whole = command, None, from_registry and options.all_platforms
    if options.whole and options.platform:
        parser.error("--all-platforms and --platform exclude each other")
    return options


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


def scan(deployment: Deployment, options: argparse.Namespace, activity: Activity) -> Union[Result, Sequence[Result]]:
    """Scan the image that `options` name. Raises Problem as run_scan does."""
    reference = scannable(options.image)
    wanted = parse_platform(options.platform or f"linux/{deployment.architecture}")
    feeds = read_feeds(deployment.facts["feeds"], options.max_feed_age)
    deadline = Deadline(options.timeout)
    edge = deployment_edge(deployment)
    client = Client(Trust(pem_files(deployment.root / "config" / "ca")), deployment_proxies(deployment))
    source = Registry(client, reference, deadline, notice=activity.notice)
    options.image, options.platform = str(reference), "all" if options.whole else str(wanted)
    if options.whole:
        from .scan_platforms import scan_platforms

        return scan_platforms(deployment, options, activity, source=source, edge=edge, feeds=feeds, deadline=deadline)

    def resolved(image: Image) -> None:
        note_image(options, image)
        ImageNames(deployment).tell(image.digest, image.name)

    def step(text: str) -> None:
        activity.text = f"{text} {reference}"

    ledger = LedgerSession(deployment, deadline)
    try:
        return run_scan(
            source,
            edge,
            ledger,
            feeds=feeds,
            options=options.policy,
            wanted=wanted,
            deadline=deadline,
            resolved=resolved,
            step=step,
            notice=activity.notice,
        )
    finally:
        ledger.close()


def note_image(options: argparse.Namespace, image: Image) -> None:
    """Keep what is known of the image for a failure. Raises Problem (2) if the baseline is of other platforms."""
    options.digest = image.digest
    if options.policy.baseline:
        options.policy.baseline.check(str(image.platform))


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    return run_command(arguments(argv), scan)


def run_command(options: argparse.Namespace, scan: Scan) -> int:
    """Scan, write the result in the format asked for, return the exit code.

    Raises Problem (3) for an undecided verdict once it is written: it must not depend on who reads the output.
    """
    deployment = load_deployment()
    if options.output:
        check_output(options.output)
    options.policy = read_policy(options, deployment)
    feeds = read_feeds(deployment.facts["feeds"], options.max_feed_age)
    try:
        if options.baseline:
            _add_baseline(options)
        with Activity(f"reading {printable(options.image)}") as activity:
            found = scan(deployment, options, activity)
    except Problem as problem:
        if problem.code == UNDECIDED and (options.format != "table" or options.output):
            # Without this, a file of an earlier scan would stay and be taken for the answer.
            failure = _failure(problem, deployment, options, feeds)
            write_output(format_report(failure, options.format), options.output)
        raise
    whole = not isinstance(found, Result)
    report = Report((found,) if isinstance(found, Result) else tuple(found), deployment.release, whole)
    write_output(format_report(report, options.format), options.output)
    if report.code == UNDECIDED:
        raise _undecided(report, options.command)
    if options.output:
        print(f"{_verdict(report)}; written to {options.output}", file=sys.stderr)
    return report.code


def _add_baseline(options: argparse.Namespace) -> None:
    from ..verdict.compare_baseline import read_baseline

    options.policy = dataclasses.replace(options.policy, baseline=read_baseline(options.baseline, options.image))


def _failure(problem: Problem, deployment: Deployment, options: argparse.Namespace, feeds: Feeds) -> Report:
    platform = parse_platform(f"linux/{deployment.architecture}")
    if options.platform and not options.whole:
        platform = parse_platform(options.platform)
    image = Image(options.image, options.digest or "", platform, ())
    result = failed_result(image, problem.sentence, feeds, options.policy, time.time())
    return Report((result,), deployment.release)


def _verdict(report: Report) -> str:
    verdict, _, rest = headline(report).partition(": ")
    return f"{verdict}, {report.image}: {rest}"


def _undecided(report: Report, command: str) -> Problem:
    """Return the failure of an undecided verdict, with the command that helps with its first reason."""
    label, result = next(
        (label, result) for label, result in report.labelled if result.verdict.verdict == UNDECIDED_VERDICT
    )
    reasons = result.verdict.reasons
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    name = f"{report.image} for {label}" if report.whole else report.image
    return Problem(f"scan undecided, {name}: {reasons[0]}{more}", _hint(result, command), UNDECIDED)


def _hint(result: Result, command: str) -> str:
    name, verdict = result.image.name, result.verdict
    if verdict.reasons[0] == EMPTY:
        return f"./clair {command} --allow-empty {name}"
    first = next((cover for cover in verdict.covers if verdict.reasons[0].startswith(f"{cover.subject}: ")), None)
    if first is not None and not first.family:
        return f"docker run --rm --entrypoint cat {name} /etc/os-release"
    return "./clair verify"
