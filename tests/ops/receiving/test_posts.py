"""What the receiver answers to posts: 200 once stored, and nothing else for what is not the notifier's."""

from __future__ import annotations

import base64
import json
import signal
import socket
import sqlite3
import time
import uuid
from typing import Any

import jwt
import pytest
from ops.receiving.sign_token import Refused, check_token

from tests.ops.receiving.conftest import KEY, PATH, Notifier, Receiver, sign, wait_until


def stored(receiver: Receiver) -> list[tuple[str, str, str]]:
    """Return the rows in the database."""
    connection = sqlite3.connect(receiver.folder / "receiver.db")
    try:
        return connection.execute("SELECT id, callback, received FROM notification ORDER BY rowid").fetchall()
    finally:
        connection.close()


def test_a_chunked_notification_is_stored_before_it_is_answered(receiver: Receiver) -> None:
    identity = str(uuid.uuid4())

    answer = receiver.post(receiver.body(identity))

    assert answer == (200, {"message": "stored"})
    ((identifier, callback, received),) = stored(receiver)
    assert (identifier, callback) == (identity, receiver.notifier.url + PATH + identity)
    assert received.endswith("+00:00")


def test_a_notification_with_a_length_is_stored(receiver: Receiver) -> None:
    assert receiver.post(receiver.body(), chunked=False)[0] == 200
    assert len(stored(receiver)) == 1


def test_the_same_notification_again_is_stored_once(receiver: Receiver) -> None:
    body = receiver.body()

    assert [receiver.post(body)[0], receiver.post(body)[0]] == [200, 200]

    assert len(stored(receiver)) == 1


def test_health_is_answered_without_a_token(receiver: Receiver) -> None:
    assert receiver.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == (200, {"message": "ok"})
    assert receiver.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == (404, {"message": "only /healthz"})


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"key": bytes(64)}, "token signature wrong"),
        ({"algorithm": "HS512"}, "token signature wrong"),
        ({"iss": "clairctl"}, "token issuer is not clair-notifier"),
        ({"exp": 1}, "token expired or not valid yet"),
        ({"nbf": 1 << 33}, "token expired or not valid yet"),
        ({"token": "a.b.c"}, "token unreadable"),
        ({"exp": int("9" * 401)}, "token unreadable"),
        ({"exp": int("9" * 401), "key": bytes(64)}, "token signature wrong"),
        ({"token": "none"}, "no bearer token"),
        (
            {"token": base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + ".e30."},
            "token signature wrong",
        ),
    ],
    ids=[
        "other key",
        "other algorithm",
        "other issuer",
        "expired",
        "not yet",
        "nonsense",
        "401 digits",
        "401 digits, forged",
        "no token",
        "alg none",
    ],
)
def test_what_is_not_signed_by_the_notifier_is_refused(receiver: Receiver, claims: dict[str, Any], reason: str) -> None:
    assert receiver.post(receiver.body(), **claims) == (401, {"message": reason})
    assert stored(receiver) == []


def test_a_clock_that_differs_by_seconds_is_no_refusal(receiver: Receiver) -> None:
    assert receiver.post(receiver.body(), exp=int(time.time()) - 10)[0] == 200


def test_without_a_token_it_is_refused(receiver: Receiver) -> None:
    body = receiver.body()

    status, _ = receiver.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"notification_id": "no uuid", "callback": "http://x/"}',
        b'{"notification_id": "8f2a8a0e-5c5f-4d4e-9d5b-000000000000"}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_body_that_is_no_notification_is_refused(receiver: Receiver, body: bytes) -> None:
    assert receiver.post(body) == (400, {"message": "body is no notification"})
    assert stored(receiver) == []


@pytest.mark.parametrize("callback", ["ftp://x/", "javascript:1", 7, None])
def test_a_callback_that_is_no_url_is_refused(receiver: Receiver, callback: object) -> None:
    body = json.dumps({"notification_id": str(uuid.uuid4()), "callback": callback}).encode()

    assert receiver.post(body) == (400, {"message": "callback is no URL"})


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_a_large_body_is_refused(receiver: Receiver, chunked: bool) -> None:
    # Larger than the limit, small enough to be in the kernel's buffers when the answer comes.
    status, answer = receiver.post(b" " * 66_000, chunked=chunked)

    assert (status, answer) in [(413, {"message": "body too large"}), (0, {})]
    assert stored(receiver) == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", b"", 400),
        ("Content-Length: -1\r\n", b"", 411),
        ("Content-Length: x\r\n", b"", 411),
        ("", b"", 411),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"0x0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"+0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"0_0\r\n\r\n", 400),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"3\r\nabcd\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"0\r\n" + b"a: b\r\n" * 40 + b"\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"5\r\n" * 1 + b"x" * 2000, 400),
    ],
    ids=[
        "both",
        "unknown",
        "negative",
        "no number",
        "none",
        "bad size",
        "minus",
        "0x",
        "plus",
        "underscore",
        "two lengths",
        "two encodings",
        "too long",
        "trailers",
        "no end",
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_refused(
    receiver: Receiver, headers: str, body: bytes, status: int
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sign()}\r\n{headers}\r\n"

    assert receiver.send(head.encode() + body)[0] == status
    assert stored(receiver) == []


def test_other_paths_are_not_the_notifier_s(receiver: Receiver) -> None:
    body = receiver.body()
    head = f"POST /other HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sign()}\r\nContent-Length: {len(body)}\r\n\r\n"

    assert receiver.send(head.encode() + body) == (404, {"message": "only /"})


def test_a_second_request_on_one_connection_is_never_read(receiver: Receiver) -> None:
    one = f"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sign()}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", receiver.port), 10) as connection:
        connection.sendall(one + one)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_request_that_never_ends_is_cut_off(receiver: Receiver) -> None:
    before = time.monotonic()

    with socket.create_connection(("127.0.0.1", receiver.port), 30) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
        try:
            while connection.recv(1) == b"" and time.monotonic() - before < 1:
                pass
        except ConnectionError:
            pass

    assert time.monotonic() - before < 20


def test_sigterm_ends_it_with_0_and_nothing_is_lost(receiver: Receiver) -> None:
    assert receiver.post(receiver.body())[0] == 200

    code = receiver.kill(signal.SIGTERM)

    assert code == 0
    assert len(stored(receiver)) == 1


def test_what_was_answered_survives_kill_9(receiver: Receiver) -> None:
    assert receiver.post(receiver.body())[0] == 200
    receiver.kill()

    receiver.start()

    assert receiver.post(receiver.body())[0] == 200
    assert len(stored(receiver)) == 2


def test_a_database_that_cannot_be_written_is_503_so_that_clair_sends_again(receiver: Receiver) -> None:
    connection = sqlite3.connect(receiver.folder / "receiver.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")

    status, answer = receiver.post(receiver.body())

    connection.close()
    assert (status, answer) == (503, {"message": "not stored"})


@pytest.mark.parametrize(("content", "error"), [(None, "No such file or directory"), ("%%", ""), ("", "empty")])
def test_without_a_key_it_does_not_start(idle: Receiver, content: str | None, error: str) -> None:
    key = idle.folder / "psk"
    key.unlink()
    if content is not None:
        key.write_text(content)

    result = idle.run()

    assert (result.returncode, result.stderr) == (2, "")
    entry = json.loads(result.stdout)
    assert entry["message"] == "receiver not started"
    assert error in entry["error"]


def test_100_megabytes_are_refused_without_being_read(receiver: Receiver) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sign()}\r\nContent-Length: 104857600\r\n\r\n"

    assert receiver.send(head.encode())[0] == 413


def test_the_first_receivers_database_is_taken_over(idle: Receiver, notifier: Notifier) -> None:
    """It took any address; this one asks the notifier's own, whatever is written there."""
    connection = sqlite3.connect(idle.folder / "receiver.db")
    connection.execute(
        "CREATE TABLE notification (id TEXT PRIMARY KEY, callback TEXT NOT NULL, received TEXT NOT NULL)"
    )
    identity = str(uuid.uuid4())
    connection.execute("INSERT INTO notification VALUES (?, 'http://127.0.0.1:1/', datetime('now'))", (identity,))
    connection.commit()
    connection.close()

    idle.start()

    wait_until(lambda: idle.one(identity)["state"] == "fetched")
    assert notifier.asked == [("GET", PATH + identity)]


def test_numbers_that_are_none_expire() -> None:
    for value in ("NaN", "-Infinity"):
        parts = [b'{"alg":"HS256"}', b'{"iss":"clair-notifier","exp":%s}' % value.encode()]
        text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        signed = jwt.utils.base64url_encode(
            jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text.encode(), KEY)
        )

        with pytest.raises(Refused, match="expired"):
            check_token(f"Bearer {text}.{signed.decode()}", KEY, time.time())
