"""An HTTP/1.1 server whose answers look like Go's net/http: header spelling, chunked bodies, the router's own 404 and 301.

Only what Clair's clients can notice is here. Handlers return an `Answer` or raise `ApiProblem`.
"""

from __future__ import annotations

import json
import posixpath
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote

from .config_validation import split_host_port
from .log_lines import log
from .releases import Release

_REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently",
    304: "Not Modified", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    405: "Method Not Allowed", 412: "Precondition Failed", 415: "Unsupported Media Type", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
_CODES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 429: "too-many-requests"}
_MAXIMUM_HEADER_BYTES = 1 << 20


class ApiProblem(Exception):
    """An error answer of the API: `{"code", "message"}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answered(Exception):
    """A finished answer, raised from where the handler cannot return it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass
class Request:
    """One request; `path` is decoded, `raw_path` is not."""

    method: str
    target: str
    raw_path: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, list[str]]
    body: bytes
    peer: str
    identifier: str = ""

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of a header; the name is in lower case."""
        return self.headers.get(name, [default])[0]

    def parameter(self, name: str) -> str:
        """Return the first value of a query parameter, or an empty string."""
        return self.query.get(name, [""])[0]


@dataclass
class Answer:
    """One answer. `chunked` answers have no length, as Go's have once they are flushed."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = True


Handler = Callable[[Request], Answer]


def api_error(status: int, message: str) -> Answer:
    """Build the API's error answer."""
    body = json.dumps(
        {"code": _CODES.get(status, "internal-error"), "message": message}, separators=(",", ":"), ensure_ascii=False
    )
    for letter, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):  # as Go's encoder writes them
        body = body.replace(letter, escape)
    return Answer(
        status,
        body.encode(),
        [("Content-Type", "application/json"), ("Trailer", "Clair-Error"), ("X-Content-Type-Options", "nosniff")],
    )


def not_found() -> Answer:
    """Build the answer of Go's router for an unknown path."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    return Answer(404, b"404 page not found\n", headers, chunked=False)


class Router:
    """Go's ServeMux: exact paths, and subtrees whose pattern ends in a slash; unclean paths are redirected."""

    def __init__(self, release: Release) -> None:
        # The router of Go 1.22, which go.mod asks for since 4.8.0: an encoded slash is no separator.
        self._by_segment = release.since("4.8.0")
        self._routes: dict[str, Handler] = {}

    def add(self, pattern: str, handler: Handler) -> None:
        """Register a handler."""
        self._routes[pattern] = handler

    def dispatch(self, request: Request) -> Answer:
        """Answer a request."""
        path = request.path
        if self._by_segment:
            path = "/".join(unquote(part).replace("/", "\0") for part in request.raw_path.split("/"))
        clean = _cleaned(path)
        if clean != path:
            return self._redirect(request, clean)
        handler = self._find(path)
        if handler:
            return handler(request)
        if path + "/" in self._routes:
            return self._redirect(request, path + "/")
        return not_found()

    def _find(self, path: str) -> Handler | None:
        if path in self._routes:
            return self._routes[path]
        subtrees = [pattern for pattern in self._routes if pattern.endswith("/") and path.startswith(pattern)]
        return self._routes[max(subtrees, key=len)] if subtrees else None

    def _redirect(self, request: Request, path: str) -> Answer:
        target = path.replace("\0", "%2F") + ("?" + request.target.split("?", 1)[1] if "?" in request.target else "")
        body = b""
        headers = [("Location", target)]
        if request.method in ("GET", "HEAD"):
            headers.append(("Content-Type", "text/html; charset=utf-8"))
            body = f'<a href="{target}">Moved Permanently</a>.\n\n'.encode()
        return Answer(301, body, headers, chunked=False)


def _cleaned(path: str) -> str:
    if not path.startswith("/"):
        return "/" + path
    clean = "/" + posixpath.normpath(path).lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def pick_content_type(request: Request, allowed: list[str]) -> str:
    """Choose among `allowed` by the Accept header, the way Clair does.

    Raises:
        Answered: 415 when nothing fits, 500 for a word without a slash.
        ApiProblem: 400 when the header is malformed.
    """
    values = request.headers.get("accept")
    if not values:
        return allowed[0]
    acceptable: list[tuple[float, str]] = []
    for value in values:
        for part in value.split(","):
            kind, *parameters = [word.strip() for word in part.split(";")]
            if not kind:
                raise ApiProblem(400, "malformed request: mime: no media type")
            if "/" not in kind:  # Clair panics here
                raise Answered(Answer(500))
            quality = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    try:
                        quality = float(parameter[2:])
                    except ValueError:
                        quality = 0.0
            acceptable.append((quality, kind.lower()))
    for _, kind in sorted(acceptable, key=lambda item: -item[0]):
        for candidate in allowed:
            if kind in ("*/*", candidate) or (kind.endswith("/*") and candidate.startswith(kind[:-1])):
                return candidate
    # Clair has written the status before it writes the error, so the error's headers come too late.
    answer = api_error(415, f"unable to negotiate common media type for [{' '.join(allowed)}]")
    raise Answered(Answer(415, answer.body, [("Content-Type", "text/plain; charset=utf-8")]))


def json_answer(
    value: Any, content_type: str, status: int = 200, headers: list[tuple[str, str]] | None = None
) -> Answer:
    """Build a JSON answer with Clair's trailer announcement."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(status, body, [*(headers or []), ("Content-Type", content_type), ("Trailer", "Clair-Error")])


def compressed(request: Request, answer: Answer) -> Answer:
    """Apply Clair's Accept-Encoding middleware (4.8.0 and newer)."""
    accept = request.headers.get("accept-encoding")
    if accept is None:
        return answer
    offered: list[tuple[float, str]] = []
    refused = set()
    for part in accept[0].split(","):
        name, _, parameter = part.strip().partition(";")
        quality = 0.0
        if parameter.strip().startswith("q="):
            text = parameter.strip()[2:]
            if text == "0":
                refused.add(name)
                continue
            try:
                quality = float(text)
            except ValueError:
                refused.add(name)
        if name:
            offered.append((quality, name))
    for _, name in sorted(offered, key=lambda item: -item[0]):
        if name in ("gzip", "x-gzip") or (name == "*" and "gzip" not in refused):
            return _encode(answer, "gzip", 31)
        if name == "deflate":
            return _encode(answer, "deflate", -15)
        if name == "zstd":
            return _encode(answer, "zstd", 0)
        if name in ("identity", "*"):
            break
    if "identity" in refused or "*" in refused:
        return Answer(415, b"", [("Accept-Encoding", "zstd, gzip, deflate")])
    answer.headers.append(("Accept-Encoding", "zstd, gzip, deflate"))
    return answer


def _encode(answer: Answer, name: str, window: int) -> Answer:
    if answer.status in (204, 304):
        data = b""
    elif name == "zstd":
        import zstandard

        data = zstandard.ZstdCompressor(level=1).compress(answer.body)
    else:
        packer = zlib.compressobj(1, zlib.DEFLATED, window)
        data = packer.compress(answer.body) + packer.flush()
    headers = [("Content-Encoding", name), *answer.headers]
    if ("X-Content-Type-Options", "nosniff") not in headers:  # error answers set the trailer, others add to it
        headers.append(("Trailer", "Clair-Error"))
    return Answer(answer.status, data, headers, answer.chunked)


class Server:
    """Listens on one address and answers each connection in a thread of its own."""

    def __init__(self, address: str, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        """Bind the address.

        Raises:
            OSError: the address cannot be bound.
        """
        self._handler = handler
        self._tls = tls
        self._active = 0
        self._idle = threading.Condition()
        self._stopping = False
        self._listener = _listen(address)

    def start(self) -> None:
        """Accept connections in the background."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self, limit_seconds: float) -> None:
        """Take no new connection and wait for the requests in flight."""
        self._stopping = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, limit_seconds)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, connection: socket.socket, peer: Any) -> None:
        host = peer[0][7:] if peer[0].startswith("::ffff:") else peer[0]
        shown = f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                while not self._stopping and self._one(connection, reader, shown):
                    pass
        except (OSError, ValueError):
            return

    def _one(self, connection: socket.socket, reader: BinaryIO, peer: str) -> bool:
        line = reader.readline(65536)
        if not line.strip():
            return False
        with self._idle:
            self._active += 1
        try:
            return self._answer(connection, reader, line, peer)
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()

    def _answer(self, connection: socket.socket, reader: BinaryIO, line: bytes, peer: str) -> bool:
        try:
            method, target, protocol = line.decode("latin-1").rstrip("\r\n").split(" ")
            headers = _read_headers(reader)
            modern = protocol == "HTTP/1.1"
            if protocol not in ("HTTP/1.0", "HTTP/1.1") or (modern and "host" not in headers):
                raise ValueError(protocol)
            if headers.get("expect", [""])[0].lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _read_body(reader, headers)
        except ValueError:
            text = b"400 Bad Request"
            connection.sendall(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
                + text
            )
            return False
        without_host = target
        if target.startswith(("http://", "https://")):
            without_host = "/" + target.split("//", 1)[1].partition("/")[2]
        raw_path, _, query = without_host.partition("?")
        request = Request(
            method, target, raw_path, unquote(raw_path), parse_qs(query, keep_blank_values=True), headers, body, peer,
            f"{random.getrandbits(64):016x}",
        )  # fmt: skip
        answer = self._handler(request)
        keep = modern and "close" not in headers.get("connection", [""])[0].lower()
        connection.sendall(_serialise(answer, method, modern, keep))
        return keep


def _serialise(answer: Answer, method: str, modern: bool, keep: bool) -> bytes:
    lines = [f"HTTP/{'1.1' if modern else '1.0'} {answer.status} {_REASONS.get(answer.status, '')}"]
    bodyless = answer.status in (204, 304) or answer.status < 200
    names = {name for name, _ in answer.headers}
    chunked = answer.chunked and modern and not bodyless
    if answer.status == 304:
        answer.headers = [header for header in answer.headers if header[0] not in ("Content-Type", "Content-Length")]
    ordered = sorted(answer.headers, key=lambda item: item[0]) if answer.chunked else answer.headers
    lines += [f"{name}: {value}" for name, value in ordered]
    if "Date" not in names:
        lines.append(f"Date: {formatdate(usegmt=True)}")
    if not bodyless and not answer.chunked and "Content-Length" not in names:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep and modern:
        lines.append("Connection: close")
    if chunked and method != "HEAD":
        lines.append("Transfer-Encoding: chunked")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    if method == "HEAD" or bodyless:
        return head
    if chunked:
        pieces = f"{len(answer.body):x}\r\n".encode() + answer.body + b"\r\n" if answer.body else b""
        return head + pieces + b"0\r\n\r\n"
    return head + answer.body


def _read_headers(reader: BinaryIO) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    size = 0
    while True:
        line = reader.readline(65536)
        size += len(line)
        if not line or size > _MAXIMUM_HEADER_BYTES:
            raise ValueError("headers")
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or name != name.strip():
            raise ValueError("header")
        headers.setdefault(name.lower(), []).append(value.strip())


def _read_body(reader: BinaryIO, headers: dict[str, list[str]]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", [""])[0].lower():
        pieces = []
        while True:
            size = int(reader.readline(1024).split(b";")[0], 16)
            if size == 0:
                while reader.readline(65536) not in (b"\r\n", b"\n", b""):
                    pass
                return b"".join(pieces)
            pieces.append(reader.read(size))
            reader.readline(16)
    length = int(headers.get("content-length", ["0"])[0] or 0)
    return reader.read(length) if length else b""


def _listen(address: str) -> socket.socket:
    host, port_text = split_host_port(address)
    port = int(port_text) if port_text.isdigit() else socket.getservbyname(port_text)
    if host:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    else:
        try:
            listener = socket.socket(socket.AF_INET6)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(("::", port))
        except OSError as error:
            if error.errno not in (97, 99):  # no IPv6 on this machine
                raise
            listener = socket.socket(socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
    listener.listen(1024)
    return listener


def log_request(component: str, request: Request, answer: Answer, started: float, detailed: bool) -> None:
    """Write Clair's line about a handled request."""
    log(
        "info",
        component,
        "handled HTTP request",
        remote_addr=request.peer,
        method=request.method,
        request_uri=request.target,
        status=answer.status,
        written=len(answer.body) if detailed else None,
        duration=round((time.monotonic() - started) * 1000, 6),
    )
