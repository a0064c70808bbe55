"""Connections with a deadline: TCP, a proxy's tunnel, TLS, and in words why there is none.

Reads the system's certificate authorities and the PEM files it is given; writes nothing.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..errors import Problem

CONNECT_TIMEOUT_SECONDS = 15.0
CHUNK_BYTES = 256 * 1024
# ssl.VERIFY_X509_PARTIAL_CHAIN, which the module names only from Python 3.10: a certificate may be trusted by itself.
PARTIAL_CHAIN = 0x80000


class NoAnswer(Exception):
    """No complete HTTP answer; `reason` says why in words.

    `kind` is one of name (host unknown), refused (never connected), untrusted (the certificate), tls (the other side
    speaks no TLS, or another one), lost (the connection stood and broke: worth another try), late (deadline), large
    (over the limit), other.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Deadline:
    """A point in time that everything one command waits for must keep."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left; raises NoAnswer (late) when there are none."""
        left = self.remaining_or_zero()
        if left == 0:
            raise NoAnswer("late", f"no complete answer within {self.seconds:g} s")
        return left

    def remaining_or_zero(self) -> float:
        """Return the seconds left, 0 when there are none."""
        return max(0.0, self._end - time.monotonic())


@dataclass
class Trust:
    """Whose certificates are accepted: the system's authorities and PEM files.

    `authorities` are files with certificates of authorities; `certificates` files are accepted as they are, whoever
    signed them (the edge's own certificate).
    """

    authorities: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    _context: Optional[ssl.SSLContext] = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings, made once because reading the system's authorities takes 20 ms.

        Raises Problem (2) naming a file that holds no certificate.
        """
        if self._context is None:
            context = ssl.create_default_context()
            if self.certificates:
                # Python 3.13 refuses certificates without some extensions, which self-made ones lack.
                context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
                context.verify_flags |= PARTIAL_CHAIN
            for path in (*self.authorities, *self.certificates):
                try:
                    context.load_verify_locations(cafile=str(path))
                except OSError as error:  # ssl.SSLError is one: no certificate in the file
                    reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
                    raise Problem(
                        f"certificate unreadable, {path}: {reason}", f"openssl x509 -in {path} -noout"
                    ) from error
            self._context = context
        return self._context


def pem_files(folder: Path) -> tuple[Path, ...]:
    """Return the certificate files an operator put into `folder` (config/ca), sorted."""
    found: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path for path in found if path.suffix in (".pem", ".crt", ".cer") and path.is_file()))


@dataclass(frozen=True)
class Route:
    """How a connection reaches `host` and `port`: the address to connect to, and whether through a tunnel.

    `tunnel` is None for a direct connection (or a proxy that forwards requests), else the header lines the proxy gets.
    """

    scheme: str
    host: str
    port: int
    address: tuple[str, int]
    tunnel: Optional[str] = field(default=None, repr=False)


class Connection(http.client.HTTPConnection):
    """A connection along a route that keeps the deadline of the request it is used for."""

    def __init__(self, route: Route, trust: Trust) -> None:
        super().__init__(route.host, route.port)
        self.deadline = Deadline(CONNECT_TIMEOUT_SECONDS)
        self.used = False
        self._route = route
        self._trust = trust
        self.response_class = self._timed_response  # type: ignore[assignment]

    def connect(self) -> None:
        """Open the connection: TCP, the proxy's tunnel if there is one, TLS."""
        limit = min(CONNECT_TIMEOUT_SECONDS, self.deadline.remaining())
        sock = socket.create_connection(self._route.address, timeout=limit)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._route.tunnel is not None:
                self._open_tunnel(sock, self._route.tunnel)
            if self._route.scheme == "https":
                sock = self._trust.context().wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def _open_tunnel(self, sock: socket.socket, headers: str) -> None:
        target = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n".encode("latin-1"))
        response = http.client.HTTPResponse(sock, method="CONNECT")
        response.begin()
        if response.status != 200:
            raise NoAnswer("refused", f"the proxy answered {response.status} to CONNECT {target}")

    def _timed_response(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, *args, **kwargs)
        raw = response.fp.detach()
        response.fp = io.BufferedReader(_TimedReader(raw, sock, self.deadline), CHUNK_BYTES)
        return response


class _TimedReader(io.RawIOBase):
    """Reads a socket so that no read outlives the deadline: a slow sender must not reset the clock with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def explain_failure(error: BaseException, deadline: Deadline) -> NoAnswer:
    """Return what went wrong in words; anything that is no failure of the exchange is raised as it is."""
    if isinstance(error, NoAnswer):
        return error
    if isinstance(error, socket.timeout):  # TimeoutError from Python 3.10
        try:
            deadline.remaining()
        except NoAnswer as late:
            return late
        return NoAnswer("refused", f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s")
    if isinstance(error, socket.gaierror):
        return NoAnswer("name", "the name cannot be resolved")
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer("untrusted", f"the certificate is not trusted: {error.verify_message}")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return NoAnswer("lost", "the connection was closed")
    if isinstance(error, ssl.SSLError):
        return NoAnswer("tls", f"no TLS connection: {(error.reason or str(error)).replace('_', ' ').lower()}")
    if isinstance(error, http.client.IncompleteRead):
        return NoAnswer("lost", f"the answer was cut short after {len(error.partial)} bytes")
    if isinstance(error, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        return NoAnswer("lost", "the connection was closed")
    if isinstance(error, http.client.HTTPException):
        return NoAnswer("other", "the answer is not HTTP")
    if isinstance(error, ConnectionRefusedError):
        return NoAnswer("refused", "connection refused")
    if isinstance(error, OSError):
        return NoAnswer("refused", (error.strerror or str(error)).lower())
    raise error
