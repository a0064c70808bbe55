"""The steps of a restore and the way back, each safe to run again after it was cut short anywhere.

freeze, load: the backup is loaded beside the databases in use and compared; nothing in use is touched, so the way back is to
drop what was loaded. swap: Clair stops, and all databases change names in one transaction. admin-pre, start, admin-post: Clair
runs on the new data, which gets what an upgrade from its release would do to it. thaw: the edge opens, and only now the old
data is dropped. Until then it stays under another name, and the way back is the same swap.
"""

from __future__ import annotations

import time
from typing import Callable, Dict, List, Optional

from ..backup.load_backup import load_beside
from ..backup.read_backup import Backup
from ..backup.swap_databases import database_names, drop_databases, swap_back, swap_in_databases
from ..errors import NO, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..host.watch_start import containers, start, works
from ..lifecycle.read_schema import read_schemas
from ..lifecycle.start_database import SERVICE, start_database
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from ..state.track_change import STEPS, Change, advance, drop_change
from .check_release import edge_problem
from .freeze_edge import freeze, thaw
from .plan_upgrade import Step, needed_steps
from .run_admin import run_steps

# Before these nothing in use was touched.
UNTOUCHED = ("freeze", "load")
STOP_SECONDS = 30
_EDGE_SECONDS = 60.0
_POLL_SECONDS = 0.5


class Restore:
    """One restore: its journal entry, and the work of each step. `change` is always what is written in the journal."""

    def __init__(self, deployment: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
        self.change = change
        self._deployment = deployment
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._loaded = f"new_{change.id}"
        self._kept = f"old_{change.id}"

    def go_forward(self, backup: Optional[Backup] = None) -> None:
        """Do the steps from the one the journal stands at, and forget the change.

        `backup` is needed where the journal stands before the swap. Raises Problem as the steps do; the journal stands at the one that failed.
        """
        work: Dict[str, Callable[[], None]] = {
            "freeze": lambda: freeze(self._deployment, self._timeout_seconds, self._progress),
            "load": lambda: self._load(backup),
            "swap": self._swap,
            "admin-pre": lambda: self._admin("pre"),
            "start": self._start,
            "admin-post": lambda: self._admin("post", "repair"),
            "thaw": lambda: self._end(self._kept),
        }
        steps = STEPS["restore"]
        for name in steps[steps.index(self.change.step) :]:
            if self.change.step != name:
                self.change = advance(self._deployment, self.change, name)
            work[name]()

    def go_back(self) -> None:
        """Bring the old data back, wherever the journal stands, and forget the change. Raises Problem as the steps do."""
        if self.change.step not in UNTOUCHED:
            if self._swapped():
                self._progress.line("bringing the old data back")
                self._stop()
                swap_back(self._deployment, self._databases(), self._loaded, self._kept)
            self._start_clair()
        self._end(self._loaded)

    def _swapped(self) -> bool:
        names = database_names(self._deployment)
        return any(f"{name}_{self._kept}" in names for name in self._databases())

    def _databases(self) -> List[str]:
        return [str(name) for name in self.change.facts["databases"]]

    def _load(self, backup: Optional[Backup]) -> None:
        if backup is None:
            raise ValueError("no backup to load")
        load_beside(self._deployment, backup, self._loaded, self._progress, self._timeout_seconds)

    def _swap(self) -> None:
        self._stop()
        swap_in_databases(self._deployment, self._databases(), self._loaded, self._kept)
        self._progress.line("databases swapped; the old ones are kept until the new ones are verified")

    def _stop(self) -> None:
        found = [one for one in containers(self._deployment) if one.service in CLAIR_SERVICES]
        if found:
            words = ["stop", "--time", str(STOP_SECONDS), *(one.id for one in found)]
            engine.docker(words, timeout_seconds=STOP_SECONDS + 90)

    def _admin(self, *kinds: str) -> None:
        """Run the steps of these kinds; those that follow the migrations wait for `up` where no Clair is there to make them."""
        steps = [step for step in steps_of(self.change) if step.when in kinds]
        if not self.change.facts["clair"]:
            # A repair mends what the older release stored, which is all there already.
            steps = [step for step in steps if step.when != "post"]
        run_steps(self._deployment, steps, self._timeout_seconds, self._progress)

    def _start(self) -> None:
        if not self.change.facts["clair"]:
            return
        self._start_clair()
        wanted = self._deployment.facts["release"]["schema"]
        for name, found in read_schemas(self._deployment).items():
            if name in wanted and found.version != int(wanted[name]):
                raise Problem(
                    f"not verified, database {name}: it stands at migration {found.version}, and {wanted[name]} is expected",
                    f"./clair logs {name}",
                    NO,
                )
        self._check_edge()

    def _start_clair(self) -> None:
        """Start the Clair services and wait until they work; none where none was there before."""
        services = [name for name in CLAIR_SERVICES if name in self._deployment.facts["services"]]
        if self.change.facts["clair"]:
            limit = self._progress.seconds + self._timeout_seconds
            start(self._deployment, services, ["--no-deps"], limit, self._progress, is_ready=works)

    def _check_edge(self) -> None:
        if not any(one.service == "traefik" and one.state == "running" for one in containers(self._deployment)):
            return
        deadline = time.monotonic() + _EDGE_SECONDS
        while wrong := edge_problem(self._deployment):
            if time.monotonic() > deadline:
                raise Problem(f"not verified, {self._deployment.name}: {wrong}", "./clair verify", NO)
            self._progress.waiting(f"verifying: {wrong}")
            time.sleep(_POLL_SECONDS)

    def _end(self, suffix: str) -> None:
        """Open the edge, drop the databases of a suffix and forget the change."""
        thaw(self._deployment, self._timeout_seconds, self._progress)
        drop_databases(self._deployment, suffix)
        drop_change(self._deployment)


def steps_for(deployment: Deployment, backup: Backup) -> List[Step]:
    """Return the steps that the applied release needs for the data of a backup, as `upgrade` finds them."""
    stored = {name: version for name, version in backup.schema.items() if version > 0}
    return needed_steps(deployment.facts["release"], stored)


def steps_of(change: Change) -> List[Step]:
    """Return the steps that were found when a restore began; none where an older command began it."""
    return [Step(**fact) for fact in change.facts.get("steps", ())]


def start_server(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """Start the bundled server where it does not run, after `down` or a power loss. Raises Problem as `start_database` does."""
    running = any(one.service == SERVICE and one.state == "running" for one in containers(deployment))
    if deployment.bundled_database and not running:
        start_database(deployment, progress.seconds + timeout_seconds, progress)


def clair_is_there(deployment: Deployment) -> bool:
    """Return whether a Clair service has a container, so that it is to run after the restore."""
    return any(one.service in CLAIR_SERVICES for one in containers(deployment))
