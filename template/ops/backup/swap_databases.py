"""Swaps databases by their names: the one that was loaded beside gets the name in use, the old one another.

Both are renamed in one transaction, so whatever happens each name leads to the whole old or the whole new data. May be run
again after it was cut short.
"""

from __future__ import annotations

import time
from typing import Sequence, Set

from ..errors import Problem
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from ..state.role_passwords import identifier, literal
from .database_admin import administer
from .run_client import remove_client

# Sessions come back as long as something asks; each try ends those there are.
_SWAP_TRIES = 20


def database_names(deployment: Deployment) -> Set[str]:
    """Return the names of the server's databases."""
    output = administer(deployment, "SELECT datname FROM pg_database WHERE NOT datistemplate;\n", retry=True)
    return set(output.splitlines())


def swap_in_databases(deployment: Deployment, databases: Sequence[str], suffix: str, kept_suffix: str) -> None:
    """Give each `DATABASE_SUFFIX` the name in use, and the database in use the name `DATABASE_KEPTSUFFIX`: all or none.

    Nothing happens where that was done before. Clair must be stopped; other sessions are ended. Raises Problem (1) if
    sessions keep coming, (3) if the server does not answer: then nothing is swapped, or all of it.
    """
    for number in range(_SWAP_TRIES):
        names = database_names(deployment)
        renames, touched = [], []
        for name in databases:
            new, kept = f"{name}_{suffix}", f"{name}_{kept_suffix}"
            if new not in names:
                continue
            touched += [name, new]
            if name in names:
                renames.append(f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(kept)};")
            renames.append(f"ALTER DATABASE {identifier(new)} RENAME TO {identifier(name)};")
        if not renames:
            return
        listed = ", ".join(literal(name) for name in touched)
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - names of this module
            f"WHERE pid <> pg_backend_pid() AND datname IN ({listed});"
        )
        try:
            administer(deployment, "\n".join([end, "BEGIN;", *renames, "COMMIT;", ""]))
            return
        except Problem as problem:
            if "other users" not in problem.sentence or number == _SWAP_TRIES - 1:
                raise
            time.sleep(0.2)


def swap_back(deployment: Deployment, databases: Sequence[str], suffix: str, kept_suffix: str) -> None:
    """Undo `swap_in_databases`, as it does: all or none, and nothing where it was not done."""
    swap_in_databases(deployment, databases, kept_suffix, suffix)


def drop_databases(deployment: Deployment, suffix: str) -> None:
    """Drop every `DATABASE_SUFFIX` there is, and end who works in it, also a run of ours that was killed."""
    remove_client(deployment)
    names = database_names(deployment)
    doomed = [f"{name}_{suffix}" for name in CLAIR_SERVICES if f"{name}_{suffix}" in names]
    if doomed:
        # One statement each: DROP DATABASE is none for a transaction.
        text = "".join(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE);\n" for name in doomed)
        administer(deployment, text, retry=True)
