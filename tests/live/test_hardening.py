"""What a container of a deployment may do, whom it reaches, and where the secrets are not: seen from inside and outside."""

from __future__ import annotations

import json
import re
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import clair, container_ids, request, token
from tests.live.support import Deployment

SERVICES = ("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")
ROLES = ("indexer", "matcher", "notifier")
ADDRESSES = {
    "clair-database": 5432,
    "indexer": 6060,
    "matcher": 6060,
    "notifier": 6060,
    "receiver": 8080,
}
# Who reaches whom, by the networks that the template gives each service; everything else is out of reach.
REACHED = {
    "clair-database": {"indexer", "matcher", "notifier"},
    "indexer": {"clair-database", "matcher", "notifier"},
    "matcher": {"clair-database", "indexer", "notifier"},
    "notifier": {"clair-database", "indexer", "matcher", "receiver"},
    "receiver": {"notifier"},
    "traefik": {"indexer", "matcher", "notifier"},
}
NO_DIGEST = "sha256:" + "0" * 64
PUBLIC = (
    "/indexer/api/v1/index_state",
    f"/matcher/api/v1/vulnerability_report/{NO_DIGEST}",
    "/notifier/api/v1/notification/00000000-0000-0000-0000-000000000000",
)


@pytest.fixture(scope="module")
def running(shared_deployment: DeploymentFactory) -> Deployment:
    """The defaults, running; feeds play no part here."""
    deployment = shared_deployment(updater_families=["alpine"], enrichment_enabled=False)
    clair(deployment, "up")
    return deployment


def inspect(deployment: Deployment, service: str) -> dict[str, Any]:
    """Return what Docker knows of the container of a service."""
    parsed: list[dict[str, Any]] = json.loads(deployment.engine.docker("inspect", deployment.container(service)).stdout)
    return parsed[0]


def secret_values(deployment: Deployment) -> dict[str, str]:
    """Return every secret by name."""
    return {path.name: path.read_text().strip() for path in (deployment.root / "secrets").iterdir()}


def spellings(secret: str) -> set[str]:
    """Return the forms in which a secret could stand in a text."""
    return {secret, secret.rstrip("="), urllib.parse.quote(secret, safe=""), json.dumps(secret).strip('"')}


@pytest.mark.parametrize("service", SERVICES)
def test_processes_are_unprivileged(running: Deployment, service: str) -> None:
    status = running.execute(service, "cat", "/proc/1/status").stdout

    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    declared = running.facts["services"][service].get("capabilities", [])
    assert declared == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"].strip() == "1"
    expected = 999 if service == "clair-database" else 65534
    assert {int(uid) for uid in fields["Uid"].split()} == {expected}
    assert {int(gid) for gid in fields["Gid"].split()} == {expected}
    # Filtered by the engine's default profile (2), where the kernel can.
    assert fields.get("Seccomp", "2").strip() == "2"


@pytest.mark.parametrize("service", SERVICES)
def test_containers_are_limited_and_their_root_is_read_only(running: Deployment, service: str) -> None:
    host = inspect(running, service)["HostConfig"]

    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapAdd"] in (None, [])
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}
    assert host["NetworkMode"] not in ("host", "bridge", "default")
    assert host["PidMode"] == "" and host["IpcMode"] != "host"
    written = running.execute(service, "sh", "-c", "echo x > /etc/probe || echo x > /usr/probe", check=False)
    assert written.returncode != 0
    assert "Read-only file system" in written.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_mounts_from_the_host_are_parts_of_the_applied_state_and_read_only(running: Deployment, service: str) -> None:
    mounts = inspect(running, service)["Mounts"]

    applied = str(running.root / "state" / "applied")
    binds = [mount for mount in mounts if mount["Type"] == "bind"]
    assert binds
    for mount in binds:
        assert mount["Source"].startswith(f"{applied}/"), mount
        assert mount["RW"] is False, mount
    assert not any("docker.sock" in mount["Source"] for mount in mounts)


def test_only_two_ports_are_published_both_on_loopback(running: Deployment) -> None:
    published = {}
    for service in SERVICES:
        for port, hosts in inspect(running, service)["NetworkSettings"]["Ports"].items():
            for host in hosts or []:
                published[service, port] = (host["HostIp"], host["HostPort"])

    assert published == {
        ("traefik", "6060/tcp"): ("127.0.0.1", str(running.edge_port)),
        ("traefik", "6061/tcp"): ("127.0.0.1", str(running.operations_port)),
    }


def test_no_secret_stands_where_docker_or_git_shows_it(running: Deployment) -> None:
    values = secret_values(running)
    shown: dict[str, str] = {}
    for service in SERVICES:
        shown[f"docker inspect {service}"] = json.dumps(inspect(running, service))
        shown[f"docker logs {service}"] = running.logs(service, 2000)
        # Not the database's environment: PostgreSQL's own entrypoint exports the password that it reads from its file.
        files = "cmdline" if service == "clair-database" else "environ /proc/[0-9]*/cmdline"
        command = f"cat /proc/[0-9]*/{files} 2>/dev/null | tr '\\0' '\\n'"
        shown[f"processes of {service}"] = running.execute(service, "sh", "-c", command, check=False).stdout
    for path in running.root.rglob("*"):
        parts = path.relative_to(running.root).parts
        if path.is_file() and parts[0] not in ("secrets", "state"):
            shown["/".join(parts)] = path.read_text(encoding="utf-8", errors="replace")
    applied = running.root / "state" / "applied"
    for path in applied.rglob("*"):
        if path.is_file() and not path.name.startswith(
            ("pgpass", "psk", "superuser-password", "zz-psk", "config.yaml")
        ):
            shown[f"state/{path.relative_to(applied)}"] = path.read_text(encoding="utf-8", errors="replace")

    for name, value in values.items():
        for spelling in spellings(value):
            for where, text in shown.items():
                assert spelling not in text, f"secrets/{name} stands in {where}"


def test_a_service_gets_only_its_own_secrets(running: Deployment) -> None:
    values = secret_values(running)
    wanted = {
        "indexer": {"psk", "database-indexer"},
        "matcher": {"psk", "database-matcher"},
        "notifier": {"psk", "database-notifier"},
        "receiver": {"psk"},
        "traefik": set(),
        "database": {"database-superuser"},
        "ca": set(),
    }

    applied = running.root / "state" / "applied"
    for part, expected in wanted.items():
        texts = [path.read_text(errors="replace") for path in (applied / part).rglob("*") if path.is_file()]
        found = {name for name, value in values.items() if any(value in text for text in texts)}
        assert found == expected, part


def test_state_and_secrets_are_closed_to_other_users(running: Deployment) -> None:
    for folder in ("secrets", "state"):
        assert (running.root / folder).stat().st_mode & 0o077 == 0, folder


def networks(deployment: Deployment, service: str) -> dict[str, str]:
    """Return the networks of the container of a service, and its address in each."""
    found = inspect(deployment, service)["NetworkSettings"]["Networks"]
    return {name: network["IPAddress"] for name, network in found.items()}


def reaches(deployment: Deployment, source: str, address: str, port: int) -> bool:
    """Return whether a connection from inside the container of `source` opens within two seconds."""
    if source == "traefik":
        # There is no bash; of its nc every build has -e, and not every one -z.
        probe = ("nc", "-w", "2", address, str(port), "-e", "true")
    else:
        probe = ("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}")
    return deployment.execute(source, *probe, check=False).returncode == 0


@pytest.mark.parametrize("source", SERVICES)
def test_networks_are_as_narrow_as_declared(running: Deployment, source: str) -> None:
    """By address and not by name, so that no container is safe only because its name does not resolve."""
    own = networks(running, source)

    def is_reached(target: str) -> bool:
        there = networks(running, target)
        # One address in a network of its own answers for all of them.
        shared = [there[name] for name in own if name in there][:1]
        return any(reaches(running, source, address, ADDRESSES[target]) for address in shared or there.values())

    targets = [target for target in ADDRESSES if target != source]
    # At the same time: an address that is out of reach does not answer at all.
    with ThreadPoolExecutor(len(targets)) as pool:
        found = {target for target, reached in zip(targets, pool.map(is_reached, targets), strict=True) if reached}

    assert found == REACHED[source]


def test_networks_without_a_way_out_are_internal(running: Deployment) -> None:
    listing = running.engine.docker(
        "network", "ls", "--format", "{{.Name}}", "--filter", f"label=com.docker.compose.project={running.name}"
    ).stdout.split()
    internal = {
        name.removeprefix(f"{running.name}_"): running.engine.docker(
            "network", "inspect", "--format", "{{.Internal}}", name
        ).stdout.strip()
        for name in listing
    }

    assert internal == {
        "clair": "true",
        "database": "true",
        "notifications": "true",
        "edge": "false",
        "egress": "false",
        "delivery": "false",
    }


@pytest.mark.parametrize("path", PUBLIC)
def test_every_service_needs_the_key(running: Deployment, path: str) -> None:
    good = token(running)
    forged = good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB")

    statuses = {
        "right": request(running.edge_url, "GET", path, {"Authorization": f"Bearer {good}"})[0],
        "none": request(running.edge_url, "GET", path)[0],
        "forged": request(running.edge_url, "GET", path, {"Authorization": f"Bearer {forged}"})[0],
        "stranger": request(running.edge_url, "GET", path, {"Authorization": f"Bearer {token(running, 'stranger')}"})[0],
        "expired": request(running.edge_url, "GET", path, {"Authorization": f"Bearer {token(running, exp=1)}"})[0],
        # Also where only this machine can ask.
        "operations": request(running.operations_url, "GET", path)[0],
    }  # fmt: skip

    # 202: the matcher has no feed yet.
    assert statuses.pop("right") in (200, 202, 404)
    assert set(statuses.values()) == {401}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/matcher/api/v1/internal/update_operation"),
        ("GET", "/matcher/api/v1%2finternal/update_operation"),
        ("GET", "/indexer/api/v1/internal/affected_manifest"),
        ("DELETE", "/indexer/api/v1/index_report"),
        ("DELETE", f"/indexer/api/v1/index_report/{NO_DIGEST}"),
        ("DELETE", "/notifier/api/v1/notification/00000000-0000-0000-0000-000000000000"),
        ("GET", "/indexer/metrics"),
        ("GET", "/"),
    ],
)
def test_the_edge_refuses_what_is_not_public(running: Deployment, method: str, path: str) -> None:
    status, headers, _ = request(running.edge_url, method, path, {"Authorization": f"Bearer {token(running)}"})

    assert status in (400, 403, 404, 405)
    # Clair's own answers are JSON.
    assert not headers.get("content-type", "").startswith("application/")


def connect(deployment: Deployment, role: str, database: str, statement: str = "SELECT 1") -> tuple[int, str]:
    """Run a statement with a role's own password over TCP; return psql's exit code and what it printed."""
    password = (deployment.root / "secrets" / f"database-{role}").read_text().strip()
    done = deployment.engine.docker(
        "exec", "--env", f"PGPASSWORD={password}", deployment.container("clair-database"),
        "psql", "-X", "-q", "-A", "-t", "-w", "-h", "127.0.0.1", "-U", role, "-d", database, "-c", statement,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("role", [*ROLES, "ledger"])
def test_a_role_connects_to_its_own_database_alone(running: Deployment, role: str) -> None:
    answers = {name: connect(running, role, name) for name in (*ROLES, "postgres")}

    own = "matcher" if role == "ledger" else role
    assert answers.pop(own)[0] == 0
    for name, (code, output) in answers.items():
        assert code != 0, name
        assert f'permission denied for database "{name}"' in output


def test_the_ledger_role_only_reads(running: Deployment) -> None:
    reads = [connect(running, "ledger", "matcher", f"SELECT count(*) FROM {table}")
             for table in ("update_operation", "updater_status", "vuln")]  # fmt: skip
    open_up = "SET default_transaction_read_only = off; SET transaction_read_only = off; "
    writes = {
        statement: connect(running, "ledger", "matcher", statement)
        for prefix in ("", open_up)
        for statement in (
            f"{prefix}DELETE FROM vuln",
            f"{prefix}UPDATE updater_status SET last_run_succeeded = true",
            f"{prefix}INSERT INTO update_operation (updater, fingerprint) VALUES ('a', 'b')",
            f"{prefix}CREATE TABLE probe (id integer)",
            f"{prefix}CREATE TEMPORARY TABLE probe (id integer)",
        )
    }

    assert [code for code, _ in reads] == [0, 0, 0], reads
    for statement, (code, output) in writes.items():
        assert code != 0, statement
        assert re.search("permission denied|read-only transaction", output), (statement, output)


def test_no_role_but_the_superuser_is_privileged(running: Deployment) -> None:
    rows = running.psql(
        "postgres",
        "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles "
        "WHERE rolcanlogin ORDER BY 1",
    )
    verifiers = running.psql("postgres", "SELECT DISTINCT left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin")

    assert rows == [["indexer", "f"], ["ledger", "f"], ["matcher", "f"], ["notifier", "f"], ["postgres", "t"]]
    assert verifiers == [["SCRAM-SHA-256"]]


def test_containers_are_the_six_of_the_defaults(running: Deployment) -> None:
    assert {name.removeprefix(f"{running.name}-") for name in container_ids(running)} == {
        "database", "indexer", "matcher", "notifier", "receiver", "traefik",
    }  # fmt: skip
