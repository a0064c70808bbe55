"""`make demo`: the whole job in about a minute, from rendering to a report with findings, then everything is removed.

Renders this checkout's defaults into a temporary folder, adds one container that serves a sample feed and sample images
(`serve.py`), starts it all with the rendered `./clair up`, scans a sample image with `./clair scan` and compares the
report with what the sample feed must lead to. Removes containers, volumes, networks and the folder in every case.

The sample image is named by the container's own address: the one name under which both this machine and the indexer
reach it by plain HTTP, which Clair uses for private addresses only.

The report goes to standard output, progress to standard error.
Exit codes: 0 the report has the expected findings; 1 it has others; 2 this machine or an option is not fit;
3 undecided; 130 and 143 interrupted by SIGINT and SIGTERM.
Environment: KEEP=1 keeps everything and says where; DATA="key=value ..." are further answers, as for `make new`;
DOCKER replaces `docker`; TMPDIR is where the folder is made.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import sample_feed
from demo.deployment import SERVICE, add_samples, answers, render, scan, server_address, start, start_server
from demo.engine import describe_images, engine_cpus, remove
from demo.outcome import NO, UNDECIDED, USAGE, DemoError, Interrupted, Progress

SAMPLE = "sample/debian:12"
REPOSITORY = "repository"  # what is rendered, inside the demo's own temporary folder

FEED_SECONDS = 180.0  # for the updaters; about 15 s are needed, at ten requests a second
POLL_SECONDS = 1.0


def wait_for_decision(folder: Path, reference: str, progress: Progress) -> dict[str, Any]:
    """Scan until the answer is decided, which it is once the feed is there; return the report as JSON.

    Exit code 1, findings, is the answer that is hoped for. Raises DemoError: 2 as soon as the command says that it is
    used wrongly, 3 if nothing is decided within FEED_SECONDS.
    """
    limit = time.monotonic() + FEED_SECONDS
    shown = ""
    while True:
        done = scan(folder, reference, "--format", "json")
        lines = done.stderr.strip().splitlines() or ["no message"]
        if done.returncode in (0, NO):
            report: dict[str, Any] = json.loads(done.stdout)
            return report
        if done.returncode != UNDECIDED or time.monotonic() > limit:
            code = USAGE if done.returncode == USAGE else UNDECIDED
            raise DemoError(f"scan not decided, {reference}: {lines[0]}", code)
        if lines[0] != shown:
            shown = lines[0]
            progress.say(f"  not yet: {shown}")
        time.sleep(POLL_SECONDS)


def compare(report: Mapping[str, Any], release: str) -> list[str]:
    """Return one line per difference between a report and what the sample feed must lead to."""
    expected = sample_feed.expected_findings(SAMPLE, release=release)
    found = {
        sample_feed.Finding(one["package"], one["id"], one["severity"], one["fixed"] or "")
        for one in report["findings"]
    }
    missing = [f"missing: {' '.join(one)}" for one in sorted(expected - found)]
    return missing + [f"not expected: {' '.join(one)}" for one in sorted(found - expected)]


def show(name: str, workspace: Path, reference: str, progress: Progress) -> None:
    """Say where everything is that KEEP=1 keeps, and how to remove it."""
    folder = workspace / REPOSITORY
    progress.say(f"kept: {name} in {folder}")
    progress.say(f"  scan again: cd {folder} && ./clair scan {reference or SAMPLE}")
    progress.say(f"  remove:     cd {folder} && ./clair destroy --confirm {name} && rm -r {workspace}")


def demonstrate(name: str, folder: Path, data: Mapping[str, Any], cpus: int, progress: Progress) -> str:
    """Do the whole job and return the reference of the image; raises DemoError if it does not come out as it must."""
    progress.say(f"rendering the defaults into {folder}")
    facts = render(folder, data)
    images = add_samples(folder, facts, cpus)
    progress.say(f"starting the sample server, {name}-{SERVICE}")
    start_server(name, folder)
    progress.say(f"starting Clair {facts['clair_release']} as {name}: ./clair up")
    start(folder)
    progress.say("images used:")
    for line in describe_images(facts["images"].values()):
        progress.say(f"  {line}")
    reference = f"{server_address(name)}/{SAMPLE}"
    progress.say(f"waiting for the sample feed, then scanning {reference} ({images[SAMPLE].digest})")
    report = wait_for_decision(folder, reference, progress)
    progress.say(f"./clair scan {reference}")
    table = scan(folder, reference)
    print(table.stdout, end="", flush=True)
    print(table.stderr, end="", file=sys.stderr, flush=True)
    differences = compare(report, facts["clair_release"])
    if differences:
        raise DemoError(f"report not as expected, {reference}: {'; '.join(differences)}", NO)
    if table.returncode != NO:
        raise DemoError(f"verdict not as expected, {reference}: exit code {table.returncode} instead of 1", NO)
    progress.say(f"the {len(report['findings'])} findings are the expected ones; exit code 1 of scan means: findings")
    return reference


def ignore_interrupts() -> None:
    """From here on everything is removed, which must not be cut short by a second Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _frame: object) -> None:
    ignore_interrupts()
    raise Interrupted(number)


def main(argv: list[str]) -> int:
    """Run the demo and remove it; print how long it took."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.run",
        description="show the whole job, then remove it",
        epilog='environment: KEEP=1 keeps everything; DATA="key=value ..." are further answers',
    )
    parser.parse_args(argv)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    progress = Progress()
    name = f"clair-demo-{secrets.token_hex(3)}"
    code, reference, workspace = UNDECIDED, "", None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        cpus = engine_cpus()
        data = answers(name, os.environ.get("DATA", ""))
        workspace = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        reference = demonstrate(name, workspace / REPOSITORY, data, cpus, progress)
        code = 0
    except DemoError as error:
        print(error, file=sys.stderr, flush=True)
        code = error.code
    except Interrupted as error:
        progress.say(f"interrupted by {error}")
        code = error.code
    finally:
        ignore_interrupts()
        if workspace and keep:
            show(name, workspace, reference, progress)
        elif workspace:
            progress.say("removing containers, volumes, networks and the folder")
            code = code if remove(name, workspace, progress) else code or UNDECIDED
    progress.say(f"done in {progress.seconds():.0f} s, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
