"""Serves the sample feed and the sample registry of the demo on one port: one file, standard library only.

Reads, and never writes, the folder given by `--data`: `feed/` (any files) and `registry/REPOSITORY/` (an OCI image
layout each, see `sample_image.py`); both may change while this runs. Answers

- `GET /healthz`: 200 `ok`
- `/feed/...`: files with Etag, Last-Modified, conditions and ranges; a folder is an HTML listing of links
- `/v2/...`: a registry to pull from (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md)

`--auth USER:FILE` asks for a password at `/v2/`, the content of FILE without its last newline; with
`--scheme bearer` through a token service at `/token`, as public registries do. Feed and health stay open.

One line per request on standard error. Ends with exit code 0 on SIGTERM or SIGINT, after the answers under way;
2 for a wrong argument.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import hashlib
import hmac
import html
import json
import re
import secrets
import signal
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

STOP_SECONDS = 5.0  # how long an answer under way may take after SIGTERM
IDLE_SECONDS = 60.0  # how long a connection may be silent
TOKEN_SECONDS = 300
SERVICE = "sample-registry"

REFERENCE_NAME = "org.opencontainers.image.ref.name"
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (
    *INDEX_TYPES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
REPOSITORY = r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*"
MANIFEST_PATH = re.compile(rf"/v2/({REPOSITORY})/manifests/([A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}|sha256:[0-9a-f]{{64}})")
BLOB_PATH = re.compile(rf"/v2/({REPOSITORY})/blobs/sha256:([0-9a-f]{{64}})")
TAGS_PATH = re.compile(rf"/v2/({REPOSITORY})/tags/list")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")

# Clair 4.5 and 4.6 refuse a Sources.gz of another type; every release guesses layers from application/octet-stream.
CONTENT_TYPES = {
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
}


class Content(NamedTuple):
    """What a path leads to: bytes with a type, and the validators that conditions are compared with."""

    data: bytes
    content_type: str
    etag: str
    modified_seconds: float = 0.0
    digest: str = ""


class Credentials:
    """The one user of a private registry, by Basic or by Bearer; tokens live in memory."""

    def __init__(self, user: str, password: str, scheme: str) -> None:
        self.scheme = scheme
        self._basic = f"{user}:{password}".encode()
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()

    def accepts_basic(self, header: str) -> bool:
        """True if `header`, the value of Authorization, carries user and password."""
        kind, _, value = header.partition(" ")
        try:
            given = base64.b64decode(value.strip(), validate=True)
        except binascii.Error:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(given, self._basic)

    def accepts(self, header: str) -> bool:
        """True if `header` gives access to the registry."""
        if self.scheme == "basic":
            return self.accepts_basic(header)
        kind, _, token = header.partition(" ")
        with self._lock:
            return kind.lower() == "bearer" and self._tokens.get(token.strip(), 0.0) > time.monotonic()

    def token(self) -> str:
        """Return a new token, valid for TOKEN_SECONDS."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            now = time.monotonic()
            self._tokens = {one: until for one, until in self._tokens.items() if until > now}
            self._tokens[token] = now + TOKEN_SECONDS
        return token


def _file(path: Path) -> Content | None:
    try:
        data = path.read_bytes()
        modified_seconds = path.stat().st_mtime
    except OSError:  # not there, or replaced between the two calls
        return None
    content_type = CONTENT_TYPES.get(path.suffix, "text/plain; charset=utf-8")
    if data[:1] in (b"{", b"["):
        content_type = "application/json"
    return Content(data, content_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"', modified_seconds)


def feed_content(root: Path, path: str) -> Content | None:
    """Return a file of the feed, or the listing of a folder if `path` ends in a slash; None if there is none."""
    parts = [part for part in path.split("/") if part]
    if any(part.startswith(".") or "\0" in part for part in parts):  # neither .. nor a file being written
        return None
    found = root.joinpath(*parts)
    if not found.is_dir():
        return None if path.endswith("/") else _file(found)
    if parts and not path.endswith("/"):
        return None
    names = sorted(one.name + ("/" if one.is_dir() else "") for one in found.iterdir() if one.name[0] != ".")
    links = "".join(f'<li><a href="{urllib.parse.quote(name)}">{html.escape(name)}</a></li>\n' for name in names)
    data = f"<!DOCTYPE html>\n<title>Index</title>\n<ul>\n{links}</ul>\n".encode()
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return Content(data, CONTENT_TYPES[".html"], etag, found.stat().st_mtime)


def _layout(root: Path, repository: str) -> list[dict[str, Any]] | None:
    """Return the entries of a repository's index.json, or None if there is no such repository."""
    try:
        document = json.loads((root / repository / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entries: list[dict[str, Any]] = document.get("manifests", [])
    return entries


def tags(root: Path, repository: str) -> list[str] | None:
    """Return the tags of a repository, or None if there is no such repository."""
    entries = _layout(root, repository)
    if entries is None:
        return None
    return sorted(entry["annotations"][REFERENCE_NAME] for entry in entries if REFERENCE_NAME in entry["annotations"])


def blob_content(root: Path, repository: str, hexadecimal: str) -> Content | None:
    """Return a blob of a repository by its digest, or None if it has none such."""
    data = _file(root / repository / "blobs" / "sha256" / hexadecimal)
    digest = f"sha256:{hexadecimal}"
    return data and Content(data.data, "application/octet-stream", f'"{digest}"', 0.0, digest)


def manifest_content(root: Path, repository: str, reference: str) -> Content | None:
    """Return a manifest by tag or digest, or None; a blob that is no manifest is none."""
    digest = reference
    if not reference.startswith("sha256:"):
        named = [
            entry["digest"]
            for entry in _layout(root, repository) or []
            if entry.get("annotations", {}).get(REFERENCE_NAME) == reference
        ]
        if not named:
            return None
        digest = named[0]
    blob = blob_content(root, repository, digest.removeprefix("sha256:"))
    if blob is None:
        return None
    try:
        media_type = json.loads(blob.data).get("mediaType")
    except (ValueError, AttributeError):  # a layer, or JSON that is no object
        return None
    return blob._replace(content_type=media_type) if media_type in MANIFEST_TYPES else None


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return first and one past the last byte that a Range header asks for.

    None if it must be ignored (other units, several ranges, nonsense). Raises ValueError if it lies outside.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
        if int(last) == 0:
            raise ValueError(header)
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise ValueError(header)
    return start, end


class Handler(BaseHTTPRequestHandler):
    """One request; GET and HEAD only."""

    protocol_version = "HTTP/1.1"
    server_version = "sample-server"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Headers and body are two writes; without this the second waits 40 ms for the first one's acknowledgement.
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Answer a GET, or a HEAD, which differs only in that no body is sent."""
        with self.server.answering():
            self._answer()

    do_HEAD = do_GET

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        if path == "/healthz":
            self._send(200, b"ok\n", "text/plain; charset=utf-8")
        elif path.startswith("/feed/"):
            self._send_content(feed_content(self.server.data / "feed", path.removeprefix("/feed/")))
        elif path == "/token" and self.server.credentials:
            self._send_token(self.server.credentials, query)
        elif path == "/v2/" or path.startswith("/v2/"):
            self._send_registry(path)
        else:
            self._send(404, b"not found\n", "text/plain; charset=utf-8")

    def _refuse(self) -> None:
        self.close_connection = True  # a body may follow that nobody reads
        self._send_error(405, "UNSUPPORTED", "this server is read-only", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse

    def _send_registry(self, path: str) -> None:
        credentials = self.server.credentials
        if credentials and not credentials.accepts(self.headers.get("Authorization", "")):
            challenge = {"WWW-Authenticate": self._challenge(path)}
            self._send_error(401, "UNAUTHORIZED", "authentication required", challenge)
            return
        root = self.server.data / "registry"
        if path == "/v2/":
            self._send(200, b"{}", "application/json")
        elif match := TAGS_PATH.fullmatch(path):
            found = tags(root, match.group(1))
            if found is None:
                self._send_error(404, "NAME_UNKNOWN", "repository name not known to registry")
            else:
                self._send(200, json.dumps({"name": match.group(1), "tags": found}).encode(), "application/json")
        elif match := MANIFEST_PATH.fullmatch(path):
            content = manifest_content(root, match.group(1), match.group(2))
            self._send_content(content, "MANIFEST_UNKNOWN", "manifest unknown")
        elif match := BLOB_PATH.fullmatch(path):
            content = blob_content(root, match.group(1), match.group(2))
            self._send_content(content, "BLOB_UNKNOWN", "blob unknown to registry")
        else:
            self._send_error(404, "NAME_INVALID", "no such endpoint")

    def _challenge(self, path: str) -> str:
        if self.server.credentials and self.server.credentials.scheme == "basic":
            return f'Basic realm="{SERVICE}"'
        host = self.headers.get("Host") or "{}:{}".format(*self.server.server_address[:2])
        match = re.match(rf"/v2/({REPOSITORY})/(?:manifests|blobs|tags)/", path)
        scope = f',scope="repository:{match.group(1)}:pull"' if match else ""
        return f'Bearer realm="http://{host}/token",service="{SERVICE}"{scope}'

    def _send_token(self, credentials: Credentials, query: str) -> None:
        if not credentials.accepts_basic(self.headers.get("Authorization", "")):
            basic = {"WWW-Authenticate": f'Basic realm="{SERVICE}"'}
            self._send_error(401, "UNAUTHORIZED", "authentication required", basic)
        elif urllib.parse.parse_qs(query).get("service", [SERVICE]) != [SERVICE]:
            self._send_error(400, "DENIED", "unknown service")
        else:
            token = credentials.token()
            answer = {"token": token, "access_token": token, "expires_in": TOKEN_SECONDS}
            self._send(200, json.dumps(answer).encode(), "application/json")

    def _unchanged(self, content: Content) -> bool:
        """True if the client already has this: If-None-Match decides, If-Modified-Since only without it."""
        wanted = self.headers.get("If-None-Match")
        if wanted:
            names = [one.strip().removeprefix("W/") for one in wanted.split(",")]
            return content.etag in names or "*" in names
        since = self.headers.get("If-Modified-Since")
        if not since or not content.modified_seconds:
            return False
        try:
            return int(content.modified_seconds) <= parsedate_to_datetime(since).timestamp()
        except ValueError:
            return False

    def _send_content(self, content: Content | None, code: str = "", message: str = "") -> None:
        if content is None:
            if code:
                self._send_error(404, code, message)
            else:
                self._send(404, b"not found\n", "text/plain; charset=utf-8")
            return
        headers = {"Etag": content.etag, "Accept-Ranges": "bytes"}
        if content.modified_seconds:
            headers["Last-Modified"] = formatdate(int(content.modified_seconds), usegmt=True)
        if content.digest:
            headers["Docker-Content-Digest"] = content.digest
        if self._unchanged(content):
            self._send(304, b"", "", headers)
            return
        size = len(content.data)
        try:
            part = byte_range(self.headers.get("Range", ""), size)
        except ValueError:
            self._send(416, b"", "", {**headers, "Content-Range": f"bytes */{size}"})
            return
        if part is None:
            self._send(200, content.data, content.content_type, headers)
        else:
            headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
            self._send(206, content.data[slice(*part)], content.content_type, headers)

    def _send_error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._send(status, body, "application/json", headers)

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        if self.path.startswith("/v2/"):
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if content_type:
            self.send_header("Content-Type", content_type)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection or self.server.stopping:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self._log(status, len(body) if self.command != "HEAD" else 0)

    def _log(self, status: int, size: int) -> None:
        path = self.path.partition("?")[0]
        printable = urllib.parse.quote(path, safe="/:%@+~!$&'()*,;=-._")
        if path != "/healthz":  # once every few seconds, and of no use to anyone
            print(
                f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self.client_address[0]} {self.command} "
                f"{printable} {status} {size}",
                file=sys.stderr,
                flush=True,
            )

    def log_message(self, format: str, *args: Any) -> None:
        """Print what the base class has to say (a request nobody can read) in the same form."""
        text = " ".join((format % args).split())
        print(
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self.client_address[0]} - {text!a}",
            file=sys.stderr,
            flush=True,
        )


class Server(ThreadingHTTPServer):
    """The server: where the data is, who may read the registry, and which requests are under way."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], data: Path, credentials: Credentials | None = None) -> None:
        self.data = data
        self.credentials = credentials
        self.stopping = False
        self._answers = 0
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Count an answer as under way for as long as the block runs."""
        with self._changed:
            self._answers += 1
        try:
            yield
        finally:
            with self._changed:
                self._answers -= 1
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print one line: a client that goes away is no reason for a traceback."""
        error = sys.exc_info()[1]
        print(f"connection lost, {client_address[0]}: {type(error).__name__}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Let `serve_forever` return; safe in a signal handler, which runs in the thread that serves."""
        self.stopping = True
        threading.Thread(target=self.shutdown, daemon=True).start()

    def server_close(self) -> None:
        """Accept nothing more, and give the answers under way STOP_SECONDS."""
        super().server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._answers == 0, timeout=STOP_SECONDS)


def _credentials(value: str, scheme: str) -> Credentials:
    user, separator, path = value.partition(":")
    if not separator or not user or not path:
        raise ValueError(f"--auth must be USER:FILE, not {value!r}")
    try:
        password = Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise ValueError(f"password unreadable, {path}: {error.strerror}") from error
    return Credentials(user, password, scheme)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="serve.py", description="serve the sample feed and the sample registry")
    parser.add_argument("--data", type=Path, required=True, help="folder with feed/ and registry/")
    parser.add_argument("--address", default="0.0.0.0", help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=5000, help="port to listen on; 0 takes a free one (default: 5000)")
    parser.add_argument("--auth", metavar="USER:FILE", help="ask for this user and the password in FILE at /v2/")
    parser.add_argument("--scheme", choices=("basic", "bearer"), default="basic", help="how --auth asks")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; print the address that was taken."""
    options = _arguments(argv)
    if not options.data.is_dir():
        print(f"cannot serve, {options.data}: no such folder", file=sys.stderr)
        return 2
    try:
        credentials = _credentials(options.auth, options.scheme) if options.auth else None
        server = Server((options.address, options.port), options.data, credentials)
    except (ValueError, OSError) as error:
        print(f"cannot serve, {options.address}:{options.port}: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    print("serving {} on {}:{}".format(options.data, *server.server_address[:2]), file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
