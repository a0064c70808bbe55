"""A small PostgreSQL client on the standard library: protocol 3, SCRAM-SHA-256, md5, TLS, text values.

It is here because the double must start in well under a second and print pgx's own words about a failing connection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Any

from .connection_string import ConnectionTarget

Row = tuple[Any, ...]


class DatabaseError(Exception):
    """The server answered with an error; the text is pgx's: `ERROR: message (SQLSTATE code)`."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(f"{fields.get('S', 'ERROR')}: {fields.get('M', '')} (SQLSTATE {fields.get('C', '')})")
        self.code = fields.get("C", "")
        self.message = fields.get("M", "")


class ConnectionFailed(Exception):
    """No connection could be made, or it was lost."""


class Connection:
    """One session. Not safe for use by two threads at once."""

    def __init__(self, target: ConnectionTarget, modern: bool) -> None:
        """Connect and authenticate; `modern` chooses the wording of pgx v5.

        Raises:
            ConnectionFailed: with pgx's wording.
        """
        self.broken = False
        self._buffer = b""
        problems = []
        for host, port in target.hosts:
            try:
                self._socket = self._open(target, host, port)
                return
            except _Refused as problem:
                problems.append((host, port, str(problem)))
        host, port, text = problems[-1]
        if modern:
            where = f"`user={target.user} database={target.database}`"
            peer = f"{host}/.s.PGSQL.{port} ({host})" if host.startswith("/") else f"{_resolved(host, port)} ({host})"
            joined = f": {text}" if text.startswith("hostname") else f": {peer}: {text}"
            raise ConnectionFailed(f"failed to connect to {where}{joined}")
        where = f"`host={host} user={target.user} database={target.database}`"
        kind, _, detail = text.partition(": ")
        raise ConnectionFailed(f"failed to connect to {where}: {kind} ({detail})")

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement with `$1` parameters; values come back as text, or None.

        Raises:
            DatabaseError: the server refused.
            ConnectionFailed: the connection is gone.
        """
        values = [None if value is None else _text(value) for value in parameters]
        body = b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0)
        bind = b"\0\0" + struct.pack("!hh", 0, len(values))
        for value in values:
            bind += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
        bind += struct.pack("!h", 0)
        self._send(
            _message(b"P", body) + _message(b"B", bind) + _message(b"D", b"P\0") + _message(b"E", b"\0\0\0\0\0")
            + _message(b"S", b"")
        )  # fmt: skip
        return self._results()

    def script(self, sql: str) -> list[Row]:
        """Run one or more statements without parameters.

        Raises:
            DatabaseError: the server refused.
            ConnectionFailed: the connection is gone.
        """
        self._send(_message(b"Q", sql.encode() + b"\0"))
        return self._results()

    def close(self) -> None:
        """End the session."""
        try:
            self._socket.sendall(_message(b"X", b""))
        except OSError:
            pass
        self._socket.close()

    def _open(self, target: ConnectionTarget, host: str, port: int) -> socket.socket:
        timeout = target.connect_timeout_seconds or None
        if host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            path = f"{host}/.s.PGSQL.{port}"
            try:
                connection.connect(path)
            except OSError as error:
                raise _Refused(f"dial error: dial unix {path}: connect: {_words(error)}") from error
        else:
            try:
                addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise _Refused(f"hostname resolving error: lookup {host}: {_lookup_words(error)}") from error
            connection = _connect_any(addresses, timeout)
        connection.settimeout(timeout)
        self._socket = connection
        if not host.startswith("/") and target.sslmode != "disable":
            self._negotiate_tls(target, host)
        try:
            self._start(target)
        except DatabaseError as error:
            self._socket.close()
            raise _Refused(f"server error: {error}") from error
        except (OSError, ConnectionFailed) as error:
            self._socket.close()
            raise _Refused(f"failed to receive message: {error}") from error
        self._socket.settimeout(None)
        if not host.startswith("/"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _negotiate_tls(self, target: ConnectionTarget, host: str) -> None:
        self._socket.sendall(struct.pack("!ii", 8, 80877103))
        answer = self._socket.recv(1)
        if answer != b"S":
            if target.sslmode in ("allow", "prefer"):
                return
            self._socket.close()
            raise _Refused("tls error: server refused TLS connection")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verify = target.sslmode in ("verify-ca", "verify-full") or (target.sslmode == "require" and target.sslrootcert)
        context.check_hostname = target.sslmode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        try:
            if verify:
                if target.sslrootcert:
                    context.load_verify_locations(target.sslrootcert)
                else:
                    from .http_client import load_authorities

                    load_authorities(context)
            if target.sslcert:
                context.load_cert_chain(target.sslcert, target.sslkey)
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except OSError as error:
            self._socket.close()
            raise _Refused(f"tls error: {error}") from error

    def _start(self, target: ConnectionTarget) -> None:
        words = {"user": target.user, "client_encoding": "UTF8", **target.parameters}
        if target.database:
            words["database"] = target.database
        body = struct.pack("!i", 196608)
        body += b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in words.items()) + b"\0"
        self._socket.sendall(struct.pack("!i", len(body) + 4) + body)
        scram: _Scram | None = None
        while True:
            kind, payload = self._receive()
            if kind == b"E":
                raise DatabaseError(_fields(payload))
            if kind == b"Z":
                return
            if kind != b"R":
                continue
            (method,) = struct.unpack("!i", payload[:4])
            if method == 3:
                self._send(_message(b"p", target.password.encode() + b"\0"))
            elif method == 5:
                inner = hashlib.md5((target.password + target.user).encode()).hexdigest()
                outer = hashlib.md5(inner.encode() + payload[4:8]).hexdigest()
                self._send(_message(b"p", b"md5" + outer.encode() + b"\0"))
            elif method == 10:
                scram = _Scram(target.password)
                first = scram.first()
                self._send(_message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            elif method == 11 and scram:
                self._send(_message(b"p", scram.final(payload[4:])))
            elif method == 12 and scram:
                scram.check(payload[4:])
            elif method != 0:
                raise ConnectionFailed("unknown authentication method")

    def _results(self) -> list[Row]:
        rows: list[Row] = []
        problem: DatabaseError | None = None
        while True:
            kind, payload = self._receive()
            if kind == b"D":
                rows.append(_row(payload))
            elif kind == b"E":
                problem = problem or DatabaseError(_fields(payload))
            elif kind == b"T":
                rows = []
            elif kind == b"Z":
                if problem:
                    raise problem
                return rows

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.broken = True
            raise ConnectionFailed(f"write failed: {error}") from error

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                piece = self._socket.recv(max(65536, size - len(self._buffer)))
            except OSError as error:
                self.broken = True
                raise ConnectionFailed(str(error)) from error
            if not piece:
                self.broken = True
                raise ConnectionFailed("unexpected EOF")
            self._buffer += piece
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


class _Refused(Exception):
    pass


class _Scram:
    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._nonce = base64.b64encode(os.urandom(18)).decode()
        self._server_signature = b""

    def first(self) -> bytes:
        self._bare = f"n=,r={self._nonce}"
        return ("n,," + self._bare).encode()

    def final(self, payload: bytes) -> bytes:
        answer = payload.decode()
        parts = dict(part.split("=", 1) for part in answer.split(","))
        if not parts["r"].startswith(self._nonce):
            raise ConnectionFailed("invalid SCRAM nonce")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(parts["s"]), int(parts["i"]))
        without_proof = f"c=biws,r={parts['r']}"
        signed = f"{self._bare},{answer},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(left ^ right for left, right in zip(client_key, signature))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, payload: bytes) -> None:
        parts = dict(part.split("=", 1) for part in payload.decode().split(","))
        if base64.b64decode(parts.get("v", "")) != self._server_signature:
            raise ConnectionFailed("invalid SCRAM server signature")


def _connect_any(addresses: list[Any], timeout: float | None) -> socket.socket:
    last = ""
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout)
        try:
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            shown = f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"
            last = f"dial error: dial tcp {shown}: {_connect_words(error)}"
    raise _Refused(last)


def _resolved(host: str, port: int) -> str:
    try:
        return f"{socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]}:{port}"
    except OSError:
        return f"{host}:{port}"


def _words(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def _connect_words(error: OSError) -> str:
    return "i/o timeout" if isinstance(error, TimeoutError) and not error.errno else f"connect: {_words(error)}"


def _lookup_words(error: OSError) -> str:
    return "no such host" if getattr(error, "errno", 0) in (socket.EAI_NONAME, -5) else "i/o timeout"


def _text(value: object) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _row(payload: bytes) -> Row:
    (count,) = struct.unpack("!h", payload[:2])
    values: list[str | None] = []
    position = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", payload, position)
        position += 4
        if size < 0:
            values.append(None)
        else:
            values.append(payload[position : position + size].decode())
            position += size
    return tuple(values)


def _fields(payload: bytes) -> dict[str, str]:
    parts = payload.rstrip(b"\0").split(b"\0")
    return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in parts if part}
