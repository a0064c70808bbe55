"""HTTP for every command: one request, one answer or one reason why there is none, never later than a deadline.

Writes nothing and knows no service: what a status means is decided by the caller. Redirects are not followed, since
only the caller knows which headers may follow.
"""

from __future__ import annotations

import base64
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Optional

from .choose_proxy import ProxySettings, proxy_for
from .open_connection import CHUNK_BYTES, Connection, Deadline, NoAnswer, Route, Trust, explain_failure

ANSWER_LIMIT_BYTES = 256 * 1024 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer. `body` is empty if it was not wanted."""

    status: int
    headers: Message
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header's first value, or an empty string."""
        return str(self.headers.get(name) or "")


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: dict[str, str]
    body: Optional[bytes]


class Client:
    """Sends requests and keeps connections open between them; one client may be used by several threads."""

    def __init__(self, trust: Trust, proxies: ProxySettings) -> None:
        self.trust = trust
        self._proxies = proxies
        self._idle: dict[Route, list[Connection]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        *,
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[bytes] = None,
        connect_to: Optional[tuple[str, int]] = None,
        want_body: bool = True,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> Answer:
        """Send one request and return its complete answer, whatever its status.

        `connect_to` is the address to connect to in place of the URL's host (and means: no proxy). Raises NoAnswer;
        raises Problem (2) if a certificate file cannot be read.
        """
        parts = urllib.parse.urlsplit(url)
        try:
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise NoAnswer("other", f"not a usable address: {url[:200]!r}") from error
        route, request = Route(scheme, host, port, connect_to or (host, port)), _Request(method, "", {}, body)
        request.headers.update({"Host": parts.netloc.rpartition("@")[2], **(headers or {})})
        origin = ("", "")
        proxy = None if connect_to else proxy_for(scheme, host, port, self._proxies)
        if proxy is not None:
            login = f"Basic {base64.b64encode(proxy.login.encode()).decode()}" if proxy.login else ""
            tunnel = None
            if scheme == "https":
                tunnel = f"Proxy-Authorization: {login}\r\n" if login else ""
            else:
                origin = (scheme, request.headers["Host"])
                request.headers.update({"Proxy-Authorization": login} if login else {})
            route = Route(scheme, host, port, (proxy.host, proxy.port), tunnel)
        target = urllib.parse.urlunsplit((*origin, parts.path or "/", parts.query, ""))
        request = _Request(method, target, request.headers, body)
        while True:
            connection = self._take(route) or Connection(route, self.trust)
            connection.deadline = deadline
            try:
                answer, reusable = _exchange(connection, request, want_body, limit_bytes)
            except BaseException as error:
                connection.close()
                reason = explain_failure(error, deadline)
                if reason.kind == "lost" and connection.used:
                    continue  # a kept connection that the server had closed meanwhile says nothing about the server
                raise reason from error
            self._keep(route, connection, reusable)
            return answer

    def _take(self, route: Route) -> Optional[Connection]:
        with self._lock:
            idle = self._idle.get(route)
            return idle.pop() if idle else None

    def _keep(self, route: Route, connection: Connection, reusable: bool) -> None:
        if not reusable:
            connection.close()
            return
        connection.used = True
        with self._lock:
            self._idle.setdefault(route, []).append(connection)


def _exchange(connection: Connection, request: _Request, want_body: bool, limit_bytes: int) -> tuple[Answer, bool]:
    """Send and read over one connection; return the answer and whether the connection can be used again."""
    if connection.sock is not None:
        connection.sock.settimeout(connection.deadline.remaining())
    connection.request(request.method, request.target, body=request.body, headers=request.headers)
    response = connection.getresponse()
    if not want_body and (response.length is None or response.length > CHUNK_BYTES):
        return Answer(response.status, response.headers), False
    chunks, size = [], 0
    while True:
        chunk = response.read(CHUNK_BYTES)
        if not chunk:
            break
        size += len(chunk)
        if size > limit_bytes:
            raise NoAnswer("large", f"the answer is larger than {limit_bytes // 1024 // 1024} MiB")
        chunks.append(chunk)
    if response.length:  # read() with a size returns what there is instead of raising IncompleteRead
        raise NoAnswer("lost", f"the answer was cut short after {size} bytes")
    reusable = not response.will_close
    response.close()
    return Answer(response.status, response.headers, b"".join(chunks) if want_body else b""), reusable
