"""Changes the PostgreSQL major to the rendered one, by dump and restore into a new volume (`database-upgrade`).

Shows the plan and asks (`--yes` answers; `--plan` only shows it). The old volume is kept and named, and `rollback` returns to
it; `--drop-old` deletes volumes that are no longer in use. What fails, Ctrl-C and SIGTERM lead back to the old server; after
kill -9 or a power loss `database-upgrade` goes on and `rollback` goes back. Writes `backups/`, `state/`. Exit codes: 0 done, or
nothing to do; 1 it failed and the old server is back, too little disk, or no agreement; 2 configuration, or nobody to ask;
3 another command runs, an image cannot be had, no answer in time. Environment: YES=1, PLAN=1, JSON=1, TIMEOUT in seconds for each step
(86400), ALLOW_SMALL=1.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, List, Mapping

from ..checks.check_deployment import require, require_merged
from ..errors import USAGE, Problem
from ..host import engine
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..lifecycle.pull_images import pull_missing
from ..lifecycle.read_schema import Schema, read_schemas
from ..settings import Deployment, load_deployment
from ..state.build_parts import build_parts
from ..state.create_secrets import create_missing
from ..state.refuse_change import applied_facts, chosen_volume, data_volume, database_volumes
from ..state.track_change import (
    UNTOUCHED,
    Change,
    begin_change,
    forget_last_change,
    last_change,
    refuse_unfinished,
    unfinished_change,
)
from .ask_operator import add_change_options, ask
from .end_in_failure import Failure, end_in_failure
from .free_space import disk_problem
from .move_database import go_back, kept_volumes, move
from .plan_database import Plan, left_major_of, lines, make_plan, refusal
from .refuse_late_answer import refuse_late_answer, see
from .show_plan import require_database, show_done, show_nothing, show_plan, show_unfinished
from .start_applied import start_database_where_down

COMMAND = "database-upgrade"
TIMEOUT_SECONDS = 86400.0


def upgrade(new: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> Dict[str, Any]:
    """Do the change from the step its journal stands at, and return what was done; the lock must be held.

    Raises Problem if it failed, after the way back, also after Ctrl-C.
    """
    latest = [change]
    try:
        move(new, change, timeout_seconds, progress, lambda entry: latest.__setitem__(0, entry))
    except (Exception, KeyboardInterrupt) as error:
        # Whatever it was, a fault of these modules too: half a change must not stay.
        reached, facts = latest[0], change.facts
        failure = Failure(
            f"database-upgrade failed, PostgreSQL {facts['from']} to {facts['to']}",
            f"PostgreSQL {facts['from']}",
            COMMAND,
        )
        raise end_in_failure(
            failure, reached.step, error, lambda: go_back(new, reached, progress, timeout_seconds), progress
        ) from error
    facts = change.facts
    progress.line(
        f"done: {new.name} runs PostgreSQL {facts['to']} on volume {facts['new_volume']} ({progress.seconds:.0f} s)"
    )
    progress.line(
        f"kept: volume {facts['old_volume']}; way back: ./clair rollback; to delete it: ./clair {COMMAND} --drop-old"
    )
    told = ("from", "to", "old_volume", "new_volume")
    return {"operation": COMMAND, **{name: facts[name] for name in told}, "seconds": round(progress.seconds, 1)}


def drop_old(deployment: Deployment, yes: bool, progress: Progress) -> List[str]:
    """Delete the volumes of this database that are not in use, and return them; there is no way back to them then."""
    volumes = database_volumes(deployment)
    if volumes and (applied_facts(deployment) is None or chosen_volume(deployment) not in volumes):
        # Only `state/` knows which one is in use where there are several.
        raise Problem(f"nothing deleted, {deployment.name}: which volume is in use is not known", "make up", USAGE)
    doomed = kept_volumes(deployment, volumes)
    if not doomed:
        progress.line("nothing to delete: every volume of the database is in use")
        return []
    ask(f"{COMMAND} --drop-old", f"delete {', '.join(doomed)} for good?", yes)
    with hold_lock(deployment, COMMAND):
        refuse_unfinished(deployment)
        # A `rollback` while the question stood open uses the other one again.
        doomed = [volume for volume in kept_volumes(deployment, volumes) if volume in doomed]
        change = last_change(deployment)
        if change is not None and change.operation == COMMAND:
            forget_last_change(deployment)
        for volume in doomed:
            engine.docker(["volume", "rm", volume], timeout_seconds=300)
            progress.line(f"deleted: volume {volume}")
    return doomed


def main(argv: List[str]) -> int:
    """Run `database-upgrade`."""
    parser = Parser(COMMAND, "Change the PostgreSQL major to the rendered one, into a new volume, with a way back.")
    add_change_options(parser, TIMEOUT_SECONDS)
    parser.add_argument("--drop-old", action="store_true", help="delete the volumes that are no longer in use")
    options = parser.parse_args(argv)
    end_like_ctrl_c()
    new = load_deployment(applied=False)
    require_merged(new)
    progress = Progress()
    if options.drop_old:
        deleted = drop_old(load_deployment(), options.yes, progress)
        show_done({"operation": f"{COMMAND} --drop-old", "deleted": deleted}, options.json)
        return 0
    refuse_unfinished(new, COMMAND)
    unfinished = unfinished_change(new)
    if unfinished is not None and options.plan:
        show_unfinished(unfinished, options.json)
        return 0
    if unfinished is not None:
        return _go_on(new, unfinished, options, progress)
    seen = see(new)
    applied = seen.applied
    problem = refusal(applied, new.facts, "" if applied is not None else left_major_of(new))
    if problem or applied is None:
        raise problem or Problem(f"no database-upgrade, {new.name}: it was never started", "make up")
    old = Deployment(applied, new.root)
    if not data_volume(old):
        raise Problem(f"no database-upgrade, {new.name}: there is no data, so `up` starts what is rendered", "make up")
    if old.facts["database"]["version"] == new.facts["database"]["version"]:
        reason = (
            f"nothing to do: {new.name} runs PostgreSQL {old.facts['database']['version']}, which is what is rendered"
        )
        show_nothing(reason, progress, plan=options.plan, as_json=options.json)
        return 0
    if options.plan:
        require_database(old, COMMAND)
        plan = make_plan(old, new, read_schemas(old))
        show_plan(lines(plan), asdict(plan), options.json)
        return 0
    start_database_where_down(old, options.timeout, progress)
    plan = make_plan(old, new, read_schemas(old))
    require(new, options.allow_small)
    for line in lines(plan):
        progress.line(line)
    too_small = disk_problem(plan.disk)
    if too_small:
        raise too_small
    ask(COMMAND, f"change {new.name} from PostgreSQL {plan.from_major} to {plan.to_major}?", options.yes)
    with hold_lock(new, COMMAND):
        refuse_unfinished(new)
        refuse_late_answer(new, COMMAND, seen)
        change = _begin(new, plan, read_schemas(old), options.timeout, progress)
        done = upgrade(new, change, options.timeout, progress)
    show_done(done, options.json)
    return 0


def _begin(
    new: Deployment, plan: Plan, schemas: Mapping[str, Schema], timeout_seconds: float, progress: Progress
) -> Change:
    """Get everything ready that touches nothing, then begin the journal."""
    for name in create_missing(new)[0]:
        progress.line(f"created secrets/{name}")
    # Raises where a config cannot be read or a secret is missing: before anything is closed.
    build_parts(new)
    pull_missing(new, list(new.facts["services"]), timeout_seconds, progress)
    facts: Dict[str, Any] = {
        "from": plan.from_major,
        "to": plan.to_major,
        "old_volume": plan.old_volume,
        "new_volume": plan.new_volume,
        "schema": {name: found.version for name, found in schemas.items()},
    }
    return begin_change(new, COMMAND, UNTOUCHED[0], **facts)


def _go_on(new: Deployment, change: Change, options: Any, progress: Progress) -> int:
    """Go on with a change that was cut short. Raises Problem (2) if another major is rendered by now."""
    progress.line(
        f"a database-upgrade from PostgreSQL {change.facts['from']} to {change.facts['to']} stands at step {change.step}"
    )
    if change.facts["to"] != new.facts["database"]["version"]:
        raise Problem(
            f"database-upgrade not continued, {new.name}: it leads to PostgreSQL {change.facts['to']}, and "
            f"{new.facts['database']['version']} is rendered",
            "./clair rollback",
        )
    ask(COMMAND, "go on?", options.yes)
    with hold_lock(new, COMMAND):
        current = unfinished_change(new)
        refuse_unfinished(new, COMMAND)
        if current is None or current.started_at != change.started_at:
            raise Problem(f"nothing to continue, {new.name}: the change has ended meanwhile", "./clair ps")
        pull_missing(new, list(new.facts["services"]), options.timeout, progress)
        if current.step in UNTOUCHED:
            start_database_where_down(load_deployment(new.root), options.timeout, progress)
        done = upgrade(new, current, options.timeout, progress)
    show_done(done, options.json)
    return 0
