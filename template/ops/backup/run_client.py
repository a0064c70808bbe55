"""Runs a bash script in the one-shot container `database-client`, from which PostgreSQL is reached as Clair reaches it.

Folders of this host are mounted by a Compose file of its own, and the container runs as this user, so that a dump belongs
to whoever makes it (rootless Docker: as root, who is this user there). The script ends with its command: once nobody holds
its standard input any more, everything in the container is killed, also after `kill -9` of the command.
Writes `state/client.json` while it runs. Environment: DOCKER, COMPOSE.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..checks.check_external import CONNECT_SECONDS
from ..errors import USAGE, Problem
from ..host import engine
from ..host.explain_failure import explain
from ..host.write_files import make_folder, write_file
from ..lifecycle.start_database import SERVICE
from ..settings import Deployment
from .follow_script import REMOVE_SECONDS, Client, run_script

# The first psql in the image's PATH is a Perl wrapper.
PATH_LINE = 'export PATH="/usr/lib/postgresql/${PG_MAJOR:-0}/bin:$PATH"'


@dataclass(frozen=True)
class Mount:
    """A folder of this host and where the container sees it."""

    source: Path
    target: str
    read_only: bool = True


def prelude(deployment: Deployment) -> str:
    """Return the lines every script begins with: where PostgreSQL is, a password file that libpq takes, the end of it all.

    The script finds its standard input at descriptor 3 and calls `guard` once it has read all it wants from there, or
    `guard_line` at its beginning.
    """
    return "\n".join(
        [
            "set -u; umask 077; trap '' PIPE; exec 3<&0 </dev/null",
            PATH_LINE,
            *connection_lines(deployment),
            # Never this shell, which is the container's first process: it ends when its programs are gone. Again and again,
            # because it may just have been between two of them.
            "doom() { while :; do kill -KILL -1; sleep 0.1; done; }",
            "guard() { { cat <&3 >/dev/null; doom; } & }",
            # The same from the first moment, for a script that waits for one line: `read -r line <&6`, empty at the end.
            "guard_line() { mkfifo /tmp/line; exec 6<>/tmp/line; { "
            'read -r line <&3 || line=""; echo "$line" >&6; [ -z "$line" ] || cat <&3 >/dev/null; doom; } & }',
            "",
        ]
    )


def connection_lines(deployment: Deployment) -> List[str]:
    """Return the lines that set libpq's environment."""
    database = deployment.facts["database"]
    host = SERVICE if deployment.bundled_database else str(database["host"])
    port = 5432 if deployment.bundled_database else int(database["port"])
    sslmode = "disable" if deployment.bundled_database else str(database["sslmode"])
    return [
        "install -m 0600 /config/pgpass /tmp/pgpass && export PGPASSFILE=/tmp/pgpass",
        "[ -s /config/ca-bundle.pem ] && export PGSSLROOTCERT=/config/ca-bundle.pem",
        f"export PGHOST={shlex.quote(host)} PGPORT={port} PGSSLMODE={shlex.quote(sslmode)}",
        # A server that restarts must not let a run hang.
        f"export PGCONNECT_TIMEOUT={CONNECT_SECONDS} PGAPPNAME=clair-client",
    ]


def own_user() -> str:
    """Return `uid:gid` with which a container writes files as this user."""
    options = engine.docker(["info", "--format", "{{json .SecurityOptions}}"], timeout_seconds=60, check=False).stdout
    return "0:0" if "rootless" in options else f"{os.getuid()}:{os.getgid()}"


def run_client(
    deployment: Deployment,
    script: str,
    mounts: Sequence[Mount] = (),
    timeout_seconds: float = 600.0,
    *,
    line: Callable[[str], Optional[str]] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
    source: str = "",
) -> Client:
    """Run `script`, after `prelude`, and return how it ended, whatever its exit code is.

    `line` gets each line of its standard output and may return text for its standard input, which begins with `source`.
    `tick` is called twice a second. Raises Problem: it could not be started, or did not end in time (3); and what `line` and
    `tick` raise. The container is gone in every case.
    """
    name = f"{deployment.name}-database-client"
    remove_client(deployment)
    extra = _write_model(deployment, mounts)
    words = [
        "--file",
        str(extra),
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "--name",
        name,
        "--entrypoint",
        "bash",
        "database-client",
    ]
    command = engine.compose_command(deployment, [*words, "-c", prelude(deployment) + script])
    try:
        client = run_script(
            command,
            lambda: remove_client(deployment),
            timeout_seconds,
            folder=deployment.root,
            line=line,
            tick=tick,
            source=source,
        )
    finally:
        extra.unlink(missing_ok=True)
    if client.code != 0 and not any(
        re.match(r"(psql|pg_dump|pg_restore|bash|install|@)", text) for text in client.errors
    ):
        # Compose's own words: the script never began.
        text = "\n".join(client.errors)
        if "no such service" in text.lower():
            raise Problem("client not run, state/applied: applied before this command was there", "./clair up", USAGE)
        raise explain("compose run database-client", text)
    return client


def remove_client(deployment: Deployment) -> None:
    """Remove a container that is left of a run that was killed."""
    name = f"{deployment.name}-database-client"
    engine.docker(["rm", "--force", "--volumes", name], timeout_seconds=REMOVE_SECONDS, check=False)


def _write_model(deployment: Deployment, mounts: Sequence[Mount]) -> Path:
    volumes = [
        {"type": "bind", "source": str(mount.source), "target": mount.target, "read_only": mount.read_only}
        for mount in mounts
    ]
    service: Dict[str, Any] = {"user": own_user(), "volumes": volumes}
    make_folder(deployment.state, 0o700)
    path = deployment.state / "client.json"
    # `$` would start a variable of Compose.
    text = json.dumps({"services": {"database-client": service}}).replace("$", "$$")
    write_file(path, text.encode(), 0o600)
    return path
