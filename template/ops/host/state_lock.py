"""Lets one command at a time change something: `state/lock` for the deployment, held with flock, names its holder.

flock ends with its process, so a killed command leaves no stale lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator, Optional

from ..errors import UNDECIDED, Problem
from ..settings import Deployment
from .write_files import make_folder


@contextmanager
def hold_lock(deployment: Deployment, command: str, path: Optional[Path] = None) -> Iterator[None]:
    """Hold `state/lock`, or the file `path` below an existing folder of `state/`, for the block.

    Raises Problem (3) if another command holds it, (2) if `state/` belongs to another user.
    """
    path = path or deployment.state / "lock"
    shown = path.relative_to(deployment.root)
    make_folder(deployment.state, 0o700)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem(
            f"lock not available, {shown}: {error.strerror}", 'sudo chown -R "$(id -u):$(id -g)" state secrets'
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Problem(
                f"deployment busy, {shown}: held by {_holder(path)}",
                f"./clair {command}, once that has ended",
                UNDECIDED,
            ) from error
        os.ftruncate(descriptor, 0)
        since = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        holder = {
            "command": command,
            "pid": os.getpid(),
            "user": os.environ.get("USER", str(os.getuid())),
            "since": since,
        }
        os.write(descriptor, json.dumps(holder).encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"`{holder['command']}`, pid {holder['pid']}, user {holder['user']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        # The holder took the lock an instant ago and has not written its name yet.
        return "another command"
