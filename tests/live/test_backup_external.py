"""`backup`, `restore` and `restore-test` with a PostgreSQL of somebody else's, whose administrator is no superuser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.backups import CLAIR, backup, secrets_of
from tests.live.conftest import DeploymentFactory
from tests.live.external import HOST, Server, external_server
from tests.live.samples import clair, wait_until
from tests.live.support import Deployment, Engine, Images

# As a database team would give it: it may make databases, and may act as the roles it manages.
ADMINISTRATOR, PASSWORD = "keeper", "a:password\\with-signs"


def mark(server: Server, text: str) -> None:
    """Write a word into a table of each database, as its owner."""
    for name in CLAIR:
        server.psql(name, f"SET ROLE {name}; CREATE TABLE IF NOT EXISTS mark (word text); TRUNCATE mark; "
                          f"INSERT INTO mark VALUES ('{text}');")  # fmt: skip


def marks(server: Server) -> set[str]:
    """Return the words of all databases."""
    return {server.psql(name, "SELECT word FROM mark;").strip() for name in CLAIR}


def databases(server: Server) -> set[str]:
    """Return the names of its databases."""
    return set(server.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate;").split())


@pytest.fixture(scope="module")
def server(engine: Engine, images: Images) -> Iterator[Server]:
    """Return a server whose administrator is no superuser."""
    with external_server(engine) as running:
        yield running


@pytest.fixture(scope="module")
def external(shared_deployment: DeploymentFactory, server: Server) -> Deployment:
    """A running deployment on it."""
    deployment = shared_deployment(
        feeds_offline=True, database_mode="external", database_host=HOST, database_sslmode="disable"
    )
    # The first call makes the passwords and prints the SQL, the second makes the networks and finds no server.
    clair(deployment, "database", check=False)
    clair(deployment, "database", check=False)
    server.join(deployment)
    server.psql("postgres", clair(deployment, "database", "--print-sql").stdout)
    server.psql("postgres", f"CREATE ROLE {ADMINISTRATOR} LOGIN CREATEDB PASSWORD '{PASSWORD}'; "
                            f"GRANT CONNECT ON DATABASE postgres TO {ADMINISTRATOR}; "
                            f"GRANT indexer, matcher, notifier TO {ADMINISTRATOR};")  # fmt: skip
    clair(deployment, "up")
    return deployment


def test_a_restore_needs_an_administrator_and_says_so_before_anything(external: Deployment, server: Server) -> None:
    mark(server, "old")
    folder = backup(external)

    done = clair(external, "restore", str(folder), "--yes", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(
        f"secret missing, secrets/database-administrator: {HOST} is administered by a role of its own"
    )
    assert marks(server) == {"old"}


def test_a_backup_comes_back_and_is_proved(external: Deployment, server: Server) -> None:
    mark(server, "old")
    folder = backup(external)
    mark(server, "new")
    (external.root / "secrets" / "database-administrator").write_text(f"{ADMINISTRATOR}:{PASSWORD}\n", encoding="utf-8")

    proved = clair(external, "restore-test")
    done = clair(external, "restore", str(folder), "--yes")

    assert proved.stdout.startswith(f"{folder.name} proved: ")
    assert marks(server) == {"old"}
    assert databases(server) == {*CLAIR, "postgres"}
    owners = "SELECT string_agg(pg_get_userbyid(datdba), ' ' ORDER BY datname) FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate;"
    assert server.psql("postgres", owners).strip() == " ".join(CLAIR)
    wait_until(lambda: clair(external, "ps", check=False).returncode == 0, "all healthy", 30)
    for content in secrets_of(external).values():
        assert content.decode() not in done.stdout + done.stderr


def test_a_wrong_password_of_the_administrator_changes_nothing(external: Deployment, server: Server) -> None:
    mark(server, "old")
    folder = backup(external)
    mark(server, "new")
    (external.root / "secrets" / "database-administrator").write_text(f"{ADMINISTRATOR}:wrong", encoding="utf-8")

    done = clair(external, "restore", str(folder), "--yes", check=False)

    assert done.returncode == 1
    assert f'password authentication failed for user "{ADMINISTRATOR}"' in done.stderr
    assert marks(server) == {"new"}
    assert not (external.root / "state" / "journal.json").exists()
