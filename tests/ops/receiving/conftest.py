"""The receiver as its container runs it, a notifier that answers as Clair does, and targets that fail on command."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.places import ROOT

KEY = bytes(range(64))
PATH = "/notifier/api/v1/notification/"
PAGE = 500
DIGEST = "sha256:" + "a" * 64


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: Any


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.owner.answer(self, self.rfile.read(length))

    do_GET = do_POST = do_DELETE = _serve

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class Served:
    """Something that listens on a free port."""

    def __init__(self) -> None:
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.owner = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, request: _Handler, body: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Notifier(Served):
    """Clair's notification API: pages, an empty page for what it does not know, 500 for a deletion of that."""

    def __init__(self) -> None:
        super().__init__()
        self.notifications: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.status = 0
        self.pages_before_failure = -1
        self.pages_before_deletion = -1

    def add(self, *findings: dict[str, Any], identity: str = "") -> str:
        identity = identity or str(uuid.uuid4())
        self.notifications[identity] = list(findings)
        return identity

    def answer(self, request: _Handler, body: bytes) -> None:
        path, _, query = request.path.partition("?")
        identity = path.removeprefix(PATH)
        self.asked.append((request.command, request.path))
        claims = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), KEY, ["HS256"])
        assert claims["iss"] == "clair-notifier"
        if self.status or self.pages_before_failure == 0:
            request.send(self.status or 500, b"{}")
            return
        self.pages_before_failure -= 1
        if request.command == "DELETE":
            known = self.notifications.pop(identity, None) is not None
            self.deleted.append(identity)
            text = b"{}" if known else b'{"message": "could not delete notification: no receipt exists for ..."}'
            request.send(200 if known else 500, text)
            return
        findings = sorted(self.notifications.get(identity, []), key=lambda one: str(one["id"]))
        after = query.removeprefix("next=")
        findings = [one for one in findings if one["id"] > after]
        page: dict[str, Any] = {"size": PAGE}
        if len(findings) > PAGE:
            page["next"] = findings[PAGE - 1]["id"]
        request.send(200, json.dumps({"page": page, "notifications": findings[:PAGE]}).encode())
        self.pages_before_deletion -= 1
        if self.pages_before_deletion == 0:
            del self.notifications[identity]


@dataclass
class Got:
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Sink(Served):
    """A target that keeps what it got; `status`, `text`, `headers` and `delay` are its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Got] = []
        self.status, self.text, self.headers, self.delay = 200, b"ok", {}, 0.0

    def answer(self, request: _Handler, body: bytes) -> None:
        self.got.append(Got({name.lower(): value for name, value in request.headers.items()}, body))
        time.sleep(self.delay)
        request.send(self.status, self.text, **self.headers)


def finding(name: str = "CVE-1", severity: str = "High", **more: Any) -> dict[str, Any]:
    """Return a finding as Clair 4.9.0 was recorded to report one."""
    vulnerability = {
        "name": name,
        "description": "added later",
        "package": {"id": "", "name": "openssl", "version": "", "kind": "source"},
        "distribution": {"did": "debian", "version": "12 (bookworm)", "version_id": "12"},
        "repo": {"cpe": ""},
        "severity": severity,
        "fixed_in_version": more.pop("fixed_in", "3.0.30-1"),
        "links": "https://security-tracker.debian.org/tracker/CVE-1",
    }
    return {"id": str(uuid.uuid4()), "manifest": DIGEST, "reason": "added", "vulnerability": vulnerability, **more}


def sign(key: bytes = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token as the notifier signs one, with these claims instead of its own."""
    now = int(time.time())
    default = {"iss": "clair-notifier", "iat": now, "nbf": now - 60, "exp": now + 60}
    return jwt.encode({**default, **claims}, key, algorithm=algorithm)


def chunks(body: bytes, size: int = 7) -> bytes:
    """Return a body in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclass
class Receiver:
    """A receiver in a folder; `start` again after `kill`."""

    folder: Path
    notifier: Notifier
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    port: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PYTHONPATH": str(self.folder),
            "RECEIVER_KEY": str(self.folder / "psk"),
            "RECEIVER_DATABASE": str(self.folder / "receiver.db"),
            "RECEIVER_SETTINGS": str(self.folder / "settings.toml"),
            "RECEIVER_SECRETS": str(self.folder / "secrets"),
            "RECEIVER_CA": str(self.folder / "ca.pem"),
            "RECEIVER_NAMES": str(self.folder / "image-names"),
            "RECEIVER_NOTIFIER": self.notifier.url,
            "RECEIVER_DELETE_SECONDS": "0.3",
            "RECEIVER_RETRY_SECONDS": "0.05",
            "RECEIVER_PORT": "0",
            **self.extra,
        }

    def start(self) -> Receiver:
        command = [sys.executable, "-m", "receiver"]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        ready = json.loads(line)
        assert ready["message"] == "receiver ready", line
        self.port = ready["port"]
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        return self

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.log.append(json.loads(line))

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "receiver", *arguments]
        return subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, check=False, timeout=30
        )

    def list(self, *arguments: str) -> Any:
        result = self.run("list", "--json", *arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def one(self, identity: str) -> Any:
        rows = self.list("--id", identity)["notifications"]
        return rows[0] if rows else None

    def send(self, data: bytes, wait_seconds: float = 15) -> tuple[int, dict[str, Any]]:
        """Send bytes as they are and return status and body of the answer; 0 if there was none."""
        with socket.create_connection(("127.0.0.1", self.port), wait_seconds) as connection:
            try:
                connection.sendall(data)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionError:
                return 0, {}
        if not answer:
            return 0, {}
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def body(self, identity: str | None = None) -> bytes:
        identity = identity or str(uuid.uuid4())
        callback = f"{self.notifier.url}{PATH}{identity}"
        return json.dumps({"notification_id": identity, "callback": callback}).encode()

    def post(
        self, body: bytes, *, chunked: bool = True, token: str | None = None, **claims: Any
    ) -> tuple[int, dict[str, Any]]:
        """Post a body as Clair does: chunked, signed."""
        head = f"POST / HTTP/1.1\r\nHost: receiver:8080\r\nAuthorization: Bearer {token or sign(**claims)}\r\n"
        if chunked:
            return self.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks(body))
        return self.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def notify(self, identity: str) -> None:
        assert self.post(self.body(identity)) == (200, {"message": "stored"})

    def target(self, name: str, kind: str, url: str = "", **more: Any) -> None:
        """Add a target to settings.toml."""
        lines = ["[[target]]", f'name = "{name}"', f'type = "{kind}"', *([f'url = "{url}"'] if url else [])]
        lines += [f"{key} = {json.dumps(value)}" for key, value in more.items()]
        with (self.folder / "settings.toml").open("a") as file:
            file.write("\n".join(lines) + "\n")


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    """A notifier that knows nothing yet."""
    served = Notifier()
    yield served
    served.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A target that takes everything."""
    served = Sink()
    yield served
    served.close()


@pytest.fixture
def idle(tmp_path: Path, notifier: Notifier) -> Iterator[Receiver]:
    """A receiver that is not started yet."""
    (tmp_path / "receiver").symlink_to(ROOT / "template/ops/receiving")
    (tmp_path / "psk").write_bytes(base64.b64encode(KEY))
    (tmp_path / "secrets").mkdir()
    receiver = Receiver(tmp_path, notifier)
    yield receiver
    if receiver.process:
        receiver.kill()


@pytest.fixture
def receiver(idle: Receiver) -> Receiver:
    """A receiver without targets."""
    return idle.start()
