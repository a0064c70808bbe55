"""The psql process through which the feed ledger is read, inside the database's container.

Imports little: `scan` starts the process before it loads the rest of the program, and both take about as long.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any, Optional

from ..host import engine
from ..settings import Deployment

# Reads the password's line byte by byte (POSIX: read takes no more than its line), then hands the rest to psql. The first psql
# in the image's PATH is a Perl wrapper that takes longer than all it is asked for here; the server's own stands beside it.
SHELL = (
    'PATH="/usr/lib/postgresql/${PG_MAJOR:-0}/bin:$PATH" && IFS= read -r PGPASSWORD && export PGPASSWORD && '
    'exec psql -XqAt -v ON_ERROR_STOP=1 -d "$1" -f -'
)
CONNECT_TIMEOUT_SECONDS = 10
# The process that was started ahead of the session that will use it.
_ahead: list[subprocess.Popen[str]] = []


def start_ahead(deployment: Deployment) -> None:
    """Start the process that the next session takes over. Raises Problem (2) if there is no docker."""
    _ahead.append(start_psql(psql_command(deployment)))


def take_psql() -> Optional[subprocess.Popen[str]]:
    """Return the process that was started ahead, once; None without one."""
    return _ahead.pop() if _ahead else None


def drop_ahead() -> None:
    """End a process that no session took over."""
    process = take_psql()
    if process is not None:
        process.kill()
        process.communicate()


def psql_command(deployment: Deployment) -> list[str]:
    """Return the call that runs SHELL where the database can be reached."""
    database = deployment.facts["database"]
    if deployment.bundled_database:
        shell = ["sh", "-c", SHELL, "sh", _conninfo(host="127.0.0.1", port=5432)]
        # Not through Compose, which takes twice as long; the database's container is always named so.
        return [*engine.program("docker"), "exec", "-i", f"{deployment.name}-database", *shell]
    sslmode = str(database["sslmode"])
    root = {"sslrootcert": "/config/ca-bundle.pem"} if sslmode.startswith("verify") else {}
    conninfo = _conninfo(host=database["host"], port=database["port"], sslmode=sslmode, **root)
    call = ["run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "database-client", "-c", SHELL, "sh", conninfo]
    return engine.compose_command(deployment, call)


def _conninfo(**fields: Any) -> str:
    fields = {**fields, "user": "ledger", "dbname": "matcher", "connect_timeout": CONNECT_TIMEOUT_SECONDS}
    quoted = {name: str(value).replace("\\", "\\\\").replace("'", "\\'") for name, value in fields.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


def start_psql(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start psql with pipes to all three streams. Raises Problem (2) if there is no docker."""
    return engine.open_process(command)
