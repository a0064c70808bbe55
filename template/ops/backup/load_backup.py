"""Loads a backup's dumps into databases and compares them with its manifest.

A database is loaded beside the one in use, under the name `DATABASE_SUFFIX`; `swap_databases` gives it the name in use.
May be run again after it was cut short.
"""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from typing import Dict, List, Mapping, Optional

from ..clair.run_clairctl import size
from ..errors import NO, UNDECIDED, USAGE, Problem
from ..host.show_progress import Progress
from ..settings import Deployment
from ..state.role_passwords import identifier, literal
from .database_admin import administer, server_free_bytes
from .dump_databases import JOBS
from .follow_script import Client, is_away
from .measure_tables import ANALYZE, MEASURE, SETTINGS, Table, differences, parse_table
from .read_backup import Backup
from .run_client import Mount, run_client
from .swap_databases import drop_databases

FOLDER = "/backup"
_SPARE_BYTES = 256 * 1024**2
# Rights come from database/setup.sql, not from the dump: another server need not know the roles of the first. Comments stay
# out, because that of an extension may only be written by its owner.
RESTORE = (
    f"pg_restore --jobs={JOBS} --exit-on-error --no-owner --no-privileges --no-comments --no-tablespaces "
    "--no-security-labels --no-publications --no-subscriptions"
)
# As owner, and after the load, what setup.sql does in this database.
LEDGER_RIGHTS = (
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ledger; "
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO ledger;"
)


def load_beside(
    deployment: Deployment, backup: Backup, suffix: str, progress: Progress, timeout_seconds: float
) -> List[str]:
    """Load a checked backup into databases `DATABASE_SUFFIX`, compare them, and return the databases it holds.

    What an earlier try left under that suffix is dropped first. Databases in use are not touched. Raises Problem: too little
    disk (2), PostgreSQL refuses something or rows differ (1), it does not answer (3); the new databases are then dropped as
    far as that is possible.
    """
    check_room(deployment, backup)
    drop_databases(deployment, suffix)
    targets = {name: f"{name}_{suffix}" for name in backup.databases}
    try:
        administer(deployment, "".join(create_statements(name, target) for name, target in targets.items()))
        load_into(deployment, backup, targets, progress, timeout_seconds)
    except (Problem, KeyboardInterrupt):
        _drop_quietly(deployment, suffix)
        raise
    return backup.databases


def load_into(
    deployment: Deployment, backup: Backup, databases: Mapping[str, str], progress: Progress, timeout_seconds: float
) -> None:
    """Load a checked backup into existing, empty databases, given as database of the backup to database of the server.

    Compares rows and digests of every table with the manifest. Raises Problem as `load_beside` does.
    """
    for name, target in databases.items():
        statements = extension_statements(backup.extensions(name))
        if statements:
            administer(deployment, statements, target)
    follower = LoadFollower(backup, progress)
    client = run_client(
        deployment,
        load_script(backup, databases, "guard\n"),
        [Mount(backup.path, FOLDER)],
        timeout_seconds,
        line=follower.line,
        tick=follower.tick,
    )
    progress.end()
    follower.judge(client, "restore")


def create_statements(name: str, target: str) -> str:
    """Return the SQL that makes an empty database for a Clair service, with the locale of the one in use where there is one."""
    owner, database = identifier(name), identifier(target)
    ledger = f"GRANT CONNECT ON DATABASE {database} TO ledger;\n" if name == "matcher" else ""
    like = (
        "SELECT format(' ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype) "  # noqa: S608
        f"FROM pg_database WHERE datname = {literal(name)} AND (to_jsonb(pg_database) ->> 'datlocprovider') IN ('c')"
    )
    # An administrator who is no superuser makes databases only for roles that it is a member of.
    member = f"SELECT 'GRANT {owner} TO CURRENT_USER' WHERE NOT pg_has_role(current_user, {literal(name)}, 'MEMBER') \\gexec\n"
    create = f"SELECT {literal(f'CREATE DATABASE {database} OWNER {owner} TEMPLATE template0')} || coalesce(({like}), '') \\gexec\n"
    return f"{member}{create}REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;\n{ledger}"


def extension_statements(extensions: Mapping[str, str]) -> str:
    """Return the SQL that makes a database's extensions."""
    return "".join(
        f"CREATE EXTENSION IF NOT EXISTS {identifier(name)} WITH SCHEMA {identifier(schema)};\n"
        for name, schema in sorted(extensions.items())
        # Any other schema comes with the dump, and its extension too.
        if schema in ("public", "pg_catalog")
    )


def load_script(backup: Backup, databases: Mapping[str, str], begin: str, user: str = "", ledger: bool = True) -> str:
    """Return the bash script that loads and measures; as `user`, or each database as its owner."""
    texts = {"SETTINGS": SETTINGS, "ANALYZE": ANALYZE, "MEASURE": MEASURE}
    lines = [begin, *(f"{name}={shlex.quote(text)}" for name, text in texts.items())]
    lines.append('failed() { echo "@failed|$1"; exit 1; }')
    for name, target in databases.items():
        role, database = shlex.quote(user or name), shlex.quote(target)
        psql = f"psql -XqAt -v ON_ERROR_STOP=1 -v database={name} -w -U {role} -d {database}"
        rights = [f"{psql} -c {shlex.quote(LEDGER_RIGHTS)} || failed {name}"] if ledger and name == "matcher" else []
        lines += [
            f"echo '@load|{name}'",
            f"{RESTORE} -w -U {role} -d {database} {FOLDER}/{name} || failed {name}",
            *rights,
            f"echo '@measure|{name}'",
            f'printf "%s\\n" "$SETTINGS" "$ANALYZE" "$MEASURE" | {psql} -f - || failed {name}',
            f"echo '@loaded|{name}'",
        ]
    return "\n".join([*lines, "echo @done", ""])


class LoadFollower:
    """Takes in what `load_script` says, and judges it."""

    def __init__(self, backup: Backup, progress: Progress) -> None:
        self.found: Dict[str, Dict[str, Table]] = {}
        self._backup = backup
        self._progress = progress
        self._doing = ("starting", "")
        self._failed = ""
        self._done = False
        self._begun = time.monotonic()

    def line(self, text: str) -> None:
        """Take in one line."""
        kind, _, name = text.partition("|")
        table = parse_table(text)
        if table is not None:
            self.found.setdefault(table[0], {})[table[1]] = table[2]
        elif kind == "@load":
            self._doing, self._begun = ("loading", name), time.monotonic()
            self.found[name] = {}
        elif kind == "@measure":
            self._doing = ("comparing", name)
        elif kind == "@loaded":
            tables = self.found[name]
            rows, seconds = sum(table.rows for table in tables.values()), time.monotonic() - self._begun
            if not self.differences(name):
                self._progress.line(f"{name}: {rows} rows of {len(tables)} tables, as in the backup ({seconds:.1f} s)")
        elif kind == "@failed":
            self._failed = name
        elif kind == "@done":
            self._done = True

    def tick(self) -> None:
        """Tell what is being done."""
        self._progress.waiting(" ".join(self._doing).strip())

    def differences(self, name: str) -> List[str]:
        """Return what differs from the manifest in one database."""
        return differences(self._backup.tables(name), self.found.get(name, {}))

    def judge(self, client: Client, what: str) -> None:
        """Raise Problem if anything failed (1, or 3 where the server did not answer) or differs (1)."""
        if client.code != 0 or not self._done:
            reason, where = client.reason(), self._failed or self._doing[1] or "server"
            text = "\n".join(client.errors).lower()
            if "no space left" in text:
                raise Problem(f"{what} failed, database {where}: no space left on its disk", "docker system df", USAGE)
            code = UNDECIDED if is_away(client.errors) else NO
            raise Problem(f"{what} failed, database {where}: {reason}", "./clair logs clair-database", code)
        told = [f"database {name}: {text}" for name in self.found for text in self.differences(name)]
        if told:
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            raise Problem(f"{what} differs from the backup, {told[0]}{more}", "ls backups", NO)


def check_room(deployment: Deployment, backup: Backup) -> None:
    """Raise Problem (2) if the bundled server's disk has no room for the data of a backup beside what it has."""
    require_room("restore not begun, the database's disk", server_free_bytes(deployment), backup, _SPARE_BYTES)


def require_room(failure: str, free: Optional[int], backup: Backup, spare: int = 0) -> None:
    """Raise Problem (2) if the databases of a backup, and `spare` bytes, do not fit into `free` bytes; None: nobody knows."""
    needed = spare + int(1.1 * sum(backup.size_bytes(name) for name in backup.databases))
    if free is not None and free < needed:
        raise Problem(f"{failure}: {size(free)} free, and up to {size(needed)} are needed", "docker system df", USAGE)


def _drop_quietly(deployment: Deployment, suffix: str) -> None:
    # The server is away, which is what is told; whoever comes next drops them.
    with suppress(Problem):
        drop_databases(deployment, suffix)
