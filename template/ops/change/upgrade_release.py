"""Changes the Clair release to the rendered one, with a backup and a way back (`upgrade`); `--plan` only says what it would do.

Shows the plan and asks (`--yes` answers). Then: images, edge closed to writes, backup, `clairctl admin pre`, one service after
the other, `clairctl admin post`, checks, edge open. What fails, Ctrl-C and SIGTERM lead back to the old release by themselves;
after kill -9 or a power loss `upgrade` goes on and `rollback` goes back. Writes `backups/`, `state/`. Exit codes: 0 done, or
nothing to do; 1 it failed and the old release is back, too little disk, or no agreement; 2 configuration, or nobody to ask;
3 another command runs, an image cannot be had, no answer in time. Environment: YES=1, PLAN=1, JSON=1, TIMEOUT in seconds for each step (3600),
ALLOW_SMALL=1.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Dict, List, Optional, Tuple

from ..backup.database_admin import administer
from ..checks.check_deployment import require, require_merged
from ..checks.check_host import local_images
from ..errors import USAGE, Problem
from ..host import engine
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..lifecycle.pull_images import images_of, pull_missing
from ..lifecycle.read_schema import read_schemas
from ..lifecycle.start_database import SERVICE
from ..settings import Deployment, load_deployment
from ..state.apply_state import applied_tree
from ..state.build_parts import build_parts
from ..state.create_secrets import create_missing
from ..state.refuse_change import applied_facts, has_data, older_release_problem
from ..state.track_change import (
    UNTOUCHED,
    Change,
    begin_change,
    drop_change,
    refuse_unfinished,
    turn_back,
    unfinished_change,
)
from .ask_operator import add_change_options, ask
from .end_in_failure import Failure, end_in_failure
from .free_space import disk_needs, disk_problem
from .freeze_edge import thaw
from .go_back import back_steps, go_back
from .go_forward import Run, go_forward
from .plan_upgrade import ORDER, Plan, lines, make_plan, upgrade_problem
from .refuse_late_answer import refuse_late_answer, see
from .show_plan import require_database, show_done, show_nothing, show_plan, show_unfinished
from .start_applied import start_database_where_down

TIMEOUT_SECONDS = 3600.0


def upgrade(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Dict[str, Any]:
    """Do an upgrade from the step its journal stands at, and return what was done; the lock must be held.

    Raises Problem if it failed, after the way back, or KeyboardInterrupt likewise.
    """
    latest = [change]
    try:
        away = go_forward(Run(new, timeout_seconds, progress), change, lambda entry: latest.__setitem__(0, entry))
    except (Exception, KeyboardInterrupt) as error:
        # Whatever it was, a fault of these modules too: half a change must not stay.
        reached, facts = latest[0], change.facts
        failure = Failure(
            f"upgrade failed, Clair {facts['from']} to {facts['to']}", f"Clair {facts['from']}", "upgrade"
        )
        raise end_in_failure(
            failure, reached.step, error, lambda: _bring_back(new, reached, timeout_seconds, progress), progress
        ) from error
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in away.items())
    progress.line(
        f"upgraded: {new.name} runs Clair {new.release} ({progress.seconds:.0f} s{f'; {told}' if told else ''})"
    )
    backup = latest[0].facts.get("backup", "")
    progress.line(f"way back: ./clair rollback (to {change.facts['from']}, as of {backup})")
    return {
        "operation": "upgrade",
        "from": change.facts["from"],
        "to": new.release,
        "backup": backup,
        "seconds": round(progress.seconds, 1),
        "services_seconds": {name: round(seconds, 1) for name, seconds in away.items()},
    }


def _bring_back(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    if change.step in UNTOUCHED:
        thaw(load_deployment(new.root), timeout_seconds, progress)
        drop_change(new)
    else:
        change = turn_back(new, change, back_steps(change)[0], failed_at=change.step)
        go_back(new, change, timeout_seconds, progress)


def read_plan(old: Deployment, new: Deployment) -> Plan:
    """Return the plan of an upgrade; asks Docker and the databases, changes nothing. Raises Problem (3)."""
    schemas = read_schemas(old)
    names = [name for name in ORDER if name in new.facts["services"]]
    images = {image: found is not None for image, found in local_images(needed_images(new)).items()}
    definitions = [definitions_of(new, rendered) for rendered in (False, True)]
    changed = {name: _changes(old, new, name) or definitions[0].get(name) != definitions[1].get(name) for name in names}
    size_bytes = sum(found.size_bytes for found in schemas.values())
    disk = disk_needs(new, size_bytes)
    return make_plan(old.facts, new.facts, schemas, images=images, changed=changed, disk=disk)


def definitions_of(deployment: Deployment, rendered: bool) -> Dict[str, Any]:
    """Return the services as Compose reads them, applied or rendered, without labels, which only say what is mounted."""
    result = engine.compose(
        deployment, ["config", "--format", "json"], timeout_seconds=60, check=False, rendered=rendered
    )
    try:
        services = json.loads(result.stdout)["services"]
    except (ValueError, KeyError, TypeError):
        # Compose says why when it is to start something.
        return {}
    return {name: {key: value for key, value in one.items() if key != "labels"} for name, one in services.items()}


def needed_images(new: Deployment) -> List[str]:
    """Return the images that the new release needs, those of its tools included."""
    images = new.facts["images"]
    tools = [images[name] for name in ("clair-import", "clair-database") if name in images]
    return sorted({*images_of(new, list(new.facts["services"])), *tools})


def _changes(old: Deployment, new: Deployment, service: str) -> bool:
    """Return whether a service's container is replaced because of its image or what it mounts."""
    if service in ("indexer", "matcher", "notifier"):
        return True
    part = service.replace("clair-", "")
    images = [deployment.facts["images"].get(service) for deployment in (old, new)]
    parts = build_parts(new, [part])
    # PostgreSQL reads its part only when it makes a new data folder.
    return images[0] != images[1] or (service != SERVICE and parts.get(part) != applied_tree(new, part))


def main(argv: List[str]) -> int:
    """Run `upgrade`."""
    parser = Parser("upgrade", "Change the Clair release to the rendered one, with a backup and a way back.")
    add_change_options(parser, TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    end_like_ctrl_c()
    new = load_deployment(applied=False)
    require_merged(new)
    progress = Progress()
    unfinished = unfinished_change(new)
    if unfinished is not None:
        refuse_unfinished(new, "upgrade")
        if options.plan:
            show_unfinished(unfinished, options.json)
            return 0
        return _go_on(new, unfinished, options, progress)
    seen = see(new)
    old, reason = _old_or_reason(new)
    if old is None:
        show_nothing(reason, progress, plan=options.plan, as_json=options.json)
        return 0
    if options.plan:
        require_database(old, "upgrade")
        plan = read_plan(old, new)
        show_plan(lines(plan), plan.as_dict(), options.json)
        return 0
    start_database_where_down(old, options.timeout, progress)
    plan = read_plan(old, new)
    require(new, options.allow_small)
    for line in lines(plan):
        progress.line(line)
    too_small = disk_problem(plan.disk)
    if too_small:
        raise too_small
    ask("upgrade", f"upgrade {new.name} from Clair {plan.from_release} to {plan.to_release}?", options.yes)
    with hold_lock(new, "upgrade"):
        refuse_unfinished(new)
        refuse_late_answer(new, "upgrade", seen)
        change = _begin(new, plan, options.timeout, progress)
        done = upgrade(new, change, options.timeout, progress)
    show_done(done, options.json)
    return 0


def _old_or_reason(new: Deployment) -> Tuple[Optional[Deployment], str]:
    """Return what is applied, or None with the sentence that says why there is nothing to upgrade.

    Raises Problem (2) if nothing is applied yet, or what is rendered is no upgrade.
    """
    applied = applied_facts(new)
    if applied is None or not has_data(new):
        raise Problem(f"nothing to upgrade, {new.name}: it was never started", "./clair up", USAGE)
    problem = upgrade_problem(applied, new.facts) or older_release_problem(new, applied)
    if problem:
        raise problem
    if applied.get("clair_release") == new.release:
        return None, f"nothing to upgrade: {new.name} runs Clair {new.release}, which is what is rendered"
    return Deployment(applied, new.root), ""


def _begin(new: Deployment, plan: Plan, timeout_seconds: float, progress: Progress) -> Change:
    """Get everything ready that needs no journal, because nothing of the old release is touched; then begin it."""
    old = load_deployment(new.root)
    created, _ = create_missing(new)
    for name in created:
        progress.line(f"created secrets/{name}")
    # Raises where a config cannot be read or a secret is missing: before anything is closed.
    build_parts(new)
    pull_missing(new, [*new.facts["services"], SERVICE, "clair-import"], timeout_seconds, progress)
    if not old.bundled_database:
        # The way back makes databases; better said now than when it is needed.
        administer(old, "SELECT 1;")
    start_database_where_down(old, timeout_seconds, progress)
    facts: Dict[str, Any] = {
        "from": plan.from_release,
        "to": plan.to_release,
        "schema": {name: now for name, (now, _) in plan.schema.items()},
        "steps": [asdict(step) for step in plan.steps],
    }
    return begin_change(new, "upgrade", UNTOUCHED[0], **facts)


def _go_on(new: Deployment, change: Change, options: Any, progress: Progress) -> int:
    """Go on with an upgrade that was cut short. Raises Problem (2) if another release is rendered by now."""
    progress.line(f"an upgrade from Clair {change.facts['from']} to {change.facts['to']} stands at step {change.step}")
    if change.facts["to"] != new.release:
        raise Problem(
            f"upgrade not continued, {new.name}: it leads to Clair {change.facts['to']}, and {new.release} is rendered",
            "./clair rollback",
            USAGE,
        )
    require(new, options.allow_small)
    ask("upgrade", "go on?", options.yes)
    with hold_lock(new, "upgrade"):
        # Read again: another command may have moved it while nobody held the lock.
        current = unfinished_change(new)
        refuse_unfinished(new, "upgrade")
        if current is None or current.started_at != change.started_at:
            raise Problem(f"nothing to continue, {new.name}: the upgrade has ended meanwhile", "./clair ps", USAGE)
        pull_missing(new, [*new.facts["services"], SERVICE, "clair-import"], options.timeout, progress)
        start_database_where_down(load_deployment(new.root), options.timeout, progress)
        done = upgrade(new, current, options.timeout, progress)
    show_done(done, options.json)
    return 0
