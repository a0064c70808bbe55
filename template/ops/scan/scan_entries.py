"""Scans the images of a list side by side, each as `scan` does, and hands out the results as they come.

Talks to the registries, to Clair through the edge and to the ledger it is given; writes nothing. However many images
there are, at most as many results as twice the threads are in memory.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from ..clair.index_once import IndexOnce
from ..clair.reach_edge import Edge
from ..errors import UNDECIDED, Problem
from ..feeds.match_updaters import Feeds
from ..feeds.share_ledger import SharedLedger
from ..formats.format_json import result_document
from ..host.read_json import Object
from ..host.run_parallel import Running
from ..network.open_connection import Deadline
from ..network.web import Client
from ..registries.registry import Image, Registry
from ..registries.remember_layers import Found
from ..state.name_images import ImageNames
from ..verdict.judge_report import Options
from ..verdict.report import failed_result
from ..verdict.run_scan import run_scan
from .compare_fleet import find_changes
from .read_images import Entry

POLL_SECONDS = 0.5


class Outcome(NamedTuple):
    """The result of one image: its exit code and its document as JSON text in one line.

    `again` is true if a service gave no answer, so that another try may have one.
    """

    entry: Entry
    code: int
    document: str
    again: bool


@dataclass(frozen=True)
class Fleet:
    """What all scans of a run share. `previous` returns the last decided result of an image, by its key."""

    release: str
    edge: Edge
    client: Client
    ledger: SharedLedger
    index: IndexOnce
    feeds: Feeds
    options: Options
    previous: Callable[[str], Optional[Object]]
    timeout_seconds: float
    names: ImageNames
    found: Found = field(default_factory=Found, repr=False)


def scan_entry(fleet: Fleet, entry: Entry) -> Outcome:
    """Return the result of one image; whatever goes wrong with it is its result."""
    deadline = Deadline(fleet.timeout_seconds)
    resolved: list[Image] = []

    def known(image: Image) -> None:
        resolved.append(image)
        fleet.names.tell(image.digest, image.name)

    try:
        result = run_scan(
            Registry(fleet.client, entry.reference, deadline, found=fleet.found),
            fleet.edge,
            fleet.ledger,
            feeds=fleet.feeds,
            options=fleet.options,
            wanted=entry.platform,
            deadline=deadline,
            resolved=known,
            index=fleet.index,
        )
    except Problem as problem:
        return _failed(fleet, entry, resolved, problem, again=problem.code == UNDECIDED)
    except Exception as error:  # a fault of ours in one image must not take the others' results away
        reason = f"internal error, {entry.reference}: {type(error).__name__}: {error}"
        fault = Problem(reason, f"CLAIR_DEBUG=1 ./clair scan {entry.reference}", UNDECIDED)
        return _failed(fleet, entry, resolved, fault, again=False)
    code = result.verdict.code
    document = result_document(result, fleet.release)
    changes = find_changes(document, fleet.previous(entry.key)) if code != UNDECIDED else None
    more = {"hint": "", "index_state": fleet.index.state, "changes": changes}
    return Outcome(entry, code, json.dumps({**document, **more}), False)


def _failed(fleet: Fleet, entry: Entry, resolved: Sequence[Image], problem: Problem, *, again: bool) -> Outcome:
    image = resolved[0] if resolved else Image(str(entry.reference), "", entry.platform, ())
    result = failed_result(image, problem.sentence, fleet.feeds, fleet.options, time.time())
    more = {"hint": problem.hint, "index_state": None, "changes": None}
    return Outcome(entry, UNDECIDED, json.dumps({**result_document(result, fleet.release), **more}), again)


def scan_entries(
    fleet: Fleet, entries: Iterable[Entry], threads: int, waiting: Callable[[], None] = lambda: None
) -> Iterator[Outcome]:
    """Yield the outcome of each entry in the order in which they come; `waiting` is called now and then."""
    source = iter(entries)
    lock = threading.Lock()
    # Bounded: results must not pile up where the disk is slower than Clair.
    outcomes: queue.Queue[Optional[Outcome]] = queue.Queue(threads)

    def work() -> None:
        try:
            while True:
                with lock:
                    entry = next(source, None)
                if entry is None:
                    return
                outcomes.put(scan_entry(fleet, entry))
        finally:
            outcomes.put(None)

    # Daemons all: an interrupt does not wait for them.
    workers = [Running(work) for _ in range(threads)]
    left = threads
    while left:
        try:
            outcome = outcomes.get(timeout=POLL_SECONDS)
        except queue.Empty:
            waiting()
            continue
        if outcome is None:
            left -= 1
            continue
        yield outcome
        waiting()
    for worker in workers:
        worker.result()
