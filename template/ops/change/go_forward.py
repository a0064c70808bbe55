"""The steps of an upgrade, each safe to run again, so that one that was cut short goes on where its journal stands.

freeze, backup, keep: nothing of the old release is touched. apply: the top files and the tools. admin-pre: with the new
clairctl. roll-SERVICE: its part of the applied state is swapped right before its containers are replaced; so until then a
restart of a container, or of the host, brings back the old release with its own config. admin-post, verify, thaw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List

from ..backup.backup_database import make_backup
from ..checks.check_external import check_external
from ..host.show_progress import Progress
from ..host.watch_start import start
from ..lifecycle.start_database import SERVICE, start_database
from ..lifecycle.start_services import own_services
from ..settings import Deployment, load_deployment
from ..state.apply_state import drop_old_parts, swap_in
from ..state.build_parts import CLAIR_SERVICES, build_parts, top_files
from ..state.track_change import STEPS, UNTOUCHED, Change, advance, finish_change, forget_last_change
from .check_release import check_release
from .freeze_edge import freeze, is_frozen, thaw
from .keep_previous import previous_deployment, save_previous
from .plan_upgrade import Step, rolls_without_gap
from .roll_services import roll
from .run_admin import run_steps

# Parts that are swapped before the first service: clairctl's, and what the Clair services share.
_SHARED_PARTS = ("tools",)
_PARTS = {
    SERVICE: ("database",),
    "indexer": ("indexer", "ca"),
    "matcher": ("matcher", "ca"),
    "notifier": ("notifier", "ca"),
}


@dataclass(frozen=True)
class Run:
    """One run of a change: the deployment as rendered, how long each step may wait, and where progress is told."""

    new: Deployment
    timeout_seconds: float
    progress: Progress


def step_names(deployment: Deployment) -> List[str]:
    """Return the steps of an upgrade to `deployment`, in their order."""
    rolls = {f"roll-{name}" for name in deployment.facts["services"]}
    return [name for name in STEPS["upgrade"] if not name.startswith("roll-") or name in rolls]


def steps_from(deployment: Deployment, reached: str) -> List[str]:
    """Return the steps from `reached` on, also where that is the turn of a service that is no longer rendered."""
    order = STEPS["upgrade"]
    return [name for name in step_names(deployment) if order.index(name) >= order.index(reached)]


def go_forward(run: Run, change: Change, wrote: Callable[[Change], None]) -> Dict[str, float]:
    """Do the steps from the one the journal stands at; return the seconds that each service took until it worked.

    `wrote` gets each journal entry before its work begins. Raises Problem as the steps do; the journal then stands at the
    step that failed.
    """
    away: Dict[str, float] = {}
    for name in steps_from(run.new, change.step):
        facts = {"touched": True} if _touches_rows(change, name) else {}
        if change.step != name or facts:
            change = advance(run.new, change, name, **facts)
            wrote(change)
        change = _work(run, change, name, away)
        wrote(change)
    finish_change(run.new, change)
    return away


def _work(run: Run, change: Change, name: str, away: Dict[str, float]) -> Change:
    progress, seconds, new = run.progress, run.timeout_seconds, run.new
    if name not in UNTOUCHED and name != "thaw" and not is_frozen(new):
        # Somebody deleted the file: what comes now must be under it.
        freeze(_serving(run, change), seconds, progress)
    if name == "freeze":
        freeze(_applied(new), seconds, progress)
    elif name == "backup":
        backup = make_backup(_applied(new), progress, seconds, reason="upgrade")
        return advance(new, change, name, backup=f"backups/{backup.name}")
    elif name == "keep":
        # What an earlier change could go back to is overwritten here.
        forget_last_change(new)
        save_previous(new)
    elif name == "apply":
        swap_in(new, build_parts(new, _SHARED_PARTS), top_files(new))
    elif name in ("admin-pre", "admin-post"):
        run_steps(new, _due(change, name), seconds, progress)
    elif name.startswith("roll-"):
        away[name[5:]] = _roll(run, name[5:])
    elif name == "verify":
        _converge(run)
        check_release(new, seconds, progress)
        progress.line(f"verified: Clair {new.release}")
    elif name == "thaw":
        thaw(new, seconds, progress)
        drop_old_parts(new)
    return change


def _roll(run: Run, service: str) -> float:
    new, progress = run.new, run.progress
    gapless = rolls_without_gap(service, previous_deployment(new).facts, new.facts)
    swap_in(new, build_parts(new, _PARTS.get(service, (service,))), top_files(new))
    if service == SERVICE:
        return _timed(progress, lambda: _roll_database(run))
    seconds = roll(new, service, run.timeout_seconds, progress, gapless)
    progress.line(f"{service}: works ({seconds:.1f} s)")
    return seconds


def _roll_database(run: Run) -> None:
    start_database(run.new, run.progress.seconds + run.timeout_seconds, run.progress)


def _timed(progress: Progress, work: Callable[[], None]) -> float:
    began = progress.seconds
    work()
    return progress.seconds - began


def _converge(run: Run) -> None:
    """Start what is missing and remove what no service asks for any more, as `up` does; nothing if all is as applied."""
    new, limit = run.new, run.progress.seconds + run.timeout_seconds
    if not new.bundled_database:
        check_external(new, run.timeout_seconds)
    services = list(new.facts["services"])
    own = own_services(new) if (new.applied / "compose.override.yaml").is_file() else []
    start(new, [*services, *own], ["--no-deps", "--remove-orphans"], limit, run.progress, wait_for=[])


def _touches_rows(change: Change, name: str) -> bool:
    """Return whether a step may write rows that only the backup takes back: migrations, and the matcher's step before them.

    The index that the indexer's step makes is none that an old release minds.
    """
    if name == "admin-pre":
        return any(step.service == "matcher" for step in _due(change, name))
    return name.startswith("roll-") and name[5:] in CLAIR_SERVICES


def _due(change: Change, name: str) -> List[Step]:
    """Return what the plan found for `admin-pre` or `admin-post`: the steps of `clairctl admin`, and after the last the repairs."""
    kinds = {"admin-pre": ("pre",), "admin-post": ("post", "repair")}[name]
    steps = [Step(**fact) for fact in change.facts.get("steps", ())]
    return [step for kind in kinds for step in steps if step.when == kind]


def _applied(deployment: Deployment) -> Deployment:
    return load_deployment(deployment.root)


def _serving(run: Run, change: Change) -> Deployment:
    """Return the deployment whose edge runs now: the old one's until Traefik was replaced."""
    order = STEPS["upgrade"]
    return run.new if order.index(change.step) > order.index("roll-traefik") else previous_deployment(run.new)
