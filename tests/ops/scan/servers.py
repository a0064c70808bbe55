"""Servers for tests: an edge with Clair behind it and a registry, both in this process, both able to misbehave."""

from __future__ import annotations

import copy
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

RECORDINGS = Path(__file__).parents[2] / "doubles" / "recordings"
REGISTRY_NAME = "registry.local"
INDEX_REPORT = "/indexer/api/v1/index_report"
VULNERABILITY_REPORT = "/matcher/api/v1/vulnerability_report/"


def recorded(name: str, release: str = "4.9.0") -> dict[str, Any]:
    """Return a recorded exchange: request, status, headers, body."""
    document = json.loads((RECORDINGS / f"clair-{release}.json").read_text(encoding="utf-8"))
    exchange: dict[str, Any] = next(item for item in document["http"] if item["name"] == name)
    return copy.deepcopy(exchange)


@dataclass
class Reply:
    """An answer, or a fault in place of one: close, cut (half the body), drip (a byte now and then), hang."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """An HTTP server on loopback; subclasses say what they answer, `faults` what comes before that."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: dict[tuple[str, str], list[Reply]] = {}
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):
                    super().handle_one_request()

            def do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = Request(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
                outer.requests.append(request)
                outer.send(self, outer.reply(request))

            do_GET = do_POST = do_HEAD = do_DELETE = do

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def fail(self, method: str, path: str, *replies: Reply) -> None:
        """Answer requests whose path starts with `path` with these first, the last one for ever."""
        self.faults[method, path] = list(replies)

    def fail_once(self, method: str, path: str, *replies: Reply) -> None:
        """Answer requests whose path starts with `path` with these first, then as usual."""
        self.faults[method, path] = [*replies, Reply(fault="usual")]

    def reply(self, request: Request) -> Reply:
        for (method, path), replies in self.faults.items():
            if request.method == method and request.path.startswith(path):
                found = replies.pop(0) if len(replies) > 1 else replies[0]
                if found.fault != "usual":
                    return found
        return self.answer(request)

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        content = reply.content
        if reply.fault == "hang":
            self._over.wait(30)
        if reply.fault in ("close", "hang"):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        chunked = reply.headers.get("Transfer-Encoding") == "chunked"
        if not chunked:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if reply.fault == "cut":
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif reply.fault == "drip":
            for byte in content:
                if self._over.wait(0.05):
                    return
                handler.wfile.write(bytes([byte]))
        elif chunked:
            half = len(content) // 2
            for part in (content[:half], content[half:], b""):
                handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n" if part or part == b"" else b"")
        else:
            handler.wfile.write(content)

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Clair(Server):
    """The edge with indexer, matcher and notifier behind it, answering as recorded for any manifest."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self.key = key
        self.issuers = ("clairctl",)
        self.release = "4.9.0"
        self.change_index: Callable[[dict[str, Any]], Any] = lambda report: report
        self.change_report: Callable[[dict[str, Any]], Any] = lambda report: report
        self.manifests: list[dict[str, Any]] = []
        self.state = ""
        self.known: set[str] = set()

    def answer(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        if not path.startswith(("/indexer/api/v1/", "/matcher/api/v1/", "/notifier/api/v1/")) or "/internal/" in path:
            return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        if not self._authorized(request):
            return self._recorded("no token")
        if request.method == "POST" and path == INDEX_REPORT:
            manifest = json.loads(request.body)
            self.manifests.append(manifest)
            self.known.add(manifest["hash"])
            reply = self._recorded("POST index_report")
            reply.body["manifest_hash"] = manifest["hash"]
            return Reply(reply.status, self.change_index(reply.body), reply.headers)
        if path.startswith(VULNERABILITY_REPORT):
            reply = self._recorded("vulnerability_report")
            reply.body["manifest_hash"] = path.rpartition("/")[2]
            return Reply(reply.status, self.change_report(reply.body), reply.headers)
        if path == "/indexer/api/v1/index_state":
            return self._in_state(self._recorded("index_state"))
        digest = path.rpartition("/")[2]
        if path.startswith(f"{INDEX_REPORT}/") and request.method == "DELETE":
            self.known.discard(digest)
            return self._recorded("DELETE index_report")
        if path.startswith(f"{INDEX_REPORT}/") and digest in self.known:
            reply = self._in_state(self._recorded("GET index_report"))
            reply.body["manifest_hash"] = digest
            return Reply(reply.status, self.change_index(reply.body), reply.headers)
        if path.startswith(f"{INDEX_REPORT}/"):
            return self._recorded("index_report of an unknown manifest")
        if path.startswith("/notifier/api/v1/notification/"):
            return self._recorded("notification, unknown id")
        return Reply(404, b"404 page not found\n")

    def _in_state(self, reply: Reply) -> Reply:
        """Return an answer of an indexer whose scanners are others than the recorded ones, if `state` is set."""
        if self.state:
            reply.headers["Etag"] = f'"{self.state}"'
            if "state" in reply.body and len(reply.body) == 1:
                reply.body["state"] = self.state
        return reply

    def _recorded(self, name: str) -> Reply:
        exchange = recorded(name, self.release)
        kept = ("Content-Type", "Etag", "Link", "Location", "Transfer-Encoding")
        headers = {key: value for key, value in exchange["headers"].items() if key in kept}
        body = exchange["body"]
        return Reply(exchange["status"], body.encode() if isinstance(body, str) else body, headers)

    def _authorized(self, request: Request) -> bool:
        try:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            claims = jwt.decode(token, self.key, algorithms=["HS256"], options={"require": ["exp", "iss"]}, leeway=15)
        except jwt.InvalidTokenError:
            return False
        return claims["iss"] in self.issuers


def digest_of(content: bytes) -> str:
    """Return the sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry(Server):
    """A registry with images made by `push`; `login` makes it ask for that name and password, by Bearer or Basic."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.login: tuple[str, str] | None = None
        self.scheme = "Bearer"
        self.refresh_token = ""
        self.tokens: list[str] = []
        self.token_lifetime_requests = 10_000
        self.blob_redirect = ""

    @property
    def name(self) -> str:
        """Host and port as an image's name has them."""
        return f"{REGISTRY_NAME}:{self.port}"

    def push(
        self,
        path: str,
        tag: str,
        architecture: str = "amd64",
        *,
        layers: tuple[bytes, ...] = (b"layer",),
        config: dict[str, Any] | None = None,
    ) -> str:
        """Store a single image and return its digest."""
        document = {"os": "linux", "architecture": architecture} if config is None else config
        config_bytes = json.dumps(document).encode()
        for blob in (config_bytes, *layers):
            self.blobs[digest_of(blob)] = blob
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._descriptor("application/vnd.oci.image.config.v1+json", config_bytes),
            "layers": [self._descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers],
        }
        return self.put(path, tag, manifest)

    def push_index(self, path: str, tag: str, images: dict[str, str], **extra: Any) -> str:
        """Store an index of images (platform to digest) and return its digest; `unknown/unknown` is an attestation."""
        entries = []
        for platform, digest in images.items():
            os, architecture, *variant = platform.split("/")
            described = {"os": os, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
            entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
                            "platform": described})  # fmt: skip
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
            **extra,
        }
        return self.put(path, tag, index)

    def put(self, path: str, tag: str, document: dict[str, Any]) -> str:
        """Store any manifest and return its digest."""
        content = json.dumps(document).encode()
        for reference in (tag, digest_of(content)):
            self.manifests[path, reference] = (str(document.get("mediaType")), content)
        return digest_of(content)

    @staticmethod
    def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    def answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        if parts.path == "/token":
            return self._token(request, parse_qs(parts.query))
        if parts.path.startswith("/cdn/"):
            authorized = "Authorization" in request.headers
            return Reply(400 if authorized else 206, b"x")
        if not self._allowed(request):
            realm = f'realm="http://{self.name}/token",service="fake",scope="repository:x:pull"'
            challenge = f"Bearer {realm}" if self.scheme == "Bearer" else 'Basic realm="fake"'
            return Reply(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": challenge})
        path, _, rest = parts.path.removeprefix("/v2/").rpartition("/manifests/")
        if path and (path, rest) in self.manifests:
            kind, content = self.manifests[path, rest]
            return Reply(200, content, {"Content-Type": kind, "Docker-Content-Digest": digest_of(content)})
        blob = parts.path.rpartition("/blobs/")[2]
        if blob in self.blobs:
            if self.blob_redirect and "Range" in request.headers:
                return Reply(307, b"", {"Location": f"{self.blob_redirect}/cdn/{blob}?signature=abc"})
            if "Range" in request.headers:
                return Reply(206, self.blobs[blob][:1])
            return Reply(200, self.blobs[blob])
        if parts.path == "/v2/":
            return Reply(200, b"{}")
        return Reply(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

    def _token(self, request: Request, query: dict[str, list[str]]) -> Reply:
        if request.method == "POST":
            form = parse_qs(request.body.decode())
            if form.get("refresh_token") != [self.refresh_token]:
                return Reply(401, {"errors": []})
        elif self.login and request.headers.get("Authorization", "") not in ("", basic(*self.login)):
            return Reply(401, {"errors": []})
        elif self.login and "Authorization" not in request.headers:
            return Reply(200, {"token": "anonymous"})
        self.tokens.append(f"token-{len(self.tokens)}")
        return Reply(200, {"token": self.tokens[-1]})

    def _allowed(self, request: Request) -> bool:
        if self.login is None:
            return True
        sent = request.headers.get("Authorization", "")
        if self.scheme == "Basic":
            return sent == basic(*self.login)
        return bool(self.tokens) and sent == f"Bearer {self.tokens[-1]}"


def basic(name: str, password: str) -> str:
    """Return the header of a Basic login."""
    import base64

    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Return when `condition` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
