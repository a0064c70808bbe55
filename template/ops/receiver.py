"""Receives Clair's webhook notifications and stores each one; runs alone in a container as /app/receiver.py.

Reads `/app/psk` (padded base64, the key the notifier signs with); writes `/var/tmp/receiver.db` (SQLite, WAL). `POST` of any
path takes `{"callback": URL, "notification_id": UUID}`, chunked as Clair sends it or with a length, and answers 200 only
once the notification is on the disk; the same id again is 200 and stored once. `GET /healthz` is 200 while the database
can be written. Exit codes: 0 after SIGTERM, once running requests have ended; 2 if key or database cannot be used.
Environment: RECEIVER_KEY (/app/psk), RECEIVER_DATABASE (/var/tmp/receiver.db), RECEIVER_PORT (8080), for tests.
Source: the recorded POST of Clair 4.9.0 (chunked, `iss` clair-notifier); httptransport/auth.go at v4.9.0 (15 s leeway).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
import uuid
from contextlib import closing, suppress
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Tuple

ISSUER = "clair-notifier"
LEEWAY_SECONDS = 15
MAXIMUM_BODY_BYTES = 64 * 1024
# A request that takes longer is cut off; less than the container's stop_grace_period.
REQUEST_SECONDS = 10.0
MAXIMUM_REQUESTS = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS notification (
    id TEXT PRIMARY KEY,
    callback TEXT NOT NULL,
    received TEXT NOT NULL  -- UTC, ISO 8601
)
"""


class Refused(Exception):
    """A request that is answered with an HTTP status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def check_token(authorization: str, key: bytes, now_seconds: float) -> None:
    """Raise Refused (401) unless the header holds a valid HS256 token of the notifier."""
    scheme, _, token = authorization.partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        raise Refused(401, "no bearer token")
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
        signature = _decode(parts[2])
        expires, not_before = float(claims["exp"]), float(claims.get("nbf", 0))
        algorithm, issuer = header["alg"], claims["iss"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(401, "token unreadable") from error
    expected = hmac.new(key, ".".join(parts[:2]).encode(), hashlib.sha256).digest()
    if algorithm != "HS256" or not hmac.compare_digest(expected, signature):
        raise Refused(401, "token signature wrong")
    if issuer != ISSUER:
        raise Refused(401, f"token issuer is not {ISSUER}")
    # Written so that NaN is refused.
    if not (expires + LEEWAY_SECONDS > now_seconds and not_before - LEEWAY_SECONDS < now_seconds):
        raise Refused(401, "token expired or not valid yet")


def read_notification(body: bytes) -> Tuple[str, str]:
    """Return id and callback of a notification; raise Refused (400) if the body is none."""
    try:
        document = json.loads(body)
        identity, callback = str(uuid.UUID(document["notification_id"])), document["callback"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(400, "body is no notification") from error
    if not isinstance(callback, str) or not callback.startswith(("http://", "https://")):
        raise Refused(400, "callback is no URL")
    return identity, callback


class Store:
    """The notifications in SQLite; a connection per call, so that threads share nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_SCHEMA)

    def add(self, identity: str, callback: str) -> bool:
        """Store a notification durably; return False if it was there. Raises sqlite3.Error."""
        received = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with closing(self._connect()) as connection, connection:
            row = (identity, callback, received)
            return connection.execute("INSERT OR IGNORE INTO notification VALUES (?, ?, ?)", row).rowcount == 1

    def check(self) -> None:
        """Raise sqlite3.Error if the database cannot be written."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5)
        # FULL: with WAL a commit would otherwise not be flushed, and the notification is gone from Clair after our 200.
        connection.execute("PRAGMA synchronous=FULL")
        return connection


class Handler(BaseHTTPRequestHandler):
    """One request on one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "clair-receiver"
    sys_version = ""
    timeout = REQUEST_SECONDS
    server: "Server"

    def setup(self) -> None:
        """Cut the connection off after REQUEST_SECONDS, however slowly its bytes come."""
        super().setup()
        self._timer = threading.Timer(REQUEST_SECONDS, _cut, (self.connection,))
        self._timer.daemon = True
        self._timer.start()

    def finish(self) -> None:
        """Stop the timer."""
        self._timer.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Answer /healthz."""
        if self.path != "/healthz":
            self._answer(404, "only /healthz")
            return
        try:
            self.server.store.check()
        except sqlite3.Error as error:
            self._answer(503, f"database: {error}")
        else:
            self._answer(200, "ok")

    def do_POST(self) -> None:
        """Store a notification."""
        try:
            check_token(self.headers.get("Authorization", ""), self.server.key, time.time())
            identity, callback = read_notification(self._body())
            new = self.server.store.add(identity, callback)
        except Refused as refused:
            log("warn", "notification refused", status=refused.status, reason=refused.reason)
            self._answer(refused.status, refused.reason)
        except sqlite3.Error as error:
            log("error", "notification not stored", error=str(error))
            self._answer(503, "not stored")
        else:
            log("info", "notification stored" if new else "notification known", notification_id=identity)
            self._answer(200, "stored")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep silent: `log` tells what matters."""

    def _body(self) -> bytes:
        encoding, length = self.headers.get("Transfer-Encoding"), self.headers.get("Content-Length")
        try:
            if encoding is not None:
                if encoding.strip().lower() != "chunked" or length is not None:
                    raise Refused(400, "transfer encoding not understood")
                return self._chunks()
            if length is None or not length.isdigit():
                raise Refused(411, "no length")
            if int(length) > MAXIMUM_BODY_BYTES:
                raise Refused(413, "body too large")
            return self._exactly(int(length))
        except OSError as error:
            raise Refused(408, "body did not arrive in time") from error

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = self._line()
            try:
                size = int(line.partition(b";")[0].strip(), 16)
            except ValueError as error:
                raise Refused(400, "chunk size unreadable") from error
            if size < 0 or len(body) + size > MAXIMUM_BODY_BYTES:
                raise Refused(413, "body too large")
            if size == 0:
                break
            body += self._exactly(size)
            if self._line():
                raise Refused(400, "chunk longer than its size")
        for _ in range(32):
            # Trailers.
            if not self._line():
                return body
        raise Refused(400, "too many trailers")

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) != size:
            raise Refused(400, "body shorter than announced")
        return data

    def _line(self) -> bytes:
        line = self.rfile.readline(1024)
        if not line.endswith(b"\n"):
            raise Refused(400, "chunk unreadable")
        return line.rstrip(b"\r\n")

    def _answer(self, status: int, text: str) -> None:
        # One request a connection: what is left of a refused body can never be read as the next request.
        self.close_connection = True
        data = (json.dumps({"message": text}) + "\n").encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            # The client is gone; Clair sends the notification again, and it is known then.
            pass


class Server(ThreadingHTTPServer):
    """A thread per request, MAXIMUM_REQUESTS at once; closing waits for the running ones."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, address: Tuple[str, int], key: bytes, store: Store) -> None:
        self.key = key
        self.store = store
        self._free = threading.BoundedSemaphore(MAXIMUM_REQUESTS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread once one is free; until then the connection waits in the kernel's queue."""
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Run one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what broke off a request, without a traceback."""
        log("warn", "request broken off", error=repr(sys.exc_info()[1]))


def log(level: str, message: str, **fields: Any) -> None:
    """Print one JSON line."""
    entry: Dict[str, Any] = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "level": level}
    print(json.dumps({**entry, "message": message, **fields}), flush=True)


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _cut(connection: socket.socket) -> None:
    # OSError: closed already.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def read_key(path: Path) -> bytes:
    """Return the key; raises ValueError or OSError if there is none."""
    key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    if not key:
        raise ValueError("empty")
    return key


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    key_path = Path(os.environ.get("RECEIVER_KEY", "/app/psk"))
    database = Path(os.environ.get("RECEIVER_DATABASE", "/var/tmp/receiver.db"))  # noqa: S108 - a volume of its container
    try:
        address = ("0.0.0.0", int(os.environ.get("RECEIVER_PORT", "8080")))
        server = Server(address, read_key(key_path), Store(database))
    except (OSError, ValueError, binascii.Error, sqlite3.Error) as error:
        log("fatal", "receiver not started", error=str(error))
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    log("info", "receiver ready", port=server.server_address[1])
    stop.wait()
    server.shutdown()
    server.server_close()
    log("info", "receiver stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
