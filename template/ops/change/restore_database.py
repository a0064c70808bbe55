"""Brings the databases of a backup back in place of those in use (`restore`).

Reads all of the backup, loads it beside the databases, compares every table, then stops Clair, swaps the names in one
transaction, starts Clair and drops the old data once all is verified; meanwhile the edge answers POST and DELETE with 503.
What fails, and Ctrl-C, leads back to the old data by itself; after kill -9 or a power loss the next `restore` takes it back
(before the swap) or goes on (after it). A backup without the matcher leaves the matcher's database as it is.
Writes the databases and `state/`. Exit codes: 0 done; 1 damaged, refused or not verified: the old data is in use; 2 wrong use,
no confirmation, a backup that does not fit; 3 the database does not answer, or another command is running. Environment: FILE,
CONFIRM, YES=1, TIMEOUT in seconds for each step (7200).
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from ..backup.database_admin import administer
from ..backup.dump_databases import folder_bytes
from ..backup.load_backup import check_room
from ..backup.prove_backup import choose_backup, read_whole, refuse_newer_server
from ..backup.read_backup import Backup, read_manifest
from ..clair.run_clairctl import size
from ..errors import INTERRUPTED, USAGE, Problem
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..lifecycle.pull_images import pull_missing
from ..settings import Deployment, load_deployment
from ..state.track_change import Change, begin_change, refuse_unfinished, unfinished_change
from .ask_operator import add_yes
from .refuse_backup import refuse_unfit
from .restore_steps import UNTOUCHED, Restore, clair_is_there, start_server, steps_for, steps_of

TIMEOUT_SECONDS = 7200.0
_CLAIRCTL = "docker compose run --rm --no-deps clairctl -c /config/config.yaml"


def announcement(deployment: Deployment, backup: Backup) -> List[str]:
    """Return the lines that say what comes from where and what it replaces."""
    manifest, names = backup.manifest, ", ".join(backup.databases)
    where = "volume of this machine" if deployment.bundled_database else str(deployment.facts["database"]["host"])
    lines = [
        f"source       {backup.path}: {manifest['deployment_name']}, Clair {manifest['clair_release']}, "
        f"PostgreSQL {manifest['postgres_version']}, made {backup.made_at}, {size(folder_bytes(backup.path))}, whole",
        f"destination  {deployment.name}, Clair {deployment.release}: databases {names} ({where})",
        f"overwritten  all that is in these databases: what came since {backup.made_at} is lost",
    ]
    lines += [f"stays        database {name}: not in this backup" for name in manifest["skipped"]]
    if manifest["clair_release"] != deployment.release:
        lines.append(
            f"migrations   those from Clair {manifest['clair_release']} to {deployment.release} run when Clair starts"
        )
    for step in steps_for(deployment, backup):
        what = f"repair {step.name}" if step.when == "repair" else f"clairctl admin {step.when} {step.name}"
        lines.append(f"step         {what}: {step.does}")
    if manifest["deployment_name"] != deployment.name:
        lines.append(f"note         this is a backup of another deployment, {manifest['deployment_name']}")
    return lines


def confirmation_problem(deployment: Deployment, backup: Backup, confirm: str, yes: bool) -> Optional[Problem]:
    """Return the Problem (2) for a confirmation that is wrong or missing, or None.

    `yes` confirms a backup of this deployment only: another one's needs the name.
    """
    if confirm == deployment.name or (yes and not confirm and backup.manifest["deployment_name"] == deployment.name):
        return None
    other = " (this is a backup of another deployment)" if backup.manifest["deployment_name"] != deployment.name else ""
    reason = f"{confirm!r} is not its name" if confirm else f"its name is needed as confirmation{other}"
    hint = f"./clair restore {shlex.quote(str(backup.path))} --confirm {deployment.name}"
    return Problem(f"nothing restored, {deployment.name}: {reason}", hint, USAGE)


def restore(deployment: Deployment, backup: Backup, timeout_seconds: float, progress: Progress) -> None:
    """Do a restore; the lock must be held and nothing unfinished.

    Raises Problem or KeyboardInterrupt after the old data was brought back.
    """
    steps = steps_for(deployment, backup)
    facts: Dict[str, Any] = {
        "backup": _shown(deployment, backup.path),
        "databases": backup.databases,
        "clair": clair_is_there(deployment),
        "steps": [asdict(step) for step in steps],
    }
    if any(step.when != "repair" for step in steps):
        # On a new machine no Clair has run yet; better now than when the databases are swapped.
        pull_missing(deployment, backup.databases, timeout_seconds, progress)
    work = Restore(deployment, begin_change(deployment, "restore", "freeze", **facts), timeout_seconds, progress)
    run(deployment, work, lambda: work.go_forward(backup), progress)
    done = f"restored: {deployment.name} has the data of {backup.made_at} ({progress.seconds:.1f} s)"
    progress.line(done if facts["clair"] else f"{done}; next: {_next(work.change)}")


def go_on(deployment: Deployment, change: Change, timeout_seconds: float, progress: Progress) -> None:
    """End a restore that was cut short: take it back before the swap, else go on with it. The lock must be held."""
    work = Restore(deployment, change, timeout_seconds, progress)
    start_server(deployment, timeout_seconds, progress)
    told = f"restore of {change.facts['backup']}, begun {change.started_at}, was cut short at step {change.step}"
    if change.step in UNTOUCHED:
        progress.line(f"{told}: taking it back")
        work.go_back()
        progress.line("the old data is in use, as before")
        return
    progress.line(f"{told}: going on with it")
    run(deployment, work, work.go_forward, progress)
    done = f"restored: {deployment.name} has the data of {change.facts['backup']}"
    progress.line(done if change.facts["clair"] else f"{done}; next: {_next(change)}")


def _next(change: Change) -> str:
    """Return the commands that come after a restore into a deployment that has no Clair yet: the last steps follow the migrations."""
    last = [step.name for step in steps_of(change) if step.when == "post"]
    return " && ".join(["./clair up", *(f"{_CLAIRCTL} admin post {name}" for name in last)])


def run(deployment: Deployment, work: Restore, forward: Callable[[], None], progress: Progress) -> None:
    """Go forward; on any failure go back, and raise what failed. A second Ctrl-C stops at once."""
    try:
        forward()
    except (Exception, KeyboardInterrupt) as error:
        # Whatever it was, a fault of these modules too: half a restore must not stay.
        progress.end()
        what = error.sentence if isinstance(error, Problem) else "interrupted"
        if work.change.step == "thaw":
            # The new data is verified and in use; only the clearing up is left.
            raise Problem(
                f"restore not finished, {deployment.name}: {what}",
                "./clair restore",
                getattr(error, "code", INTERRUPTED),
            ) from error
        progress.line(f"step {work.change.step}: {what}")
        try:
            work.go_back()
        except Problem as second:
            raise Problem(
                f"restore failed, {deployment.name}: {what}; the way back is not finished: {second.sentence}",
                "./clair restore",
                second.code,
            ) from error
        progress.line("the old data is in use, as before")
        raise


def main(argv: List[str]) -> int:
    """Run `restore`."""
    parser = Parser("restore", "Bring a backup's databases back; what came into them since is lost.")
    parser.add_file("the backup")
    parser.add_argument(
        "--confirm", default=os.environ.get("CONFIRM", ""), metavar="NAME", help="this deployment's name [CONFIRM]"
    )
    add_yes(parser)
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    end_like_ctrl_c()
    progress = Progress()
    refuse_unfinished(deployment, "restore")
    unfinished = unfinished_change(deployment) is not None
    # Before anything else: a confirmation that is refused must change nothing, an unfinished restore included.
    found = _judged(deployment, options.file, options.confirm, options.yes) if options.file or not unfinished else None
    if unfinished:
        _end_unfinished(deployment, options.timeout, progress)
        progress = Progress()
    if found is None:
        return 0
    # Only now gigabytes are read.
    backup = read_whole(found.path, progress)
    for line in announcement(deployment, backup):
        progress.line(line)
    confirm, yes = options.confirm, options.yes
    if not confirm and not yes:
        confirm = _ask_name(deployment)
    _require_confirmation(deployment, backup, confirm, yes)
    with hold_lock(deployment, "restore"):
        refuse_unfinished(deployment)
        # Read again: another command may have changed the release, or deleted the backup, while the name was asked for.
        deployment = load_deployment()
        refuse_unfit(deployment, read_manifest(backup.path, summed=True))
        _require_confirmation(deployment, backup, confirm, yes)
        start_server(deployment, options.timeout, progress)
        refuse_newer_server(backup, _server_major(deployment))
        check_room(deployment, backup)
        restore(deployment, backup, options.timeout, progress)
    return 0


def _judged(deployment: Deployment, file: str, confirm: str, yes: bool) -> Backup:
    """Return the backup, by its manifest, if it fits and is not refused for its confirmation.

    Raises Problem (1, 2); nothing was touched.
    """
    if not file:
        raise Problem("backup not named, restore: which one", "ls backups", USAGE)
    backup = read_manifest(choose_backup(deployment, file), summed=True)
    refuse_unfit(deployment, backup)
    if confirm or not _at_terminal():
        _require_confirmation(deployment, backup, confirm, yes)
    return backup


def _end_unfinished(deployment: Deployment, timeout_seconds: float, progress: Progress) -> None:
    """End a restore that was cut short, if it is still there under the lock."""
    with hold_lock(deployment, "restore"):
        refuse_unfinished(deployment, "restore")
        change = unfinished_change(deployment)
        if change is not None:
            go_on(load_deployment(), change, timeout_seconds, progress)


def _require_confirmation(deployment: Deployment, backup: Backup, confirm: str, yes: bool) -> None:
    problem = confirmation_problem(deployment, backup, confirm, yes)
    if problem:
        raise problem


def _at_terminal() -> bool:
    return bool(sys.stdin and sys.stdin.isatty())


def _ask_name(deployment: Deployment) -> str:
    """Return the name that is typed at the terminal."""
    sys.stderr.write(f"type {deployment.name} to overwrite its data: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _server_major(deployment: Deployment) -> int:
    text = administer(deployment, "SELECT current_setting('server_version_num')::int / 10000;\n", retry=True)
    return int(text.strip())


def _shown(deployment: Deployment, path: Path) -> str:
    root = deployment.root.resolve()
    return str(path.relative_to(root)) if root in path.parents else str(path)
