"""The command `feeds-import`: brings the feeds of a pack into the matcher's database.

Reads all of FILE before anything is touched, then runs clairctl in a container, with the pack as its standard input, and
compares the database with what the pack holds. Writes the matcher's database and, when all of it is in,
`state/feed-pack.json`: Clair stamps imported feeds with the time of the import, so only that file knows how old they are.
Exit codes: 0 imported; 2 wrong use, a damaged pack or one of another Clair release; 3 the database cannot be reached, or not
all is in. Environment: FILE, TIMEOUT in seconds (7200).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..clair.follow_process import Outcome
from ..clair.run_clairctl import GIBIBYTE, Clairctl, failure, size
from ..errors import UNDECIDED, Problem
from ..feeds.judge_feeds import FRESH, NEVER_LOADS, told
from ..feeds.match_updaters import Ledger, duration
from ..feeds.read_feeds import read_feed_ledger
from ..feeds.read_ledger import LedgerSession
from ..feeds.show_feeds import moment, show
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.read_json import Unreadable, read_text
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_files import write_file
from ..network.open_connection import Deadline
from ..settings import Deployment, load_deployment
from .judge_import import ImportLog, empty_updaters, incomplete, more, refuse_other_release, remember, summary, warnings
from .read_pack import Damaged, Pack, open_pack

TIMEOUT_SECONDS = 7200.0
LEDGER_SECONDS = 60.0
STATE_FILE = "feed-pack.json"
# Updaters whose latest update has no fingerprint, because the feed's server sends none: clairctl takes every later pack's
# for the same (claircore libvuln/updates.go at v1.5.48).
WITHOUT_FINGERPRINT = """
SELECT coalesce(json_agg(updater), '[]') FROM (SELECT DISTINCT ON (updater) updater, fingerprint
FROM update_operation ORDER BY updater, id DESC) AS latest WHERE coalesce(fingerprint, '') IN ('', '""');
"""


class Import:
    """One import: the pack, and what has come of it. `known` says afterwards that it was imported before."""

    def __init__(self, deployment: Deployment, pack: Pack, name: str, progress: Progress) -> None:
        self._deployment = deployment
        self._pack = pack
        self._name = name
        self._progress = progress
        self._sent = 0
        self._all_sent = False
        self.log = ImportLog()
        self.known = False

    def run(self, timeout_seconds: float) -> Outcome:
        """Bring the pack in and remember it. The lock must be held. Raises Problem (3)."""
        self._ledger()  # not a byte goes anywhere before the database answers
        clairctl = Clairctl(self._deployment, "feeds-import")
        self._progress.line(
            f"limits: {clairctl.memory_mib} MiB of memory and {clairctl.spool_bytes // GIBIBYTE} GiB of disk in its container"
        )
        what = f"feeds not imported completely, {self._name}"
        try:
            outcome = clairctl.run(
                ["import-updaters", "-z", "-"],
                source=self._chunks(),
                line=self._line,
                tick=self._tick,
                timeout_seconds=timeout_seconds,
            )
        except Damaged as damaged:
            raise Problem(f"{what}: {damaged}", f"./clair feeds-import {self._name}", UNDECIDED) from damaged
        self._progress.end()
        if outcome.code != 0 or not self._all_sent:
            problem = failure(what, outcome, clairctl, self.log.error or "it did not read all of the pack")
            raise Problem(f"{problem.sentence}; {self._so_far()}", f"./clair feeds-import {self._name}", UNDECIDED)
        ledger, unproven = self._ledger()
        lacking = incomplete(self._pack, self.log, ledger, self._deployment.facts["feeds"]["catalogue"])
        if lacking:
            raise Problem(f"{what}: {lacking}", f"./clair feeds-import {self._name}", UNDECIDED)
        self._remember(unproven & self.log.skipped)
        return outcome

    def _remember(self, unproven: set[str]) -> None:
        path = self._deployment.state / STATE_FILE
        before = _read_state(self._deployment)
        self.known = before.get("members") == self._pack.manifest["members"]
        if self.known:
            unproven = set()
        empty = set(empty_updaters(self._pack, self.log, self._deployment.facts["feeds"]["catalogue"]))
        document = remember(self._pack, self.log, before, kept=unproven, empty=empty, now=time.time())
        write_file(path, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode(), 0o644)
        if unproven:
            names = sorted(unproven)
            self._progress.line(
                f"{names[0]}{more(names)}: the feed's server sends no fingerprint, so Clair keeps what it has; its age counts "
                "from the pack it came with"
            )
        lost = sorted(set(self._pack.manifest["updaters"]) - self.log.seen - empty)
        if lost:
            self._progress.line(f"{lost[0]}{more(lost)}: the pack holds nothing of it")

    def _ledger(self) -> tuple[Ledger, set[str]]:
        session = LedgerSession(self._deployment, Deadline(LEDGER_SECONDS))
        try:
            ledger = session.ledger()
            names = read_text(session.ask(WITHOUT_FINGERPRINT))
        except Unreadable as error:
            raise Problem(
                f"feed ledger unreadable, database matcher: {error}", "./clair database", UNDECIDED
            ) from error
        finally:
            session.close()
        return ledger, {str(name) for name in names} if isinstance(names, list) else set()

    def _chunks(self) -> Iterator[bytes]:
        for chunk in self._pack.chunks():
            self._sent += len(chunk)
            yield chunk
        self._all_sent = True

    def _line(self, text: str) -> None:
        self.log.read(text)

    def _tick(self) -> None:
        share = self._sent / self._pack.size if self._pack.size else 1.0
        of = len(self._pack.manifest["updaters"])
        self._progress.waiting(f"importing, {share:.0%} of the pack read, {len(self.log.seen)} of {of} updaters done")

    def _so_far(self) -> str:
        return f"{len(self.log.seen)} of {len(self._pack.manifest['updaters'])} updaters are in"


def _read_state(deployment: Deployment) -> Mapping[str, Any]:
    try:
        document = json.loads((deployment.state / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def main(argv: Sequence[str]) -> int:
    """Run `feeds-import`."""
    parser = Parser("feeds-import", "Bring the feeds of a pack into the database.")
    parser.add_file("the pack")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    end_like_ctrl_c()
    progress = Progress()
    begun = False
    try:
        pack = open_pack(options.file, lambda share: progress.waiting(f"reading {options.file}, {share:.0%}"))
        refuse_other_release(pack, deployment, options.file)
        _announce(pack, deployment, options.file, progress)
        with hold_lock(deployment, "feeds-import"):
            work = Import(deployment, pack, options.file, progress)
            begun = True
            outcome = work.run(options.timeout)
        progress.line(summary(work.log, outcome, work.known))
    except KeyboardInterrupt:
        progress.end()
        if begun:
            print(
                f"feeds not imported completely, {options.file}: broken off; what is in stays, the rest is missing",
                file=sys.stderr,
            )
            print(f"HINT: ./clair feeds-import {options.file}", file=sys.stderr)
        raise
    finally:
        progress.end()
    found = read_feed_ledger(deployment, LEDGER_SECONDS)
    show(found, deployment)
    if any(family.state not in (FRESH, NEVER_LOADS) for family in found.families):
        print(f"not fresh yet: {told(found.families)}", file=sys.stderr)
    return 0


def _announce(pack: Pack, deployment: Deployment, name: str, progress: Progress) -> None:
    age = duration(max(0.0, time.time() - pack.exported_at))
    families = ", ".join([*pack.manifest["families"], *(["scores"] if pack.manifest["enrichment"] else [])])
    progress.line(
        f"{name}: {families} for Clair {pack.release}, exported {moment(pack.exported_at)} ({age} ago), "
        f"{len(pack.manifest['updaters'])} updaters, {size(pack.size)}; whole"
    )
    for text in warnings(pack, deployment, time.time()):
        progress.line(f"warning: {text}")
    progress.line(f"importing into the database matcher of {deployment.name}")
