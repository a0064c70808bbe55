"""Starts the database and brings its roles, databases and passwords to what this deployment needs (`database`).

Bundled: creates missing secrets, applies the database's part, starts `clair-database`, then runs `database/setup.sql` as
superuser over the local socket inside the container. A role whose stored verifier does not fit its secret gets a new one:
so a secret that was deleted while the data remained is repaired, the superuser's too.
External: starts nothing; checks connections, roles and uuid-ossp (`check_external`).
Exit codes: 0 ready; 1 not healthy, or a check failed; 2 configuration, or SQL for the administrator was printed; 3 another
command is running, or no answer in time. Environment: TIMEOUT in seconds (600), ALLOW_SMALL=1.
"""

from __future__ import annotations

import re
import time
from typing import List, Optional, Sequence

from ..checks.check_external import check_external
from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.watch_start import Container, containers, start, wait_healthy
from ..settings import Deployment, load_deployment
from ..state.refuse_change import other_major_problem
from ..state.role_passwords import (
    SUPERUSER,
    administrator_sql,
    fits,
    literal,
    password_statements,
    role_secrets,
    setup_script,
)
from .prepare_start import prepare

SERVICE = "clair-database"
# A server that recovers refuses connections for a while, also one that was ready a moment ago.
RETRY_SECONDS = 30.0
_MARK = "-- verifiers follow --"
_NOT_YET = re.compile(r"could not connect|connection to server .* failed|starting up|shutting down|recovery mode")
# Not even verifiers belong into the server's log, whatever it is told to log.
_QUIET = (
    "SET log_statement = 'none';",
    "SET log_min_duration_statement = -1;",
    "SET log_min_error_statement = 'panic';",
)


def start_database(
    deployment: Deployment, timeout_seconds: float, progress: Progress, also: Sequence[str] = ()
) -> None:
    """Start the bundled database, and services that do not wait for it, then set up its roles.

    Returns as soon as PostgreSQL answers, which is seconds before its healthcheck says so. Raises Problem as `start` and
    `set_up_roles` do, or (2) if the data folder is of another PostgreSQL major.
    """
    try:
        start(
            deployment,
            [SERVICE, *also],
            ["--no-deps"],
            timeout_seconds,
            progress,
            is_ready=_accepts_connections,
            wait_for=[SERVICE],
        )
    except Problem as problem:
        raise _other_major(deployment, problem) or problem from problem
    for role in set_up_roles(deployment):
        progress.line(f"password set in PostgreSQL: role {role}")


def set_up_roles(deployment: Deployment) -> List[str]:
    """Run `database/setup.sql` in the running container and repair passwords; return the roles whose password was set.

    Raises Problem: psql refuses a statement (1), the server does not answer within RETRY_SECONDS (3).
    """
    passwords = role_secrets(deployment)
    running = [one.id for one in containers(deployment) if one.service == SERVICE and one.state == "running"]
    if not running:
        raise Problem(f"database not running, {SERVICE}: no container", "make database", UNDECIDED)
    roles = ", ".join(literal(role) for role in passwords)
    query = f"SELECT rolname || ' ' || coalesce(rolpassword, '-') FROM pg_authid WHERE rolname IN ({roles});"  # noqa: S608
    output = _psql(running[0], f"{setup_script(deployment)}\n\\echo {literal(_MARK)}\n{query}\n")
    rows = output.partition(_MARK + "\n")[2].splitlines()
    stored = dict(row.split(" ", 1) for row in rows if " " in row)
    wrong = {
        role: password for role, password in passwords.items() if role in stored and not fits(password, stored[role])
    }
    if wrong:
        _psql(running[0], "\n".join([*_QUIET, "BEGIN;", *password_statements(wrong), "COMMIT;", ""]))
    return list(wrong)


def main(argv: List[str]) -> int:
    """Run `database`."""
    parser = Parser("database", "Start the database, or check the external one.")
    parser.add_timeout()
    parser.add_switch("--allow-small", "ALLOW_SMALL", "only warn if this host is smaller than deployment_size asks for")
    parser.add_argument("--print-sql", action="store_true", help="print what an external database's administrator runs")
    options = parser.parse_args(argv)
    deployment = load_deployment(applied=False)
    if options.print_sql:
        print(administrator_sql(deployment), end="")
        return 0
    progress = Progress()
    with hold_lock(deployment, "database"):
        prepare(deployment, "database", options.timeout, progress, options.allow_small)
        if deployment.bundled_database:
            start_database(deployment, options.timeout, progress)
            wait_healthy(deployment, [SERVICE], options.timeout, progress)
        else:
            check_external(deployment, options.timeout)
    progress.line(f"database ready ({progress.seconds:.1f} s)")
    return 0


def _psql(container_id: str, script: str) -> str:
    """Run a psql script as superuser over the container's local socket and return what it prints.

    The script goes through standard input. Raises Problem (1, or 3 if the server does not accept connections).
    """
    words = ["exec", "--interactive", container_id]
    words += ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", "postgres", "-f", "-"]
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        result = engine.docker(words, input_text=script, timeout_seconds=300, check=False)
        if result.returncode == 0:
            return result.stdout
        not_yet = _NOT_YET.search(result.stderr)
        if not not_yet or time.monotonic() > deadline:
            reason = psql_reason(result.stderr)
            raise Problem(
                f"database set-up failed, database/setup.sql: {reason}",
                f"make logs SERVICE={SERVICE}",
                UNDECIDED if not_yet else NO,
            )
        time.sleep(0.5)


def psql_reason(output: str) -> str:
    """Return the first error psql reports, with its line in the script."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(ERROR|FATAL|error):", line)]
    return re.sub(r"^psql:<stdin>:", "line ", (errors or lines or ["no message"])[0])


def _accepts_connections(container: Container) -> bool:
    """Return whether PostgreSQL answers by TCP, which the server of the first initialization does not."""
    if container.state != "running":
        return False
    words = ["exec", container.id, "pg_isready", "--quiet", "--host=127.0.0.1", f"--username={SUPERUSER}"]
    return engine.docker(words, check=False, timeout_seconds=30).returncode == 0


def _other_major(deployment: Deployment, problem: Problem) -> Optional[Problem]:
    """Return the Problem that names the answer to go back to if the data folder is of another PostgreSQL major, else None.

    PostgreSQL names the major; the image's script, where it finds a folder of the other layout (18 keeps data one folder
    higher), does not.
    """
    found = re.search(r"initialized by PostgreSQL version (\d+)", problem.sentence)
    if found:
        return other_major_problem(deployment, f"PostgreSQL {found.group(1)}")
    if re.search(r"in 18\+, these Docker images|exists but is not empty", problem.sentence):
        return other_major_problem(deployment, "another major")
    return None
