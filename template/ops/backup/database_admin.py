"""Runs SQL as the server's administrator: creates, renames and drops databases, which Clair's own roles may not.

Bundled: as `postgres` over the local socket in the database's container. External: in `database-client`, as the role that the
operator puts into `secrets/database-administrator` (`ROLE:PASSWORD`) for as long as a restore needs it.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import List, Optional, Tuple

from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.watch_start import containers
from ..lifecycle.start_database import SERVICE
from ..settings import Deployment
from ..state.role_passwords import SUPERUSER, password_problem
from .follow_script import is_away, reason
from .run_client import PATH_LINE, run_client

ADMINISTRATOR = "database-administrator"
# A server that recovers refuses connections for a while.
RETRY_SECONDS = 60.0
_PSQL = "psql -XqAt -v ON_ERROR_STOP=1 -w"


def administer(
    deployment: Deployment, sql: str, database: str = "postgres", timeout_seconds: float = 600.0, retry: bool = False
) -> str:
    """Run a psql script as administrator in a database and return what it prints, columns divided by `|`.

    `retry`: while the server does not answer, try again for RETRY_SECONDS; for scripts that may run twice. Raises Problem:
    PostgreSQL refuses a statement (1), no administrator is known (2), the server does not answer (3).
    """
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        code, output, errors = _run(deployment, sql, database, timeout_seconds)
        if code == 0:
            return output
        away = is_away(errors)
        if not (away and retry) or time.monotonic() > deadline:
            raise Problem(
                f"database not administered, database {database}: {reason(errors)}",
                "./clair logs clair-database" if deployment.bundled_database else "./clair database",
                UNDECIDED if away else NO,
            )
        time.sleep(0.5)


def database_container(deployment: Deployment) -> str:
    """Return the id of the bundled server's running container. Raises Problem (3) if it does not run."""
    found = [one for one in containers(deployment) if one.service == SERVICE]
    running = [one.id for one in found if one.state == "running"]
    if not running:
        reason = f"its container is {found[0].state}" if found else "no container"
        raise Problem(f"database not running, {SERVICE}: {reason}", "./clair up", UNDECIDED)
    return running[0]


def server_free_bytes(deployment: Deployment) -> Optional[int]:
    """Return how much is free where the bundled server keeps its data; None for a server of somebody else's."""
    if not deployment.bundled_database:
        return None
    words = ["exec", database_container(deployment), "bash", "-c", 'df --output=avail -B1 "$PGDATA" | tail -n 1']
    text = engine.docker(words, timeout_seconds=60, check=False).stdout.strip()
    return int(text) if text.isdigit() else None


def administrator(deployment: Deployment) -> Tuple[str, str]:
    """Return the role and password of an external server's administrator.

    Raises Problem (2) if the file is missing or not `ROLE:PASSWORD`.
    """
    shown = f"secrets/{ADMINISTRATOR}"
    # Pasted, it takes the line that is typed next, which is then in no history.
    hint = f"install -m 0600 /dev/stdin {shown}"
    if not (deployment.secrets / ADMINISTRATOR).is_file():
        host = deployment.facts["database"]["host"]
        raise Problem(f"secret missing, {shown}: {host} is administered by a role of its own, as ROLE:PASSWORD", hint)
    role, _, password = deployment.secret(ADMINISTRATOR).partition(":")
    if not role or password_problem(ADMINISTRATOR, password) or not re.fullmatch(r"[\x21-\x7e]+", role):
        raise Problem(f"secret unusable, {shown}: it is not ROLE:PASSWORD", hint)
    return role, password


def _run(deployment: Deployment, sql: str, database: str, timeout_seconds: float) -> Tuple[int, str, List[str]]:
    if deployment.bundled_database:
        shell = f"{PATH_LINE}; exec {_PSQL} -U {SUPERUSER} -d {shlex.quote(database)} -f -"
        words = ["exec", "--interactive", database_container(deployment), "bash", "-c", shell]
        result = engine.docker(words, input_text=sql, timeout_seconds=timeout_seconds, check=False)
        return result.returncode, result.stdout, result.stderr.splitlines()
    role, password = administrator(deployment)
    lines: List[str] = []
    # The password is in no argument; psql's own \q ends the script, because standard input stays open.
    script = (
        "IFS= read -r password <&3 && printf '*:*:*:*:%s\\n' \"$password\" >/tmp/pgpass || exit 1\n"
        f"{_PSQL} -U {shlex.quote(role)} -d {shlex.quote(database)} -f - <&3\n"
    )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    client = run_client(
        deployment, script, timeout_seconds=timeout_seconds, line=lines.append, source=f"{escaped}\n{sql}\n\\q\n"
    )
    return client.code, "".join(text + "\n" for text in lines), client.errors
