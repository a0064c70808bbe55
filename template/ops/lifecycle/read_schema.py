"""Reads of each database which migration it stands at and how large it is, and runs single statements in them.

Bundled: over the local socket in the database's container. External: as each owner role, in `database-client`.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import Dict, List, NamedTuple

from ..checks.check_external import CONNECT_SECONDS
from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.watch_start import containers
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from ..state.role_passwords import SUPERUSER
from .start_database import SERVICE, psql_reason

TIMEOUT_SECONDS = 120.0
# Where each service keeps the numbers of its migrations (claircore datastore/postgres/migrations, clair notifier/migrations).
TABLE_OF_MIGRATIONS = {
    "indexer": "libindex_migrations",
    "matcher": "libvuln_migrations",
    "notifier": "notifier_migrations",
}
# The table is read by a text, so that a database without it answers 0 and not with an error.
_QUERY = (
    "SELECT current_database() || ' ' || pg_database_size(current_database()) || ' ' || "
    "CASE WHEN to_regclass('{table}') IS NULL THEN '0' ELSE coalesce((xpath('/row/m/text()', "
    "query_to_xml('SELECT max(version) AS m FROM {table}', false, true, '')))[1]::text, '0') END"
)
# The first psql in the image's PATH is a Perl wrapper.
_PATH = 'export PATH="/usr/lib/postgresql/${PG_MAJOR:-0}/bin:$PATH"'


class Schema(NamedTuple):
    """What a database stands at: its highest migration (0: none yet) and its size in bytes."""

    version: int
    size_bytes: int


def read_schemas(deployment: Deployment) -> Dict[str, Schema]:
    """Return what each Clair service's database stands at. Raises Problem (3) if one cannot be read."""
    services = [name for name in CLAIR_SERVICES if name in deployment.facts["services"]]
    lines = [_psql(deployment, name, _QUERY.format(table=TABLE_OF_MIGRATIONS[name])) for name in services]
    result = _run(deployment, lines, TIMEOUT_SECONDS)
    found = parse(result.stdout)
    missing = [name for name in services if name not in found]
    if missing:
        reason = psql_reason(result.stderr)
        raise Problem(f"database unreadable, {missing[0]}: {reason}", "./clair logs clair-database", UNDECIDED)
    return found


def run_statement(deployment: Deployment, service: str, statement: str, timeout_seconds: float) -> None:
    """Run one SQL statement in a service's database. Raises Problem (1) with what psql says against it."""
    result = _run(deployment, [_psql(deployment, service, statement)], timeout_seconds)
    if result.returncode != 0:
        raise Problem(
            f"statement failed, database {service}: {psql_reason(result.stderr)}", "./clair logs clair-database", NO
        )


def parse(output: str) -> Dict[str, Schema]:
    """Return what the script's lines `database size migration` say."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: Schema(int(row[2]), int(row[1])) for row in rows if len(row) == 3 and row[1].isdigit()}


def _psql(deployment: Deployment, service: str, statement: str) -> str:
    """Return the shell line that runs a statement, as superuser, or in an external database as its owner."""
    role = SUPERUSER if deployment.bundled_database else service
    return f"psql -X -q -A -t -w -v ON_ERROR_STOP=1 -U {role} -d {service} -c {shlex.quote(statement)} </dev/null"


def _run(deployment: Deployment, lines: List[str], timeout_seconds: float) -> "subprocess.CompletedProcess[str]":
    """Run shell lines where psql reaches the databases."""
    if not deployment.bundled_database:
        words = [
            "--profile",
            "tools",
            "run",
            "--rm",
            "--no-deps",
            "-T",
            "--entrypoint",
            "bash",
            "database-client",
            "-s",
        ]
        text = "\n".join([*_external(deployment), _PATH, *lines, ""])
        return engine.compose(deployment, words, input_text=text, timeout_seconds=timeout_seconds, check=False)
    running = [one.id for one in containers(deployment) if one.service == SERVICE and one.state == "running"]
    if not running:
        raise Problem(f"database not running, {SERVICE}: no container", "./clair up", UNDECIDED)
    words = ["exec", "--interactive", running[0], "bash", "-s"]
    text = "\n".join([_PATH, *lines, ""])
    return engine.docker(words, input_text=text, timeout_seconds=timeout_seconds, check=False)


def _external(deployment: Deployment) -> List[str]:
    database = deployment.facts["database"]
    return [
        "install -m 0600 /config/pgpass /tmp/pgpass && export PGPASSFILE=/tmp/pgpass",
        "[ -s /config/ca-bundle.pem ] && export PGSSLROOTCERT=/config/ca-bundle.pem",
        f"export PGHOST={shlex.quote(str(database['host']))} PGPORT={int(database['port'])}",
        f"export PGSSLMODE={shlex.quote(str(database['sslmode']))} PGCONNECT_TIMEOUT={CONNECT_SECONDS}",
    ]
