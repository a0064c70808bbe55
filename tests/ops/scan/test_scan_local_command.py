"""The command `scan-local`: what it makes for one scan, and that nothing of it stays, however it ends."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ops import settings
from ops.errors import UNDECIDED, Problem
from ops.host import engine
from ops.scan import run_registry, scan_local

from extensions.catalogue import Catalogue

from .conftest import FakeLedger, Outcome, Run, facts, write_deployment
from .local_engine import IMAGE_ID, FakeEngine
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Registry, Reply

NAME = "clair-{id}.registry"


@pytest.fixture
def docker(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A local Docker that has myapp:1 for linux/amd64."""
    found = FakeEngine(registry)
    monkeypatch.setattr(engine, "docker", found.docker)
    monkeypatch.setattr(engine, "compose", found.compose)
    return found


@pytest.fixture
def scan_it(
    run: Run,
    ledger: FakeLedger,
    docker: FakeEngine,
    clair: Clair,
    deployment: Path,
    *,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run `scan-local` of a deployment whose operations entry point is the fake Clair, too."""
    images = {"registry": "docker.io/library/registry:2.8.3"}
    document = facts(catalogue, port=clair.port, edge__operations_port=clair.port)
    write_deployment(deployment, {**document, "images": images})
    monkeypatch.setattr(scan_local, "LedgerSession", lambda deployment, deadline: ledger)

    def call(*arguments: str, image: str = "myapp:1") -> Outcome:
        return run("scan-local", *arguments, *([image] if image else []))

    return call


def left(docker: FakeEngine, deployment: Path, clair: Clair) -> list[Any]:
    """Return what a scan has left anywhere."""
    places = deployment / "state" / "scan-local"
    files = [path.name for path in places.iterdir()] if places.is_dir() else []
    return [*docker.containers, *docker.tags, *files, *clair.known]


NOTHING: list[Any] = []


def test_a_local_image_is_scanned_and_nothing_stays(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path
) -> None:
    outcome = scan_it()

    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (1, "")
    assert lines[:2] == ["image     myapp:1", f"image id  {IMAGE_ID}"]
    assert lines[2] == f"digest    {clair.manifests[0]['hash']}"
    assert left(docker, deployment, clair) == NOTHING
    assert [request.path for request in clair.requests if request.method == "DELETE"] == [
        f"{INDEX_REPORT}/{clair.manifests[0]['hash']}"
    ]


def test_the_indexer_gets_addresses_of_the_deployments_own_network(scan_it: Run, clair: Clair) -> None:
    scan_it()

    (layer,) = clair.manifests[0]["layers"]
    assert re.fullmatch(rf"http://clair-[0-9a-f]{{8}}\.registry:5000/v2/scan-local/blobs/{layer['hash']}", layer["uri"])
    assert layer["headers"] == {}


def test_a_manifest_the_indexer_knew_before_stays_there(
    scan_it: Run, docker: FakeEngine, clair: Clair, registry: Registry, deployment: Path
) -> None:
    digest = registry.push("scan-local", "any")
    clair.known.add(digest)

    scan_it()

    assert left(docker, deployment, clair) == [digest]
    assert not [request for request in clair.requests if request.method == "DELETE"]


@pytest.mark.parametrize(
    ("image", "sentence", "hint"),
    [
        pytest.param("", "wrong use, clair scan-local: no image given", "./clair scan-local myapp:latest", id="none"),
        pytest.param(
            "myapp",
            "image not found, myapp: the local Docker has none of that name; near ones are myapp:1",
            "./clair scan-local myapp:1",
            id="another tag",
        ),
        pytest.param(
            "nginx:1",
            "image not found, nginx:1: the local Docker has none of that name",
            "docker image ls",
            id="nothing like it",
        ),
    ],
)
def test_an_image_that_is_not_there_is_refused_with_near_names(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path, *, image: str, sentence: str, hint: str
) -> None:
    outcome = scan_it(image=image)

    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"{sentence}\nHINT: {hint}\n")
    assert clair.requests == []


class TestArchitecture:
    @pytest.fixture(autouse=True)
    def arm(self, docker: FakeEngine) -> None:
        """The image is for linux/arm64, the deployment for linux/amd64."""
        docker.images["myapp:1"]["Architecture"] = "arm64"

    def test_an_image_of_another_one_is_said_before_anything_is_made(self, scan_it: Run, docker: FakeEngine) -> None:
        outcome = scan_it()

        assert outcome.code == 2
        assert outcome.err == (
            "image of another platform, myapp:1: it is for linux/arm64, and the deployment is for linux/amd64\n"
            "HINT: ./clair scan-local --platform linux/arm64 myapp:1\n"
        )
        assert not [call for call in docker.calls if call[0] == "compose"]

    def test_with_the_platform_it_is_scanned_as_what_it_is(self, scan_it: Run) -> None:
        outcome = scan_it("--platform", "linux/arm64")

        assert outcome.code == 1
        assert "platform  linux/arm64" in outcome.out.splitlines()

    def test_no_other_platform_is_made_up(
        self, scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path
    ) -> None:
        outcome = scan_it("--platform", "linux/s390x")

        assert outcome.code == 2
        assert outcome.err == (
            "no image for linux/s390x, myapp:1: there is linux/arm64\n"
            "HINT: ./clair scan-local --platform linux/arm64 myapp:1\n"
        )
        assert left(docker, deployment, clair) == NOTHING


ENDS = [
    pytest.param({"compose run": "no such image: registry:2.8.3"}, 3,
                 "image not available, docker.io/library/registry:2.8.3: no such image: registry:2.8.3",
                 id="the registry's image is missing"),
    pytest.param({"compose run": "no such service: registry"}, 2,
                 "registry not started, service registry: the applied compose.yaml is of an older template",
                 id="the applied compose.yaml has no registry"),
    pytest.param({"docker image push": "connection refused"}, 3, "call failed, docker image push: connection refused",
                 id="the push fails"),
    pytest.param({"docker image push": "interrupt"}, 130, "interrupted", id="Ctrl-C while it pushes"),
    pytest.param({"compose run": "interrupt"}, 130, "interrupted", id="Ctrl-C while the registry starts"),
]  # fmt: skip


@pytest.mark.parametrize(("failing", "code", "sentence"), ENDS)
def test_nothing_stays_however_it_ends(
    scan_it: Run,
    docker: FakeEngine,
    clair: Clair,
    deployment: Path,
    *,
    failing: dict[str, str],
    code: int,
    sentence: str,
) -> None:
    docker.failing = failing

    outcome = scan_it()

    assert (outcome.code, outcome.err.splitlines()[0]) == (code, sentence)
    assert left(docker, deployment, clair) == NOTHING
    assert "clean" not in outcome.out


def test_nothing_stays_after_a_fault_of_clair(scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path) -> None:
    clair.fail("GET", VULNERABILITY_REPORT, Reply(500))

    outcome = scan_it()

    assert outcome.code == 3
    assert left(docker, deployment, clair) == NOTHING
    assert len(clair.manifests) == 1


def test_without_clair_or_its_database_nothing_is_begun(
    scan_it: Run, docker: FakeEngine, clair: Clair, ledger: FakeLedger
) -> None:
    ledger.problem = Problem("feed ledger unreadable, database matcher: down", "./clair database", UNDECIDED)
    without_ledger = scan_it()
    ledger.problem = None
    clair.close()
    without_edge = scan_it()

    assert (without_ledger.code, without_edge.code) == (3, 3)
    assert without_ledger.err == "feed ledger unreadable, database matcher: down\nHINT: ./clair database\n"
    assert without_edge.err.startswith(f"indexer unreachable, http://127.0.0.1:{clair.port}: connection refused\n")
    assert not [call for call in docker.calls if call[0] == "compose"]


def test_what_cannot_be_removed_is_told_and_changes_no_verdict(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path
) -> None:
    clair.fail("DELETE", INDEX_REPORT, Reply(500, {"code": "internal-error", "message": "database is down"}))

    outcome = scan_it()

    digest = clair.manifests[0]["hash"]
    assert outcome.code == 1
    assert outcome.err.splitlines()[0] == (f"warning: index report not removed, {digest}: HTTP 500 database is down")
    assert [*docker.containers, *docker.tags] == NOTHING
    clair.faults.clear()
    scan_it()
    assert left(docker, deployment, clair) == NOTHING


def test_the_next_one_removes_what_a_killed_one_left(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path
) -> None:
    docker.containers[NAME.format(id="0000aaaa")] = "127.0.0.1:1"
    docker.tags["127.0.0.1:1/scan-local:0000aaaa"] = IMAGE_ID
    clair.known.add("sha256:" + "cd" * 32)
    places = deployment / "state" / "scan-local"
    places.mkdir(parents=True)
    (places / "0000aaaa").write_text(json.dumps({"digest": "sha256:" + "cd" * 32}))

    scan_it()

    assert left(docker, deployment, clair) == NOTHING


def test_what_another_one_is_using_is_left_alone(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path
) -> None:
    others = NAME.format(id="0000aaaa")
    docker.containers[others] = "127.0.0.1:1"
    places = deployment / "state" / "scan-local"
    places.mkdir(parents=True)
    with (places / "0000aaaa").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        scan_it()

    assert left(docker, deployment, clair) == [others, "0000aaaa"]


def test_a_registry_that_does_not_answer_is_told_with_its_last_line(
    scan_it: Run, docker: FakeEngine, clair: Clair, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_registry, "_answers", lambda host: False)
    original = docker._run
    monkeypatch.setattr(
        docker, "_run", lambda call: (0, "panic: no space\n", "") if call[1] == "logs" else original(call)
    )

    outcome = scan_it("--timeout", "1")

    assert outcome.code == 3
    assert re.fullmatch(
        r"registry not started, clair-[0-9a-f]{8}\.registry: panic: no space", outcome.err.splitlines()[0]
    )
    assert left(docker, deployment, clair) == NOTHING


def test_json_names_image_id_and_digest(scan_it: Run, clair: Clair) -> None:
    document = scan_it("--format", "json").json

    assert (document["image"], document["image_id"]) == ("myapp:1", IMAGE_ID)
    assert document["digest"] == clair.manifests[0]["hash"]


def test_settings_of_the_scan_are_those_of_scan(scan_it: Run, deployment: Path) -> None:
    assert settings.load_deployment(deployment).name == "clair"
    assert scan_it("--fail-on", "none").code == 0
    assert scan_it("--all-platforms").code == 2
