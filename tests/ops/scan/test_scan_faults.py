"""Every fault of a service leads to exit code 3, one line that names it, and a hint: never to a verdict."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops import bearer
from ops.errors import UNDECIDED, Problem
from ops.match_updaters import LedgerRow

from .conftest import FakeLedger, Run
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Registry, Reply, recorded

pytestmark = pytest.mark.usefixtures("no_waiting")


def body_of(name: str) -> bytes:
    return json.dumps(recorded(name)["body"]).encode()


INDEX, REPORT = body_of("POST index_report"), body_of("vulnerability_report")
HTML = Reply(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"Content-Type": "text/html"})

# What answers, with what, and the line on standard error; EDGE and DIGEST stand for the edge's address and the digest.
FAULTS = [
    # The indexer
    ("indexer: 401", "POST", INDEX_REPORT, Reply(401),
     "indexer refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that is "
     "wrong)", "./clair verify"),
    ("indexer: 400", "POST", INDEX_REPORT, Reply(400, {"code": "bad-request", "message": "bogus manifest"}),
     "indexer failed, DIGEST: HTTP 400, bogus manifest", "./clair logs indexer"),
    ("indexer: 404 of the edge", "POST", INDEX_REPORT, Reply(404, b"404 page not found\n"),
     "indexer not reached, EDGE: HTTP 404 from the edge", "./clair verify"),
    ("indexer: 405 of the edge", "POST", INDEX_REPORT, Reply(405),
     "indexer not reached, EDGE: HTTP 405 from the edge", "./clair verify"),
    ("indexer: 404 of its own", "POST", INDEX_REPORT, Reply(404, {"code": "not-found", "message": "index report not found"}),
     "indexer has no report, DIGEST: HTTP 404, index report not found; that is no proof, for it says the same when its "
     "database is down", "./clair verify"),
    ("indexer: a layer cannot be fetched", "POST", INDEX_REPORT,
     Reply(500, recorded("POST index_report, layer cannot be fetched")["body"]),
     "indexer failed, DIGEST: HTTP 500, failed to start scan: failed to fetch layers: fetcher: encountered errors: unexpected "
     'status code: 404 Not Found (body starts: "{\\"errors\\":[{\\"code\\":\\"BLOB_UNKNOWN\\",\\"message\\":\\"blob unknown to '
     'registry\\",\\"detail\\":\\"sha256:0a87c303787139c07b433204eb69f9caf672be1edf412f1c6f35ed359c0bfd47\\"}]}\\n")',
     "./clair logs indexer"),
    ("indexer: 500 without a body", "POST", INDEX_REPORT, Reply(500), "indexer failed, DIGEST: HTTP 500", "./clair logs indexer"),
    ("indexer: 502", "POST", INDEX_REPORT, Reply(502, b"Bad Gateway"), "indexer not available, EDGE: HTTP 502",
     "./clair logs indexer"),
    ("indexer: 503", "POST", INDEX_REPORT, Reply(503), "indexer not available, EDGE: HTTP 503", "./clair logs indexer"),
    ("indexer: 504", "POST", INDEX_REPORT, Reply(504), "indexer not available, EDGE: HTTP 504", "./clair logs indexer"),
    ("indexer: 302", "POST", INDEX_REPORT, Reply(302, b"", {"Location": "/login"}), "indexer failed, DIGEST: HTTP 302",
     "./clair logs indexer"),
    ("indexer: 202", "POST", INDEX_REPORT, Reply(202), "indexer failed, DIGEST: HTTP 202", "./clair logs indexer"),
    ("indexer: null", "POST", INDEX_REPORT, Reply(201, b"null"), "index report unreadable, DIGEST: the answer is null",
     "./clair verify"),
    ("indexer: empty", "POST", INDEX_REPORT, Reply(201), "index report unreadable, DIGEST: the answer is empty", "./clair verify"),
    ("indexer: an empty object", "POST", INDEX_REPORT, Reply(201, {}),
     "index report unreadable, DIGEST: the index report has no environments", "./clair verify"),
    ("indexer: a web page", "POST", INDEX_REPORT, HTML,
     "index report unreadable, DIGEST: the answer is a web page, not JSON", "./clair verify"),
    ("indexer: truncated JSON", "POST", INDEX_REPORT, Reply(201, INDEX[:500]),
     "index report unreadable, DIGEST: the JSON ends after 500 characters, before it is complete", "./clair verify"),
    ("indexer: the connection is cut", "POST", INDEX_REPORT, Reply(201, INDEX, fault="cut"),
     f"indexer unreachable, EDGE: the answer was cut short after {len(INDEX) // 2} bytes", "./clair verify"),
    ("indexer: no answer at all", "POST", INDEX_REPORT, Reply(fault="close"),
     "indexer unreachable, EDGE: the connection was closed", "./clair verify"),
    ("indexer: another digest", "POST", INDEX_REPORT, Reply(201, INDEX),
     "scan undecided, IMAGE: the index report is of another manifest, "
     "sha256:766d788a2315d5c83953127a07e428533ca62a039c2c461de67c9bfb3b68c2e5", "./clair verify"),
    # The matcher
    ("matcher: 401", "GET", VULNERABILITY_REPORT, Reply(401),
     "matcher refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that is "
     "wrong)", "./clair verify"),
    ("matcher: 202 before any feed", "GET", VULNERABILITY_REPORT, Reply(202),
     "matcher not ready, EDGE: no feed has been loaded yet (HTTP 202)", "./clair verify"),
    ("matcher: 404 of its own", "GET", VULNERABILITY_REPORT, Reply(404, {"code": "not-found", "message": "not found"}),
     "matcher has no report, DIGEST: HTTP 404, not found; that is no proof, for it says the same when its database is down",
     "./clair verify"),
    ("matcher: 404 of the edge", "GET", VULNERABILITY_REPORT, Reply(404, b"404 page not found\n"),
     "matcher not reached, EDGE: HTTP 404 from the edge", "./clair verify"),
    ("matcher: 500", "GET", VULNERABILITY_REPORT, Reply(500, {"code": "internal-error", "message": "matcher error: \x1b[2J"}),
     "matcher failed, DIGEST: HTTP 500, matcher error: [2J", "./clair logs matcher"),
    ("matcher: 429", "GET", VULNERABILITY_REPORT, Reply(429, headers={"Retry-After": "9999"}),
     "matcher not available, EDGE: HTTP 429", "./clair logs matcher"),
    ("matcher: down", "GET", VULNERABILITY_REPORT, Reply(502, b"Bad Gateway"), "matcher not available, EDGE: HTTP 502",
     "./clair logs matcher"),
    ("matcher: null", "GET", VULNERABILITY_REPORT, Reply(200, b"null"),
     "vulnerability report unreadable, DIGEST: the answer is null", "./clair verify"),
    ("matcher: empty", "GET", VULNERABILITY_REPORT, Reply(200),
     "vulnerability report unreadable, DIGEST: the answer is empty", "./clair verify"),
    ("matcher: an empty object", "GET", VULNERABILITY_REPORT, Reply(200, {}),
     "vulnerability report unreadable, DIGEST: the vulnerability report has no environments", "./clair verify"),
    ("matcher: a list", "GET", VULNERABILITY_REPORT, Reply(200, []),
     "vulnerability report unreadable, DIGEST: the answer is JSON, but no object", "./clair verify"),
    ("matcher: a web page", "GET", VULNERABILITY_REPORT, HTML,
     "vulnerability report unreadable, DIGEST: the answer is a web page, not JSON", "./clair verify"),
    ("matcher: text", "GET", VULNERABILITY_REPORT, Reply(200, b"Bad Gateway"),
     "vulnerability report unreadable, DIGEST: the answer is not JSON (at character 0)", "./clair verify"),
    ("matcher: truncated JSON", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:700]),
     "vulnerability report unreadable, DIGEST: the JSON ends after 700 characters, before it is complete", "./clair verify"),
    ("matcher: the connection is cut", "GET", VULNERABILITY_REPORT, Reply(200, REPORT, fault="cut"),
     f"matcher unreachable, EDGE: the answer was cut short after {len(REPORT) // 2} bytes", "./clair verify"),
    ("matcher: no answer at all", "GET", VULNERABILITY_REPORT, Reply(fault="close"),
     "matcher unreachable, EDGE: the connection was closed", "./clair verify"),
    ("matcher: compressed without being asked", "GET", VULNERABILITY_REPORT,
     Reply(200, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"}),
     "vulnerability report unreadable, DIGEST: the answer is not UTF-8 text", "./clair verify"),
    ("matcher: another digest", "GET", VULNERABILITY_REPORT, Reply(200, REPORT),
     "scan undecided, IMAGE: the vulnerability report is of another manifest, "
     "sha256:766d788a2315d5c83953127a07e428533ca62a039c2c461de67c9bfb3b68c2e5", "./clair verify"),
    ("matcher: the same name twice", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:-1] + b', "vulnerabilities": {}}'),
     "vulnerability report unreadable, DIGEST: a name stands twice in one object", "./clair verify"),
    ("matcher: NaN", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:-1] + b', "x": NaN}'),
     "vulnerability report unreadable, DIGEST: NaN is not JSON", "./clair verify"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "reply", "sentence", "hint"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_is_undecided_and_told_in_one_line(
    *, scan: Run, clair: Clair, registry: Registry, method: str, path: str, reply: Reply, sentence: str, hint: str
) -> None:
    clair.fail(method, path, reply)

    outcome = scan()

    digest = clair.manifests[-1]["hash"] if clair.manifests else registry.push("demo/debian", "12")
    for name, value in {
        "EDGE": f"http://127.0.0.1:{clair.port}",
        "DIGEST": digest,
        "IMAGE": f"{registry.name}/demo/debian:12",
    }.items():
        sentence = sentence.replace(name, value)
    assert outcome.code == UNDECIDED
    assert outcome.err == f"{sentence}\nHINT: {hint}\n"
    assert "clean" not in outcome.out


SLOW = [
    pytest.param("POST", INDEX_REPORT, Reply(fault="hang"), "indexer", id="the indexer does not answer"),
    pytest.param(
        "GET", VULNERABILITY_REPORT, Reply(200, REPORT, fault="drip"), "matcher", id="the matcher answers byte by byte"
    ),
]


@pytest.mark.parametrize(("method", "path", "reply", "service"), SLOW)
def test_a_slow_answer_ends_at_the_timeout(
    *, scan: Run, clair: Clair, method: str, path: str, reply: Reply, service: str
) -> None:
    clair.fail(method, path, reply)

    started = time.monotonic()
    outcome = scan("--timeout", "1")

    assert time.monotonic() - started < 4
    expected = f"{service} unreachable, http://127.0.0.1:{clair.port}: no complete answer within 1 s"
    assert (outcome.code, outcome.err) == (UNDECIDED, f"{expected}\nHINT: ./clair verify\n")


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


def test_an_edge_that_is_down_is_told_within_seconds(scan: Run, clair: Clair) -> None:
    clair.close()

    outcome = scan()

    assert outcome.code == UNDECIDED
    assert outcome.err == (
        f"indexer unreachable, http://127.0.0.1:{clair.port}: connection refused\nHINT: ./clair verify\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda clair, root: setattr(clair, "key", b"another key of thirty-two bytes!"), id="another key"),
        pytest.param(lambda clair, root: setattr(clair, "issuers", ("quay",)), id="another issuer"),
    ],
)
def test_a_token_that_clair_does_not_accept_is_undecided(
    scan: Run, clair: Clair, deployment: Path, change: Callable[[Clair, Path], None]
) -> None:
    change(clair, deployment)

    outcome = scan()

    assert outcome.code == UNDECIDED
    assert outcome.err.startswith(f"indexer refused, http://127.0.0.1:{clair.port}: HTTP 401: it refuses the token")


@pytest.mark.parametrize(
    ("seconds", "code"), [pytest.param(-3600, UNDECIDED, id="behind"), pytest.param(3600, 1, id="ahead")]
)
def test_a_clock_that_is_behind_is_undecided_and_one_ahead_does_no_harm(
    scan: Run, monkeypatch: pytest.MonkeyPatch, seconds: float, code: int
) -> None:
    real = bearer.token
    monkeypatch.setattr(bearer, "token", lambda key, issuer: real(key, issuer, time.time() + seconds))

    assert scan().code == code


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("psk", None, "secret missing, secrets/psk: no such file"),
        ("psk", "not base64!", "key unreadable, secrets/psk: not padded base64"),
    ],
)
def test_a_missing_or_damaged_key_is_a_matter_of_configuration(
    scan: Run, deployment: Path, name: str, content: str | None, sentence: str
) -> None:
    path = deployment / "secrets" / name
    path.unlink() if content is None else path.write_text(content)

    outcome = scan()

    assert outcome.code == 2
    assert outcome.err.splitlines()[0] == sentence


LEDGERS = [
    pytest.param([], "the feed debian/updater never loaded", id="the feed never ran"),
    pytest.param([("debian/updater", None, 1.0, "HTTP 403")], "the feed debian/updater never loaded: HTTP 403", id="it only fails"),
    pytest.param([("debian/updater", 1.0, 24 + 1 / 60, "")],
                 "the feed debian/updater last succeeded 24 h 1 min ago, 24 h are allowed (--allow-stale accepts that)",
                 id="stale by a minute"),
    pytest.param([("debian/updater", 1.0, 72.0, "HTTP 503")],
                 "the feed debian/updater last succeeded 3 d ago, 24 h are allowed: HTTP 503 (--allow-stale accepts that)",
                 id="failing for days"),
    pytest.param([("alpine-main-v3.18-updater", 1.0, 1.0, "")], "the feed debian/updater never loaded", id="only another's feed"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "reason"), LEDGERS)
def test_a_feed_that_does_not_answer_is_undecided(
    *, scan: Run, ledger: FakeLedger, registry: Registry, clair: Clair, rows: list[Any], reason: str
) -> None:
    clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}
    now = time.time()
    ledger.rows = {
        name: LedgerRow(name, stored and now - stored * 3600, now, success and now - success * 3600, error)
        for name, stored, success, error in rows
    }

    outcome = scan()

    told = f"Debian GNU/Linux 12 (bookworm): {reason}"
    assert outcome.code == UNDECIDED
    assert outcome.err == (f"scan undecided, {registry.name}/demo/debian:12: {told}\nHINT: ./clair verify\n")
    assert outcome.out.splitlines()[-2:] == [
        "VERDICT undecided: 1 reason why nothing can be said for certain",
        f"  - {told}",
    ]


def test_a_ledger_that_cannot_be_read_is_undecided(scan: Run, ledger: FakeLedger) -> None:
    ledger.problem = Problem("feed ledger unreadable, database matcher: down", "./clair database", UNDECIDED)

    outcome = scan()

    assert outcome.code == UNDECIDED
    assert outcome.err == "feed ledger unreadable, database matcher: down\nHINT: ./clair database\n"


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
