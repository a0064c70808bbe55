"""Keeps the journal of a change: `state/journal.json` says which command changes what, and how far it came.

A step is written, and is on disk, before its work begins; so after `kill -9` or a power loss the next command knows what may
have happened. A finished change moves to `state/last-change.json`: what `rollback` can go back from.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ..errors import USAGE, Problem
from ..host.write_files import make_folder, sync_folder, write_file
from ..settings import Deployment

# Operation: the command that goes on with it or brings it back.
_WAYS_OUT = {
    "upgrade": "./clair upgrade",
    "rollback": "./clair rollback",
    "database-upgrade": "./clair database-upgrade",
    "restore": "./clair restore",
}
_WAYS_BACK = {"upgrade": "./clair rollback", "database-upgrade": "./clair rollback"}
# Operation: the steps that a journal may stand at, and the facts that every one of them has (change/ does the work).
_DONE = "done"
# Before these nothing of what runs is touched: the way back of an upgrade or a database-upgrade is to open the edge.
UNTOUCHED = ("freeze", "backup", "keep")
_ROLLS = [f"roll-{name}" for name in ("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")]
STEPS: Dict[str, Tuple[str, ...]] = {
    "upgrade": (*UNTOUCHED, "apply", "admin-pre", *_ROLLS, "admin-post", "verify", "thaw"),
    "rollback": ("close", "load", "stop", "swap", "start", "check", "open", "return"),
    "database-upgrade": (*UNTOUCHED, "apply", "load", "start", "verify", "thaw"),
    "restore": ("freeze", "load", "swap", "admin-pre", "start", "admin-post", "thaw"),
}
_FACTS = {
    "upgrade": ("from", "to"),
    "rollback": ("from", "to"),
    "database-upgrade": ("from", "to", "old_volume", "new_volume"),
    "restore": ("backup", "databases", "clair"),
}


@dataclass(frozen=True)
class Change:
    """One change: its operation (the command's name), the step that has begun, and what the later steps need to know.

    `facts` holds JSON values only and no secret. `id` names what belongs to this change, such as databases beside the old ones.
    """

    operation: str
    id: str
    started_at: str
    step: str
    facts: Dict[str, Any] = field(default_factory=dict)


def schema_of(change: Change) -> Optional[Dict[str, int]]:
    """Return the migration that each database stood at when a change began, or None if it did not say."""
    return {name: int(version) for name, version in dict(change.facts.get("schema", {})).items()} or None


def journal_path(deployment: Deployment) -> Path:
    """Return where the journal of an unfinished change is."""
    return deployment.state / "journal.json"


def last_change_path(deployment: Deployment) -> Path:
    """Return where the journal of the last finished change is."""
    return deployment.state / "last-change.json"


def unfinished_change(deployment: Deployment) -> Optional[Change]:
    """Return the change that was begun and not finished, or None.

    Raises Problem (2) if the journal cannot be read: guessing what happened would be worse.
    """
    return _read(journal_path(deployment), deployment)


def last_change(deployment: Deployment) -> Optional[Change]:
    """Return the last finished change, or None; one that cannot be read counts as none, with a warning on stderr."""
    try:
        return _read(last_change_path(deployment), deployment)
    except Problem as problem:
        print(f"warning: {problem.sentence}; there is no way back from that change", file=sys.stderr)
        return None


def begin_change(deployment: Deployment, operation: str, step: str, **facts: Any) -> Change:
    """Write the journal of a new change; the lock must be held and nothing unfinished."""
    now = datetime.now(timezone.utc)
    change = Change(operation, now.strftime("%Y%m%dt%H%M%Sz"), now.strftime("%Y-%m-%dT%H:%M:%SZ"), step, facts)
    _write(journal_path(deployment), deployment, change)
    return change


def advance(deployment: Deployment, change: Change, step: str, **facts: Any) -> Change:
    """Write that `step` begins, with facts that are known by now; return the change as written."""
    change = replace(change, step=step, facts={**change.facts, **facts})
    _write(journal_path(deployment), deployment, change)
    return change


def turn_back(deployment: Deployment, change: Change, step: str, **facts: Any) -> Change:
    """Write that a change goes back from here on: it becomes a rollback of what it was; return the change as written."""
    facts = {**change.facts, "of": change.facts.get("of", change.operation), **facts}
    change = replace(change, operation="rollback", step=step, facts=facts)
    _write(journal_path(deployment), deployment, change)
    return change


def finish_change(deployment: Deployment, change: Change) -> None:
    """Write that a change is done; it becomes the last change."""
    _write(last_change_path(deployment), deployment, replace(change, step=_DONE))
    drop_change(deployment)


def drop_change(deployment: Deployment) -> None:
    """Forget an unfinished change of which nothing is left."""
    with suppress(FileNotFoundError):
        journal_path(deployment).unlink()
    sync_folder(deployment.state)


def forget_last_change(deployment: Deployment) -> None:
    """Forget the last change: there is no way back from it any more."""
    with suppress(FileNotFoundError):
        last_change_path(deployment).unlink()
    sync_folder(deployment.state)


def refuse_unfinished(deployment: Deployment, *operations: str) -> None:
    """Refuse while a change other than one of `operations` is unfinished.

    Raises Problem (2) that names the command that goes on with it.
    """
    change = unfinished_change(deployment)
    if change is not None and change.operation not in operations:
        raise _unfinished(change)


def unfinished_problem(deployment: Deployment) -> Optional[Problem]:
    """Return the Problem (2) of an unfinished change, or of a journal that cannot be read, or None; raises nothing."""
    try:
        refuse_unfinished(deployment)
    except Problem as problem:
        return problem
    return None


def _unfinished(change: Change) -> Problem:
    back = _WAYS_BACK.get(change.operation)
    return Problem(
        f"change not finished, {change.operation} of {change.started_at}: it stands at step {change.step}"
        + (f"; {back} goes back" if back else ""),
        _WAYS_OUT[change.operation],
        USAGE,
    )


def _read(path: Path, deployment: Deployment) -> Optional[Change]:
    where = path.relative_to(deployment.root).as_posix()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        change = Change(**{name: content[name] for name in ("operation", "id", "started_at", "step", "facts")})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem(f"journal unreadable, {where}: {error.strerror}", f"ls -l {where}", USAGE) from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise Problem(f"journal unreadable, {where}: {reason}", f"cat {where}", USAGE) from error
    reason = _damage(change, path == last_change_path(deployment))
    if reason:
        raise Problem(f"journal unreadable, {where}: {reason}", f"cat {where}", USAGE)
    return change


def _damage(change: Change, is_finished: bool) -> str:
    """Return what no command has written into a journal like this, or an empty text."""
    for name in ("operation", "id", "started_at", "step"):
        if not isinstance(getattr(change, name), str):
            return f"{name} {getattr(change, name)!r}"
    if change.operation not in _WAYS_OUT:
        return f"operation {change.operation!r}"
    steps = (_DONE,) if is_finished else STEPS[change.operation]
    if change.step not in steps:
        return f"step {change.step!r} of {change.operation}"
    if not isinstance(change.facts, dict):
        return f"facts {change.facts!r}"
    absent = [name for name in _FACTS[change.operation] if name not in change.facts]
    return f"no {absent[0]!r} in its facts" if absent else ""


def _write(path: Path, deployment: Deployment, change: Change) -> None:
    make_folder(deployment.state, 0o700)
    content = {"format": 1, **change.__dict__}
    write_file(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n", 0o600)
    sync_folder(path.parent)
