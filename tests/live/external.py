"""A PostgreSQL of somebody else's: a container of the tests' own that a deployment knows by a host name, as any other server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live.samples import wait_until
from tests.live.support import Deployment, Engine
from tests.live.test_images import HARDENED, POSTGRES

__all__ = ["HOST", "Server", "external_server"]

HOST = "postgres.clair.test"


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL that no deployment owns."""

    container: str
    engine: Engine

    def psql(self, database: str, script: str) -> str:
        """Run a psql script as superuser and return what it prints; fails with psql's words."""
        return self.engine.docker(
            "exec", "--interactive", self.container, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
            "-U", "postgres", "-d", database, "-f", "-",
            stdin=script,
        ).stdout  # fmt: skip

    def join(self, deployment: Deployment) -> None:
        """Become reachable for the deployment under HOST."""
        self.engine.docker("network", "connect", "--alias", HOST, f"{deployment.name}_egress", self.container)


@contextmanager
def external_server(engine: Engine) -> Iterator[Server]:
    """Run a PostgreSQL that listens with SCRAM, as one of a database team would."""
    name = f"clairtest-{secrets.token_hex(4)}-external"
    engine.docker("run", "--detach", "--name", name, *HARDENED, "--env", f"POSTGRES_PASSWORD={secrets.token_hex(8)}",
                  "--env", "POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256 --auth-local=trust", POSTGRES)  # fmt: skip
    ready = ("exec", name, "pg_isready", "--quiet", "--host", "127.0.0.1")
    try:
        wait_until(lambda: engine.docker(*ready, check=False).returncode == 0, "the external PostgreSQL", 60)
        yield Server(name, engine)
    finally:
        engine.docker("rm", "--force", "--volumes", name)
