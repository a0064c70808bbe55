"""Every fault of a service leads to exit code 3, one line that names it, and a hint: never to a verdict."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest
from ops.clair import bearer
from ops.errors import UNDECIDED, Problem

from .conftest import FakeLedger, Run
from .servers import INDEX_REPORT, Clair, Registry, Reply

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_a_busy_indexer_is_waited_for(scan: Run, clair: Clair) -> None:
    busy = Reply(429, {"code": "too-many-requests", "message": "server handling too many requests"})
    clair.fail_once("POST", INDEX_REPORT, *[busy] * 12)

    assert scan().code == 1
    assert len(clair.requests) == 14


def test_a_token_that_expired_while_the_indexer_was_busy_is_renewed(
    scan: Run, clair: Clair, registry: Registry
) -> None:
    message = "failed to start scan: failed to fetch layers: unexpected status code: 401 Unauthorized"
    clair.fail_once("POST", INDEX_REPORT, Reply(500, {"code": "internal-error", "message": message}))

    assert scan().code == 1
    located = [request for request in registry.requests if "Range" in request.headers]
    assert len(located) == 2


@pytest.mark.parametrize(
    ("seconds", "code"), [pytest.param(-3600, UNDECIDED, id="behind"), pytest.param(3600, 1, id="ahead")]
)
def test_a_clock_that_is_behind_is_undecided_and_one_ahead_does_no_harm(
    scan: Run, monkeypatch: pytest.MonkeyPatch, seconds: float, code: int
) -> None:
    real = bearer.token
    monkeypatch.setattr(bearer, "token", lambda key, issuer: real(key, issuer, time.time() + seconds))

    assert scan().code == code


def test_an_indexer_that_hangs_does_not_hide_that_the_database_is_down(
    scan: Run, ledger: FakeLedger, clair: Clair
) -> None:
    """Seen with 4.9.0: with its database stopped the indexer holds the request for ever."""
    clair.fail("POST", INDEX_REPORT, Reply(fault="hang"))
    ledger.problem = Problem("feed ledger unreadable, database matcher: down", "./clair database", UNDECIDED)

    started = time.monotonic()
    outcome = scan()

    assert (outcome.code, time.monotonic() - started < 5) == (UNDECIDED, True)


def test_an_image_without_packages_is_undecided(scan: Run, clair: Clair, registry: Registry) -> None:
    def change(report: dict[str, Any]) -> dict[str, Any]:
        empty = {
            name: {}
            for name in ("packages", "distributions", "environments", "vulnerabilities", "package_vulnerabilities")
        }
        return {**report, **{name: value for name, value in empty.items() if name in report}}

    clair.change_index = clair.change_report = change

    outcome = scan()

    image = f"{registry.name}/demo/debian:12"
    assert outcome.code == UNDECIDED
    assert outcome.err == (
        f"scan undecided, {image}: Clair found no package in the image, so there was nothing to compare (--allow-empty "
        f"accepts that)\nHINT: ./clair scan --allow-empty {image}\n"
    )
    assert scan("--allow-empty").code == 0


def test_a_key_never_appears_in_what_is_printed(scan: Run, clair: Clair, deployment: Path) -> None:
    key = (deployment / "secrets" / "psk").read_text().strip()
    clair.fail("POST", INDEX_REPORT, Reply(500, {"message": "x"}))

    outcome = scan("--format", "json")

    assert key not in outcome.out + outcome.err
    assert base64.b64decode(key).decode() not in outcome.out + outcome.err
