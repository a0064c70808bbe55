"""What the tests of `backup` and `restore` share: rows that tell which data is in use, and a look at what a command has left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tests.live.support import Deployment

__all__ = [
    "CLAIR",
    "background",
    "backup",
    "databases",
    "fill",
    "folder_names",
    "letter",
    "no_leftovers",
    "secrets_of",
    "tables",
]

CLAIR = ("indexer", "matcher", "notifier")
_DIGEST = "SELECT count(*), coalesce(sum(('x' || left(md5((w.*)::text), 16))::bit(64)::bigint), 0) FROM {table} AS w"


def fill(deployment: Deployment, mark: str, rows: int) -> None:
    """Put a table of as many rows as asked, all of one letter, into each database, in place of another letter's."""
    for name in CLAIR:
        deployment.psql(
            name,
            f"SET ROLE {name}; DROP TABLE IF EXISTS public.mark; CREATE TABLE public.mark (n int PRIMARY KEY, letter text, more text); "
            f"INSERT INTO public.mark SELECT n, '{mark}', md5('{mark}' || n) || md5(n::text) FROM generate_series(1, {rows}) AS n;",
        )


def letter(deployment: Deployment, rows: int) -> str:
    """Return the letter that all three databases hold, with all its rows; fails if they are not of one letter."""
    own = "SELECT min(letter), max(letter), count(*), count(*) FILTER (WHERE more = md5(letter || n) || md5(n::text)) FROM mark"
    found = {tuple(deployment.psql(name, own)[0]) for name in CLAIR}
    assert len(found) == 1, f"databases of different times: {found}"
    low, high, number, whole = found.pop()
    assert (low, number, whole) == (high, str(rows), str(rows))
    return low


def tables(deployment: Deployment, database: str) -> dict[str, list[str]]:
    """Return rows and digest of each table of a database, counted apart from the commands."""
    names = deployment.psql(
        database, "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    )
    return {f"public.{name}": deployment.psql(database, _DIGEST.format(table=f"public.{name}"))[0] for (name,) in names}


def databases(deployment: Deployment) -> set[str]:
    """Return the names of the databases of the bundled server."""
    return {name for (name,) in deployment.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")}


def folder_names(deployment: Deployment) -> set[str]:
    """Return the names of what is in `backups/`."""
    folder = deployment.root / "backups"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def no_leftovers(deployment: Deployment) -> None:
    """Fail if a finished or failed command left a database, a container, a journal or a closed edge."""
    assert databases(deployment) == {*CLAIR, "postgres"}
    assert not (deployment.root / "state" / "journal.json").exists()
    assert not (deployment.root / "state" / "applied" / "traefik" / "dynamic" / "maintenance.yaml").exists()
    names = deployment.engine.docker("ps", "--all", "--format", "{{.Names}}").stdout.split()
    assert not [
        name for name in names if name.startswith((f"{deployment.name}-database-client", f"{deployment.name}-scratch"))
    ]


def backup(deployment: Deployment, *options: str, **environment: str) -> Path:
    """Make a backup and return its folder."""
    return deployment.root / deployment.run("backup", *options, **environment).stdout.strip()


def background(deployment: Deployment, *arguments: str) -> subprocess.Popen[str]:
    """Start `./clair ARGUMENTS` in a process of its own, both outputs in one pipe."""
    return subprocess.Popen(
        ["./clair", *arguments], cwd=deployment.root, env={**os.environ, "ALLOW_SMALL": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def secrets_of(deployment: Deployment) -> dict[str, bytes]:
    """Return the content of each file of `secrets/`."""
    return {path.name: path.read_bytes().strip() for path in (deployment.root / "secrets").iterdir()}


Facts = dict[str, Any]
