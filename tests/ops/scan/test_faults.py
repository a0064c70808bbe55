"""Each fault of docs/faults.md is told in one line with a hint, and none is ever clean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops import settings
from ops.host import engine, show_activity
from ops.scan import scan_fleet, scan_local

from extensions.catalogue import Catalogue
from tests.support.faults import Fault

from .conftest import FakeLedger, Run, facts, write_deployment
from .faults import FAULTS, World, huge_report
from .local_engine import FakeEngine
from .servers import VULNERABILITY_REPORT, Clair, Registry, recorded

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def world(
    clair: Clair,
    registry: Registry,
    ledger: FakeLedger,
    deployment: Path,
    *,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """All that a fault may change."""
    # A slow machine must not add lines that say what is going on.
    monkeypatch.setattr(show_activity, "QUIET_SECONDS", 1e6)
    for module in (scan_fleet, scan_local):
        monkeypatch.setattr(module, "LedgerSession", lambda deployment, deadline: ledger)
    monkeypatch.setattr(scan_fleet, "load_deployment", lambda: settings.load_deployment(deployment))
    monkeypatch.chdir(deployment)
    docker = FakeEngine(registry)
    monkeypatch.setattr(engine, "docker", docker.docker)
    monkeypatch.setattr(engine, "compose", docker.compose)
    document = facts(catalogue, port=clair.port, edge__operations_port=clair.port)
    write_deployment(deployment, {**document, "images": {"registry": "docker.io/library/registry:2.8.3"}})
    return World(clair, registry, ledger, deployment, docker, monkeypatch)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.case for fault in FAULTS])
def test_a_fault_is_told_in_one_line_and_never_clean(scan: Run, run: Run, world: World, fault: Fault) -> None:
    fault.arrange(world)

    words = fault.arguments.split()
    if words[:1] in (["fleet"], ["scan-local"]):
        outcome = run(*words)
    elif words and not words[0].startswith("--"):
        name = words[0] if words[0].startswith("localhost") else f"{world.registry.name}/{words[0]}"
        outcome = run("scan", name, *words[1:])
    else:
        outcome = scan(*words)

    told = fault.told(
        EDGE=f"http://127.0.0.1:{world.clair.port}",
        DIGEST=world.registry.push("demo/debian", "12"),
        IMAGE=f"{world.registry.name}/demo/debian:12",
        REGISTRY=world.registry.name,
        CONFIG=str(world.docker_config),
    )
    said = re.sub(r"scan \d+\.\d+\.\d+\.\d+:5000", "scan ADDRESS:5000", outcome.err)
    if "NUMBER" in fault.sentence:
        said = re.sub(r"after \d+ bytes", "after NUMBER bytes", said)
    assert (said, outcome.code) == (told, fault.code)
    assert outcome.code != 0
    assert "clean" not in outcome.out


def test_a_report_of_100_megabytes_is_judged(scan: Run, world: World) -> None:
    digest = world.registry.push("demo/debian", "12")
    reply = huge_report(cut=False)
    body = reply.body if isinstance(reply.body, bytes) else b""
    recorded_hash = recorded("vulnerability_report")["body"]["manifest_hash"]
    reply.body = body.replace(recorded_hash.encode(), digest.encode())
    world.clair.fail("GET", VULNERABILITY_REPORT, reply)

    assert scan().code == 1


def test_an_expired_entry_of_the_ignore_file_fails_the_scan(scan: Run, world: World) -> None:
    world.clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}
    world.ignore('{"ignore": [{"id": "CVE-1", "reason": "x", "expires": "2024-12-31"}]}')

    outcome = scan()

    assert outcome.code == 1
    assert "  - .clair-ignore.json, entry 1 (CVE-1): expired on 2024-12-31" in outcome.out.splitlines()
    assert "clean" not in outcome.out
