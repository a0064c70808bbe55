"""A deployment on a PostgreSQL of somebody else's: what its administrator is told, and that it works after that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.external import HOST, Server, external_server
from tests.live.samples import (
    FAMILIES,
    FEEDS,
    add_samples,
    clair,
    container_ids,
    findings,
    no_traceback,
    sample_repository,
    scan,
    wait_until,
)
from tests.live.support import Deployment, Engine, Images

ROLES = ("indexer", "matcher", "notifier", "ledger")


@pytest.fixture(scope="module")
def server(engine: Engine, images: Images) -> Iterator[Server]:
    """Return a server of a database team's."""
    with external_server(engine) as running:
        yield running


@pytest.fixture(scope="module")
def external(shared_deployment: DeploymentFactory, server: Server) -> Deployment:
    """A deployment that knows the server by name; nothing was done yet."""
    deployment = shared_deployment(
        updater_families=FAMILIES, database_mode="external", database_host=HOST, database_sslmode="disable"
    )
    add_samples(deployment)
    return deployment


def database(deployment: Deployment, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `./clair database` with a short limit, whatever its exit code."""
    done: subprocess.CompletedProcess[str] = clair(deployment, "database", *options, check=False)
    no_traceback(done)
    return done


def test_what_is_missing_is_said_until_it_is_there(external: Deployment, server: Server) -> None:
    # New passwords: nobody but its administrator can make them known to the server.
    first = database(external)
    assert first.returncode == 2
    assert f"database not prepared, {HOST}" in first.stderr
    assert "CREATE ROLE matcher LOGIN" in first.stdout
    for role in ROLES:
        assert (external.root / "secrets" / f"database-{role}").read_text() not in first.stdout + first.stderr

    away = database(external)
    assert away.returncode == 3
    assert "no such host name" in away.stderr

    server.join(external)
    empty = database(external)
    assert empty.returncode == 1
    for role in ROLES:
        assert f"database login failed, role {role}," in empty.stderr
    assert "./clair database --print-sql" in empty.stderr

    # The file for its administrator, without any password.
    server.psql("postgres", (external.root / "database" / "setup.sql").read_text(encoding="utf-8"))
    without_passwords = database(external)
    assert without_passwords.returncode == 1
    assert "wrong password" in without_passwords.stderr

    printed = database(external, "--print-sql")
    assert printed.returncode == 0
    server.psql("postgres", printed.stdout)
    assert database(external).returncode == 0
    assert container_ids(external) == {}


def test_up_verify_and_scan_work_on_it(external: Deployment, server: Server) -> None:
    clair(external, "up")
    names = ", ".join(f"'{name}'" for name in FEEDS)
    count = f"SELECT count(DISTINCT updater) FROM update_operation WHERE updater IN ({names});"
    wait_until(lambda: server.psql("matcher", count).strip() == str(len(FEEDS)), "the feeds", 120)

    verified = clair(external, "verify")
    done = scan(external, f"{sample_repository(external)}/sample/debian:12", "--format", "json")

    names_there = {name.removeprefix(f"{external.name}-") for name in container_ids(external)} - {"demo"}
    assert names_there == {"indexer", "matcher", "notifier", "receiver", "traefik"}
    assert "feed ledger" in verified.stdout
    assert done.returncode == 1
    assert len(findings(json.loads(done.stdout))) == 11


def test_a_deleted_password_is_made_again_and_printed_as_sql(external: Deployment, server: Server) -> None:
    (external.root / "secrets" / "database-indexer").unlink()

    refused = clair(external, "up", check=False)
    server.psql("postgres", refused.stdout)
    clair(external, "up")

    assert refused.returncode == 2
    assert "secrets/database-indexer" in refused.stderr
    assert scan(external, f"{sample_repository(external)}/sample/debian:12").returncode == 1


def test_a_server_that_went_away_is_undecided(external: Deployment, server: Server) -> None:
    server.engine.docker("stop", "--time", "30", server.container)

    done = scan(external, f"{sample_repository(external)}/sample/alpine:3.18-updated", "--timeout", "30")
    checked = database(external)

    assert done.returncode == 3
    assert "VERDICT clean" not in done.stdout
    assert checked.returncode == 3
    server.engine.docker("start", server.container)
    again = f"{sample_repository(external)}/sample/alpine:3.18-updated"
    wait_until(lambda: scan(external, again, "--timeout", "30").returncode == 0, "the verdict once it is back", 90)
