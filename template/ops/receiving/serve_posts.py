"""The HTTP server: takes the notifier's posts and answers 200 only once a notification is on the disk.

Clair counts only 200 as delivered, sends its body in chunks and waits for the answer; so nothing else happens here.
`GET /healthz` is 200 while the database can be written. One request a connection, MAXIMUM_REQUESTS at once.
Source: facts of Clair 4.9.0 (chunked, `iss` clair-notifier); notifier/webhook/deliverer.go at v4.9.0.
"""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import sys
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .expect_tests import NOTIFICATION_PATH, TEST_NOTIFIER, is_expected
from .open_store import Store
from .sign_token import Refused, check_token
from .store_posts import Writer
from .write_log import log

MAXIMUM_BODY_BYTES = 64 * 1024
# A request that takes longer is cut off; less than the container's stop_grace_period.
REQUEST_SECONDS = 10.0
MAXIMUM_REQUESTS = 64


def read_notification(body: bytes) -> tuple[str, str]:
    """Return id and callback of a notification; raise Refused (400) if the body is none."""
    try:
        document = json.loads(body)
        identity, callback = str(uuid.UUID(document["notification_id"])), document["callback"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(400, "body is no notification") from error
    if not isinstance(callback, str) or not callback.startswith(("http://", "https://")):
        raise Refused(400, "callback is no URL")
    return identity, callback


class Handler(BaseHTTPRequestHandler):
    """One request on one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "clair-receiver"
    sys_version = ""
    timeout = REQUEST_SECONDS
    server: Server

    def setup(self) -> None:
        """Cut the connection off after REQUEST_SECONDS, however slowly its bytes come."""
        super().setup()
        self.server.cutter.add(self.connection)

    def finish(self) -> None:
        """The request has ended: nothing to cut off."""
        self.server.cutter.remove(self.connection)
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
        server = self.server
        # The notifier's target (config/notifier/config.yaml).
        if self.path != "/":
            self._answer(404, "only /")
            return
        try:
            check_token(self.headers.get("Authorization", ""), server.key, time.time())
            identity, callback = read_notification(self._body())
            test = server.check_callback(identity, callback)
            new = server.writer.add(identity, callback, test, server.delete_seconds)
        except Refused as refused:
            log("warn", "notification refused", status=refused.status, reason=refused.reason)
            server.writer.note_refusal(refused.status, refused.reason)
            self._answer(refused.status, refused.reason)
        except (sqlite3.Error, TimeoutError) as error:
            log("error", "notification not stored", error=str(error))
            self._answer(503, "not stored")
        else:
            log("info", "notification stored" if new else "notification known", notification_id=identity)
            self._answer(200, "stored")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep silent: `log` tells what matters."""

    def _body(self) -> bytes:
        encodings, lengths = (self.headers.get_all(name, []) for name in ("Transfer-Encoding", "Content-Length"))
        if len(encodings) + len(lengths) > 1:
            raise Refused(400, "more than one length or transfer encoding")
        encoding, length = next(iter(encodings), None), next(iter(lengths), None)
        try:
            if encoding is not None:
                if encoding.strip().lower() != "chunked":
                    raise Refused(400, "transfer encoding not understood")
                return self._chunks()
            if length is None or not (length.isascii() and length.isdigit()):
                raise Refused(411, "no length")
            if len(length) > 9 or int(length) > MAXIMUM_BODY_BYTES:
                raise Refused(413, "body too large")
            return self._exactly(int(length))
        except OSError as error:
            raise Refused(408, "body did not arrive in time") from error

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = self._line()
            digits = line.partition(b";")[0].strip(b" \t")
            # `int` alone takes 0x5f, +5f and 5_f, which a proxy reads as another size.
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", digits):
                raise Refused(400, "chunk size unreadable")
            size = int(digits, 16)
            if len(body) + size > MAXIMUM_BODY_BYTES:
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
        # OSError: the client is gone; Clair sends the notification again, and it is known then.
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(data)


class Cutter(threading.Thread):
    """Shuts connections that are open for more than REQUEST_SECONDS."""

    def __init__(self) -> None:
        super().__init__(name="cutter", daemon=True)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}

    def add(self, connection: socket.socket) -> None:
        """Watch a connection."""
        with self._lock:
            self._open[connection] = time.monotonic() + REQUEST_SECONDS

    def remove(self, connection: socket.socket) -> None:
        """Watch it no more."""
        with self._lock:
            self._open.pop(connection, None)

    def run(self) -> None:
        """Look twice a second."""
        while True:
            time.sleep(0.5)
            with self._lock:
                late = [one for one, end in self._open.items() if end < time.monotonic()]
            for connection in late:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """A thread per request, MAXIMUM_REQUESTS at once; closing waits for the running ones."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        key: bytes,
        store: Store,
        *,
        writer: Writer,
        notifier: str,
        delete_seconds: float,
    ) -> None:
        """Listen; `notifier` is the beginning of every callback that is taken (no other host is ever asked)."""
        self.key = key
        self.store = store
        self.writer = writer
        self.notifier = notifier
        self.delete_seconds = delete_seconds
        self.cutter = Cutter()
        self.cutter.start()
        self._free = threading.BoundedSemaphore(MAXIMUM_REQUESTS)
        super().__init__(address, Handler)

    def check_callback(self, identity: str, callback: str) -> bool:
        """Return whether it is a test's; raise Refused (400) unless it is the notifier's address of this notification."""
        if callback == f"{self.notifier}{NOTIFICATION_PATH}{identity}":
            return False
        if callback == f"{TEST_NOTIFIER}{NOTIFICATION_PATH}{identity}" and is_expected(self.store):
            return True
        raise Refused(400, "callback is not this deployment's notifier")

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
