"""`backup`, `restore` and `restore-test` with a PostgreSQL of somebody else's, whose administrator is no superuser."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.live.backups import CLAIR, backup, secrets_of
from tests.live.conftest import DeploymentFactory
from tests.live.samples import clair, wait_until
from tests.live.support import Deployment, Engine, Images
from tests.live.test_images import HARDENED, POSTGRES

HOST = "backup.clair.test"
# As a database team would give it: it may make databases, and may act as the roles it manages.
ADMINISTRATOR, PASSWORD = "keeper", "a:password\\with-signs"


class Server:
    """A running PostgreSQL that no deployment owns."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def psql(self, database: str, script: str) -> str:
        """Run a psql script as superuser, and return what it prints."""
        return self.engine.docker("exec", "--interactive", self.name, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres",
                                  "-d", database, "-f", "-", stdin=script).stdout.strip()  # fmt: skip

    def mark(self, text: str) -> None:
        """Write a word into a table of each database, as its owner."""
        for name in CLAIR:
            self.psql(name, f"SET ROLE {name}; CREATE TABLE IF NOT EXISTS mark (word text); TRUNCATE mark; "
                            f"INSERT INTO mark VALUES ('{text}');")  # fmt: skip

    def marks(self) -> set[str]:
        """Return the words of all databases."""
        return {self.psql(name, "SELECT word FROM mark;") for name in CLAIR}

    def databases(self) -> set[str]:
        """Return the names of its databases."""
        return set(self.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate;").splitlines())


@pytest.fixture(scope="module")
def server(engine: Engine, images: Images) -> Iterator[Server]:
    """Return a PostgreSQL that listens with SCRAM."""
    name = f"clairtest-{secrets.token_hex(4)}-external"
    engine.docker("run", "--detach", "--name", name, *HARDENED, "--env", f"POSTGRES_PASSWORD={secrets.token_hex(8)}",
                  "--env", "POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256 --auth-local=trust", POSTGRES)  # fmt: skip
    ready = ("exec", name, "pg_isready", "--quiet", "--host", "127.0.0.1")
    try:
        wait_until(lambda: engine.docker(*ready, check=False).returncode == 0, "the external PostgreSQL", 60)
        yield Server(engine, name)
    finally:
        engine.docker("rm", "--force", "--volumes", name)


@pytest.fixture(scope="module")
def external(shared_deployment: DeploymentFactory, server: Server) -> Deployment:
    """A running deployment on it."""
    deployment = shared_deployment(
        feeds_offline=True, database_mode="external", database_host=HOST, database_sslmode="disable"
    )
    clair(deployment, "database", check=False)
    server.engine.docker("network", "connect", "--alias", HOST, f"{deployment.name}_egress", server.name, check=False)
    clair(deployment, "database", check=False)
    server.engine.docker("network", "connect", "--alias", HOST, f"{deployment.name}_egress", server.name, check=False)
    server.psql("postgres", clair(deployment, "database", "--print-sql").stdout)
    server.psql("postgres", f"CREATE ROLE {ADMINISTRATOR} LOGIN CREATEDB PASSWORD '{PASSWORD}'; "
                            f"GRANT CONNECT ON DATABASE postgres TO {ADMINISTRATOR}; "
                            f"GRANT indexer, matcher, notifier TO {ADMINISTRATOR};")  # fmt: skip
    clair(deployment, "up")
    return deployment


def test_a_restore_needs_an_administrator_and_says_so_before_anything(external: Deployment, server: Server) -> None:
    server.mark("old")
    folder = backup(external)

    done = clair(external, "restore", str(folder), "--yes", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(
        f"secret missing, secrets/database-administrator: {HOST} is administered by a role of its own"
    )
    assert server.marks() == {"old"}


def test_a_backup_comes_back_and_is_proved(external: Deployment, server: Server) -> None:
    server.mark("old")
    folder = backup(external)
    server.mark("new")
    (external.root / "secrets" / "database-administrator").write_text(f"{ADMINISTRATOR}:{PASSWORD}\n", encoding="utf-8")

    proved = clair(external, "restore-test")
    done = clair(external, "restore", str(folder), "--yes")

    assert proved.stdout.startswith(f"{folder.name} proved: ")
    assert server.marks() == {"old"}
    assert server.databases() == {*CLAIR, "postgres"}
    owners = "SELECT string_agg(pg_get_userbyid(datdba), ' ' ORDER BY datname) FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate;"
    assert server.psql("postgres", owners) == " ".join(CLAIR)
    wait_until(lambda: clair(external, "ps", check=False).returncode == 0, "all healthy", 30)
    for content in secrets_of(external).values():
        assert content.decode() not in done.stdout + done.stderr


def test_a_wrong_password_of_the_administrator_changes_nothing(external: Deployment, server: Server) -> None:
    server.mark("old")
    folder = backup(external)
    server.mark("new")
    (external.root / "secrets" / "database-administrator").write_text(f"{ADMINISTRATOR}:wrong", encoding="utf-8")

    done = clair(external, "restore", str(folder), "--yes", check=False)

    assert done.returncode == 1
    assert f'password authentication failed for user "{ADMINISTRATOR}"' in done.stderr
    assert server.marks() == {"new"}
    assert not (external.root / "state" / "journal.json").exists()
