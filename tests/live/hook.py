"""A webhook on this machine for the containers of a deployment: it notes what is posted and answers as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["HOST_ENTRY", "Hook", "Post", "started_hook"]

_HOST = "hooks.example.com"
# For `extra_hosts` of the container that posts.
HOST_ENTRY = f"{_HOST}:host-gateway"


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Hook:
    """A webhook: where it is, what it answers, what came."""

    url: str
    status: int
    posts: list[Post] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hook: Hook


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Read a body, chunked or with a length, and answer."""
        body = b""
        if self.headers.get("Transfer-Encoding"):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hook.posts.append(Post(self.path, dict(self.headers), body))
        self.send_response(self.server.hook.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep silent."""


@contextmanager
def started_hook(status: int = 200) -> Iterator[Hook]:
    """Run a webhook for the block."""
    server = _Server(("0.0.0.0", 0), _Handler)
    server.hook = Hook(f"http://{_HOST}:{server.server_address[1]}", status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.hook
    finally:
        server.shutdown()
        server.server_close()
