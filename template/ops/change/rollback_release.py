"""Goes back from a change (`rollback`): one that was cut short, or the last finished upgrade or database-upgrade.

Says what is lost and asks (`--yes` answers). An upgrade's databases come back from its backup, loaded beside them, and the old
release is verified before what the new one had written is deleted. Writes `state/`. Exit codes: 0 the old release answers; 1 a
check failed, or no agreement; 2 nothing to go back from, or nobody to ask; 3 another command runs, no answer in time.
Environment: YES=1, TIMEOUT in seconds for each step (3600).
"""

from __future__ import annotations

from typing import List, Mapping

from ..errors import NO, UNDECIDED, USAGE, Problem
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..settings import Deployment, load_deployment
from ..state.refuse_change import applied_facts
from ..state.track_change import UNTOUCHED, Change, drop_change, last_change, schema_of, turn_back, unfinished_change
from .ask_operator import add_yes, ask
from .freeze_edge import thaw
from .go_back import back_steps, backup_of, go_back
from .keep_previous import previous_deployment
from .start_applied import start_database_where_down

TIMEOUT_SECONDS = 3600.0


def change_to_undo(deployment: Deployment) -> Change:
    """Return the change that `rollback` goes back from: the unfinished one, else the last one.

    Raises Problem (2) if there is none, or it is a restore.
    """
    unfinished = unfinished_change(deployment)
    change = unfinished or last_change(deployment)
    if change is None:
        raise Problem(f"nothing to go back from, {deployment.name}: no upgrade was made", "./clair backup", USAGE)
    if change.operation == "restore":
        hint = "./clair restore" if unfinished else "ls backups"
        raise Problem(f"nothing to go back from, {deployment.name}: the last change was a restore", hint, USAGE)
    return change


def told(deployment: Deployment, change: Change) -> List[str]:
    """Return what going back means, for the operator who is asked."""
    release = change.facts.get("from", "")
    lines = [f"way back of {deployment.name}: from the {change.facts.get('of', change.operation)} of {change.started_at}, "
             f"which stands at step {change.step}"]  # fmt: skip
    if change.facts.get("of", change.operation) == "database-upgrade":
        lines.append(f"to        PostgreSQL {release} on volume {change.facts.get('old_volume')}, as it was then")
        lines.append("lost      everything that came into the databases since")
    elif change.facts.get("touched"):
        backup = change.facts.get("backup", "")
        lines.append(f"to        Clair {release} with the databases of {backup}")
        lines.append("lost      everything that came into the databases since that backup")
    elif release:
        lines.append(f"to        Clair {release}; its databases were not touched")
    return lines


def roll_back(deployment: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    """Go back from a change; the lock must be held. Raises Problem as the steps do; `rollback` then goes on."""
    if change.facts.get("of", change.operation) == "database-upgrade":
        from .move_database import go_back as go_back_to_volume

        go_back_to_volume(deployment, change, progress, timeout_seconds)
        return
    start_database_where_down(load_deployment(deployment.root), timeout_seconds, progress)
    if change.step in UNTOUCHED:
        thaw(load_deployment(deployment.root), timeout_seconds, progress)
        drop_change(deployment)
        return
    if change.operation != "rollback":
        if change.facts.get("touched"):
            # The whole dump is read before anything is closed.
            require_dump_from_before(deployment, change, backup_of(deployment, change).schema)
        previous_deployment(deployment)
        change = turn_back(deployment, change, back_steps(change)[0], failed_at=change.step)
    go_back(deployment, change, timeout_seconds, progress)


def require_dump_from_before(deployment: Deployment, change: Change, schema: Mapping[str, int]) -> None:
    """Compare what migrations the dump holds with what the journal noted before the change; a dump of later leads nowhere back.

    Raises Problem (1).
    """
    before = schema_of(change) or {}
    if any(before.get(name, version) != version for name, version in schema.items()):
        raise Problem(
            f"no way back, {deployment.name}: {change.facts.get('backup')} is not of before the {change.operation}",
            "./clair verify",
            NO,
        )


def main(argv: List[str]) -> int:
    """Run `rollback`."""
    parser = Parser("rollback", "Go back from an upgrade or a database-upgrade, finished or not.")
    add_yes(parser)
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    end_like_ctrl_c()
    deployment = load_deployment(applied=False)
    progress = Progress()
    asked = change_to_undo(deployment)
    for line in told(deployment, asked):
        progress.line(line)
    ask("rollback", f"go back with {deployment.name}?", options.yes)
    with hold_lock(deployment, "rollback"):
        change = change_to_undo(deployment)
        if change.started_at != asked.started_at:
            raise Problem(
                f"not begun, rollback of {deployment.name}: another command changed it while the question stood open",
                "./clair rollback",
                UNDECIDED,
            )
        roll_back(deployment, change, options.timeout, progress)
    applied = load_deployment(deployment.root)
    postgres = f" on PostgreSQL {applied.facts['database']['version']}" if applied.bundled_database else ""
    progress.line(f"back: {applied.name} runs Clair {applied.release}{postgres} ({progress.seconds:.0f} s)")
    for line in rendered_hint(deployment, applied):
        progress.line(line)
    return 0


def rendered_hint(deployment: Deployment, applied: Deployment) -> List[str]:
    """Return what to do about rendered files that are still those of the other release."""
    if applied_facts(deployment) is None or deployment.release == applied.release:
        return []
    return [
        f"the files here are still those for Clair {deployment.release}, and `up` refuses them; to take them back as well:",
        f"HINT: copier update --trust --defaults --data clair_version={applied.release}",
    ]
