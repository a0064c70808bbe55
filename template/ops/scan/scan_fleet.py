"""The command `fleet`: every image of a list, scanned side by side, and what changed since the last run.

Reads the list (`images.txt`), the registries, Clair through the edge, the matcher's database once. Writes
`state/fleet/` (where the run stands: after a cut, also by `kill -9`, it goes on there) and, at the end,
`reports/fleet-TIME.jsonl` (a line per image: the document of `scan --format json` without Clair's report) and
`reports/fleet-TIME.html`. A manifest is handed to the indexer only if the indexer's state changed since it was.
Exit codes: 0 all clean; 1 one has findings at or above the limit; 3 one is undecided, whatever the others are; 2 wrong
use, before the first scan.
Environment overrides: FILE (images.txt), those of read_policy.py, TIMEOUT (seconds for one image, 600), RESTART, JSON,
DOCKER_CONFIG, HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..clair.fetch_state import fetch_state
from ..clair.index_once import IndexOnce
from ..clair.reach_edge import deployment_edge
from ..errors import UNDECIDED, Problem
from ..feeds.match_updaters import Feeds, duration, read_feeds
from ..feeds.read_ledger import LedgerSession
from ..feeds.share_ledger import EachTime, SharedLedger
from ..formats.describe_result import timestamp
from ..formats.format_fleet import Run, add_rows, fleet_lines, summary_document
from ..formats.format_fleet_html import format_fleet_html
from ..host.escape_text import printable
from ..host.read_arguments import Parser
from ..host.read_json import Object
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_output import write_output
from ..network.choose_proxy import deployment_proxies
from ..network.open_connection import Deadline, Trust, pem_files
from ..network.web import Client
from ..settings import Deployment, load_deployment
from ..state.name_images import ImageNames
from ..verdict.finding import UNDECIDED_VERDICT
from ..verdict.judge_report import Options
from ..verdict.read_policy import add_policy, read_policy
from .keep_journal import FleetJournal, list_folder
from .read_images import Entry, read_images
from .scan_entries import Fleet, scan_entries

DEFAULT_LIST = "images.txt"
# What an indexer of the smallest size takes at once; deployment.json of an earlier template does not say it.
PARALLEL = 8
REACH_SECONDS = 30.0
DATABASE_SECONDS = 120.0


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options. Raises Problem (2)."""
    environment = os.environ
    parser = Parser("fleet", "Scan every image of a list and say what changed: 0 clean, 1 findings, 3 undecided.")
    parser.add_argument("list", nargs="?", default="", metavar="FILE", help="the list; stands in for --file")
    parser.add_argument(
        "--file",
        default=environment.get("FILE", ""),
        help=f"the list, one image a line, perhaps with a platform; default {DEFAULT_LIST} [FILE]",
    )
    add_policy(parser)
    parser.add_switch("--restart", "RESTART", "begin anew where a run was cut")
    parser.add_switch("--json", "JSON", "print one JSON document in place of the table")
    parser.add_timeout()
    return parser.parse_args(argv)


def run_fleet(fleet: Fleet, journal: FleetJournal, entries: Sequence[Entry], threads: int, progress: Progress) -> None:
    """Scan what is not done yet, then once more what had no answer from a service that answers now."""
    done = {key for key, code in journal.done.items() if code != UNDECIDED}
    waiting_for = [entry for entry in entries if entry.key not in done]
    told = len(entries) - len(waiting_for)
    started, finished = time.monotonic(), 0

    def waiting() -> None:
        rate = finished / (time.monotonic() - started)
        left = f", about {duration((len(waiting_for) - finished) / rate)} left" if finished > threads else ""
        progress.waiting(f"{told + finished} of {len(entries)} images{left}")

    again: list[Entry] = []
    for outcome in scan_entries(fleet, waiting_for, threads, waiting):
        journal.write(outcome.entry.key, outcome.code, outcome.document)
        finished += 1
        again += [outcome.entry] if outcome.again else []
    if again and _answers(fleet):
        progress.line(f"no answer from a service for {len(again)} images: trying them once more")
        for outcome in scan_entries(fleet, again, threads):
            journal.write(outcome.entry.key, outcome.code, outcome.document)
    progress.end()


def _answers(fleet: Fleet) -> bool:
    with suppress(Problem):
        fetch_state(fleet.edge, Deadline(REACH_SECONDS))
        fleet.ledger.check()
        return True
    return False


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = arguments(argv)
    deployment = load_deployment()
    given = options.list or options.file
    path = Path(given) if given else deployment.root / DEFAULT_LIST
    shown = printable(given or DEFAULT_LIST)
    entries = read_images(path, shown, deployment.architecture)
    policy = read_policy(options, deployment)
    feeds = read_feeds(deployment.facts["feeds"], options.max_feed_age)
    folder = list_folder(deployment, path)
    progress = Progress()
    with hold_lock(deployment, "fleet", folder / "lock"), _ledger(deployment) as ledger:
        edge = deployment_edge(deployment)
        # Without these two no image has a verdict.
        state = fetch_state(edge, Deadline(min(REACH_SECONDS, options.timeout)))
        ledger.ledger()
        journal = FleetJournal(folder, deployment.root / "reports")
        index = IndexOnce(state, journal.indexed, ledger.check)
        client = Client(Trust(pem_files(deployment.root / "config" / "ca")), deployment_proxies(deployment))
        fleet = Fleet(
            deployment.release,
            edge,
            client,
            ledger,
            index,
            feeds,
            policy,
            journal.previous,
            options.timeout,
            ImageNames(deployment),
        )
        goes_on = journal.begin(_fingerprint(deployment, policy, feeds), options.restart)
        if goes_on:
            done = sum(code != UNDECIDED for code in journal.done.values())
            progress.line(
                f"going on with the run of {timestamp(journal.started_at)}: {done} images are done (--restart begins anew)"
            )
        try:
            run_fleet(fleet, journal, entries, _threads(deployment), progress)
        except KeyboardInterrupt:
            progress.end()
            print(f"cut after {len(journal.done)} of {len(entries)} images; ./clair fleet goes on", file=sys.stderr)
            raise
        run = _finish(deployment, fleet, journal, entries, shown)
    if options.json:
        write_output([json.dumps(summary_document(run), indent=1) + "\n"], "")
    else:
        write_output((line + "\n" for line in fleet_lines(run)), "")
    if run.code == UNDECIDED:
        undecided = [row for row in run.rows if row.verdict == UNDECIDED_VERDICT]
        first = undecided[0]
        raise Problem(
            f"fleet undecided, {shown}: {len(undecided)} of {len(run.rows)} images, the first {first.image}: {first.reason}",
            first.hint or f"./clair scan --platform {first.platform} {first.image}",
            UNDECIDED,
        )
    return run.code


def _finish(deployment: Deployment, fleet: Fleet, journal: FleetJournal, entries: Sequence[Entry], shown: str) -> Run:
    """Write report and overview, and say that the run is over."""
    keys = [entry.key for entry in entries]
    listed, before = set(keys), journal.last_keys
    results = journal.finish(keys)
    overview = results.with_suffix(".html")
    run = Run(
        list_name=shown,
        release=deployment.release,
        started_at=journal.started_at,
        finished_at=time.time(),
        compared=journal.compared,
        new_images=tuple(key for key in keys if not journal.known(key)),
        gone_images=tuple(key for key in before if key not in listed),
        handed_over=fleet.index.handed_over,
        results=str(results.relative_to(deployment.root)),
        overview=str(overview.relative_to(deployment.root)),
    )
    add_rows(run, journal.results(keys))
    write_output(format_fleet_html(run, journal.results(keys)), str(overview))
    journal.forget()
    return run


def _fingerprint(deployment: Deployment, policy: Options, feeds: Feeds) -> Object:
    """Return what two parts of one run must have in common."""
    decided_by = hashlib.sha256(repr((policy, feeds.max_age_seconds)).encode()).hexdigest()
    return {"clair_release": deployment.release, "options": decided_by}


def _threads(deployment: Deployment) -> int:
    """Return how many images are scanned at once: what all indexers take before they answer 429."""
    indexer = deployment.facts["services"]["indexer"]
    return int(indexer.get("request_concurrency", PARALLEL)) * int(indexer.get("replicas", 1))


def _ledger(deployment: Deployment) -> SharedLedger:
    patience = EachTime(DATABASE_SECONDS)
    return SharedLedger(LedgerSession(deployment, patience), lambda: LedgerSession(deployment, patience))
