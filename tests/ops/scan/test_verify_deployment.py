"""The command `verify`: each check, the exit code, and the document for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ops import settings
from ops.errors import UNDECIDED, USAGE, Problem
from ops.feeds.match_updaters import Ledger, LedgerRow
from ops.host.watch_start import Container
from ops.state.track_change import begin_change
from ops.verify import verify_deployment
from ops.verify.verify_edge import Check
from ops.verify.verify_feeds import feed_checks

from extensions.catalogue import Catalogue

from .conftest import FakeLedger, Outcome, Run, facts, write_deployment
from .servers import Clair, Reply
from .test_find_feeds import NOW, feeds, ledger, row

SERVICES = ("clair-database", "indexer", "matcher", "notifier", "traefik")


def container(service: str, status: str = "Up 2 minutes (healthy)", state: str = "running") -> Container:
    return Container(f"id-{service}", state, status, service, f"clair-{service}")


class World:
    """What docker says: the containers, what they answer on /readyz, the volumes."""

    def __init__(self) -> None:
        self.containers = [container(service) for service in SERVICES]
        self.ready = "200"
        self.problem: Problem | None = None

    def found(self, deployment: settings.Deployment) -> list[Container]:
        if self.problem:
            raise self.problem
        return self.containers

    def docker(self, args: list[str], **options: Any) -> Any:
        class Done:
            returncode = 0
            stdout = (
                f"{self.ready}\n" if args[0] == "exec" else json.dumps([{"Name": "clair_database", "Size": "82MB"}])
            )
            stderr = ""

        return Done()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, ledger_of_families: FakeLedger) -> World:
    """A docker in which everything is well."""
    found = World()
    monkeypatch.setattr(verify_deployment, "containers", found.found)
    monkeypatch.setattr(verify_deployment.engine, "docker", found.docker)
    monkeypatch.setattr(verify_deployment, "LedgerSession", lambda deployment, deadline: ledger_of_families)
    return found


@pytest.fixture
def ledger_of_families() -> FakeLedger:
    """A ledger in which Debian's feed, the only one asked for, and the scores are fresh."""
    found = FakeLedger()
    found.load("debian/updater", "clair.cvss")
    return found


@pytest.fixture
def verify(*, run: Run, world: World, deployment: Path, clair: Clair, catalogue: Catalogue, monkeypatch: Any) -> Run:
    """Run `./clair verify` of a deployment that asked for Debian's feed."""
    write_deployment(deployment, facts(catalogue, port=clair.port, feeds__families=["debian"]))
    monkeypatch.setattr(verify_deployment, "load_deployment", lambda: settings.load_deployment(deployment))
    monkeypatch.delenv("JSON", raising=False)
    return lambda *arguments: run("verify", *arguments)


def check_of(outcome: Outcome, name: str) -> dict[str, str]:
    (found,) = [check for check in outcome.json["checks"] if check["name"] == name]
    return dict(found)


def test_a_deployment_that_works_is_a_table_and_exit_code_0(verify: Run) -> None:
    outcome = verify()

    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["CHECK", "RESULT", "DETAIL"]
    assert {line.split("  ")[0] for line in lines[1:]} >= {
        "container indexer",
        "clair-matcher ready",
        "notifier answers",
        "indexer needs a token",
        "edge refuses the internal API",
        "feed ledger",
        "feed debian",
        "volumes",
        "last backup",
    }
    assert not any(" failed " in line or " unknown " in line for line in lines)


def test_json_lists_the_same_checks(verify: Run) -> None:
    outcome = verify("--json")

    assert (outcome.json["format"], outcome.json["exit_code"]) == (1, 0)
    assert check_of(outcome, "matcher answers") == {
        "name": "matcher answers",
        "result": "ok",
        "detail": "HTTP 200 with a token of this deployment",
        "hint": "",
    }


def test_the_token_is_tried_on_all_three_services_with_and_without(verify: Run, clair: Clair) -> None:
    verify()

    for service in ("indexer", "matcher", "notifier"):
        own = [
            request
            for request in clair.requests
            if request.path.startswith(f"/{service}/api/v1/") and "internal" not in request.path
        ]
        assert {"Authorization" in request.headers for request in own if request.method == "GET"} == {True, False}


FAILURES = [
    pytest.param("GET", "/indexer", Reply(502), "indexer answers", "HTTP 502", id="a service is down"),
    pytest.param("GET", "/notifier", Reply(401), "notifier answers", "HTTP 401: it refuses the token (key, issuer or clock)",
                 id="the token is refused"),
    pytest.param("GET", "/matcher", Reply(200, {}), "matcher needs a token", "HTTP 200 without one: the API is open",
                 id="no token is asked for"),
    pytest.param("GET", "/matcher/api/v1/internal", Reply(200, {}), "edge refuses the internal API",
                 "HTTP 200 for GET /matcher/api/v1/internal/update_operation", id="the internal API is open"),
    pytest.param("DELETE", "/indexer/api/v1/index_report", Reply(200, []), "edge refuses the internal API",
                 "HTTP 200 for DELETE /indexer/api/v1/index_report", id="a bulk delete is passed on"),
    pytest.param("GET", "/matcher", Reply(404, b"404 page not found\n"), "matcher answers", "HTTP 404", id="the edge knows no route"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "reply", "name", "detail"), FAILURES)
def test_what_does_not_work_is_exit_code_1_and_named(
    *, verify: Run, clair: Clair, method: str, path: str, reply: Reply, name: str, detail: str
) -> None:
    clair.fail(method, path, reply)

    outcome = verify("--json")

    assert outcome.code == 1
    assert (check_of(outcome, name)["result"], check_of(outcome, name)["detail"]) == ("failed", detail)
    assert outcome.err.startswith("deployment not working, clair: ")


def test_an_unfinished_change_is_named_before_what_follows_from_it(verify: Run, world: World, deployment: Path) -> None:
    change = begin_change(settings.load_deployment(deployment), "upgrade", "verify", **{"from": "4.8.0", "to": "4.9.0"})
    world.ready = "503"

    outcome = verify()

    told = f"change not finished, upgrade of {change.started_at}: it stands at step verify; ./clair rollback goes back"
    assert outcome.code == 1
    assert outcome.out.splitlines()[1].split("  ")[0] == "no unfinished change"
    assert outcome.err.endswith(f": no unfinished change: {told} (and 3 more)\nHINT: ./clair upgrade\n")


def test_a_container_that_is_not_healthy_is_named_with_its_log(verify: Run, world: World) -> None:
    world.containers[1] = container("indexer", "Up 1 minute (unhealthy)")

    outcome = verify()

    assert outcome.code == 1
    assert outcome.err == (
        "deployment not working, clair: container indexer: clair-indexer unhealthy\nHINT: ./clair logs indexer\n"
    )


def test_a_container_that_is_missing_is_started_by_up(verify: Run, world: World) -> None:
    del world.containers[-1]

    outcome = verify()

    assert outcome.err == "deployment not working, clair: container traefik: no container\nHINT: ./clair up\n"


def test_a_service_that_says_it_is_not_ready_fails(verify: Run, world: World) -> None:
    world.ready = "503"

    assert check_of(verify("--json"), "clair-indexer ready") == {
        "name": "clair-indexer ready",
        "result": "failed",
        "detail": "/readyz HTTP 503",
        "hint": "./clair logs indexer",
    }


@pytest.mark.parametrize(("code", "exit_code"), [(UNDECIDED, 3), (USAGE, 1)])
def test_a_docker_that_does_not_answer_is_told_as_it_is(verify: Run, world: World, code: int, exit_code: int) -> None:
    world.problem = Problem("docker unreachable, its daemon: not running", "sudo systemctl start docker", code)

    outcome = verify()

    assert outcome.code == exit_code
    assert "docker unreachable, its daemon: not running" in outcome.err
    assert outcome.err.endswith("HINT: sudo systemctl start docker\n")


def test_feeds_that_are_not_loaded_yet_are_undecided(verify: Run, ledger_of_families: FakeLedger) -> None:
    del ledger_of_families.rows["debian/updater"]

    outcome = verify()

    assert outcome.code == UNDECIDED
    assert outcome.err == (
        "deployment not verified, clair: feed debian: nothing loaded yet\nHINT: ./clair logs matcher\n"
    )


def test_a_ledger_that_cannot_be_read_is_undecided(verify: Run, ledger_of_families: FakeLedger) -> None:
    sentence = "feed ledger unreadable, database matcher: the database's container is not running"
    ledger_of_families.problem = Problem(sentence, "./clair database", UNDECIDED)

    outcome = verify()

    assert outcome.code == UNDECIDED
    assert outcome.err == f"deployment not verified, clair: feed ledger: {sentence}\nHINT: ./clair database\n"


FEEDS = [
    pytest.param(["debian"], [row("debian/updater")], ("ok", "1 of 1 updaters fresh, the oldest 60 min ago"), id="fresh"),
    pytest.param(["debian"], [row("debian/updater", 30)],
                 ("unknown", "0 of 1 updaters fresh, the oldest 30 h ago: the feed debian/updater last succeeded 30 h ago, "
                             "24 h are allowed"), id="stale"),
    pytest.param(["debian"], [], ("unknown", "nothing loaded yet"), id="nothing yet"),
    pytest.param(["debian"], [row("debian/updater", stored=False, error="HTTP 403")],
                 ("unknown", "the feed debian/updater never loaded: HTTP 403"), id="failing"),
    pytest.param(["photon"], [], ("warning", "cannot be loaded: its address answers 403"), id="cannot be loaded"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "rows", "expected"), FEEDS)
def test_a_familys_feed_is_summarised(
    catalogue: Catalogue, asked: list[str], rows: list[LedgerRow], expected: tuple[str, str]
) -> None:
    (check,) = feed_checks({"enrichment": False}, feeds(catalogue, asked=asked), ledger(*rows), NOW)

    assert (check.result, check.detail) == expected


def test_a_family_of_which_a_part_is_fresh_is_a_warning(catalogue: Catalogue) -> None:
    found = ledger(row("ubuntu/updater/jammy"), row("ubuntu/updater/noble", stored=False, error="HTTP 503"))

    (check,) = feed_checks({"enrichment": False}, feeds(catalogue, asked=["ubuntu"]), found, NOW)

    assert (check.result, check.detail.partition(":")[0]) == ("warning", "1 of 2 updaters fresh, the oldest 60 min ago")


def test_missing_scores_are_a_warning_since_verdicts_do_without_them(catalogue: Catalogue) -> None:
    known = {name: catalogue.family(name, "4.9.0") for name in (*catalogue.family_names, catalogue.enrichment_name)}
    wanted = feeds(catalogue, asked=[]).__class__((), known, offline=False, max_age_seconds=86400.0)

    (check,) = feed_checks({"enrichment": True}, wanted, Ledger({}), NOW)

    assert isinstance(check, Check)
    assert check.result == "warning"


def backup_made(deployment: Path, made_at: str) -> None:
    """Put a backup's manifest there, which is all that its age is read from."""
    folder = deployment / "backups" / "clair-20261125T040000Z"
    folder.mkdir(parents=True)
    manifest = {
        "format": 1,
        "name": folder.name,
        "deployment_name": "clair",
        "made_at": made_at,
        "reason": "backup",
        "clair_release": "4.9.0",
        "postgres_version": "17.10",
        "schema": {"indexer": 8},
        "databases": {"indexer": {"size_bytes": 1, "tables": {}, "extensions": {}}},
        "skipped": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_deployment_without_a_backup_works_and_is_warned_about(verify: Run) -> None:
    outcome = verify("--json")

    assert outcome.code == 0
    assert check_of(outcome, "last backup") == {
        "name": "last backup",
        "result": "warning",
        "detail": "none yet",
        "hint": "./clair backup",
    }


@pytest.mark.parametrize(("hours", "result"), [(1, "ok"), (47, "ok"), (49, "warning")])
def test_age_of_the_last_backup(verify: Run, deployment: Path, hours: int, result: str) -> None:
    made_at = datetime.now(UTC) - timedelta(hours=hours)
    backup_made(deployment, f"{made_at:%Y-%m-%dT%H:%M:%SZ}")

    assert check_of(verify("--json"), "last backup")["result"] == result
