"""A small PostgreSQL client on the standard library: protocol 3, SCRAM-SHA-256, md5, TLS, text values.

It is here because the double must start in well under a second and print pgx's own words about a failing connection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .connection_string import ConnectionTarget
from .name_lookup import lookup_words

Row = tuple[Any, ...]
_FINAL_CODES = ("28P01", "28000", "3D000", "42501")  # another address would not help


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
        refusals: list[_Refused] = []
        for attempt in _attempts(target):
            if isinstance(attempt, _Refused):
                refusals.append(attempt)
                continue
            try:
                self._open(target, attempt)
                return
            except _Refused as refusal:
                refusals.append(refusal)
                if refusal.final:
                    break
        raise ConnectionFailed(_modern_words(target, refusals) if modern else _older_words(target, refusals[-1]))

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

    def is_dead(self) -> bool:
        """Say whether the server has ended the session; an idle one has nothing to read otherwise."""
        readable, _, _ = select.select([self._socket], [], [], 0)
        return self.broken or bool(readable)

    def close(self) -> None:
        """End the session."""
        try:
            self._socket.sendall(_message(b"X", b""))
        except OSError:
            pass
        self._socket.close()

    def _open(self, target: ConnectionTarget, attempt: _Attempt) -> None:
        timeout = target.connect_timeout_seconds or None
        self._buffer = b""
        self._socket = socket.socket(attempt.family)
        self._socket.settimeout(timeout)
        kind = "unix" if attempt.family == socket.AF_UNIX else "tcp"
        try:
            self._socket.connect(attempt.address)
        except OSError as error:
            self._socket.close()
            raise _Refused(attempt, f"dial error: dial {kind} {attempt.shown}: {_connect_words(error)}") from error
        if attempt.tls:
            self._negotiate_tls(target, attempt)
        try:
            self._start(target)
        except _AuthenticationFailed as error:
            self._socket.close()
            raise _Refused(attempt, f"failed SASL auth: {error}", final=True) from error
        except DatabaseError as error:
            self._socket.close()
            raise _Refused(attempt, f"server error: {error}", final=error.code in _FINAL_CODES) from error
        except (OSError, ConnectionFailed) as error:
            self._socket.close()
            raise _Refused(attempt, f"failed to receive message: {error}") from error
        self._socket.settimeout(None)
        if kind == "tcp":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _negotiate_tls(self, target: ConnectionTarget, attempt: _Attempt) -> None:
        try:
            self._socket.sendall(struct.pack("!ii", 8, 80877103))
            answer = self._socket.recv(1)
        except OSError as error:
            self._socket.close()
            raise _Refused(attempt, f"tls error: {_connect_words(error)}") from error
        if answer != b"S":
            self._socket.close()
            raise _Refused(attempt, "tls error: server refused TLS connection")
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
            self._socket = context.wrap_socket(self._socket, server_hostname=attempt.host)
        except OSError as error:
            self._socket.close()
            raise _Refused(attempt, f"tls error: {error}") from error

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
                error = DatabaseError(_fields(payload))
                if scram:
                    raise _AuthenticationFailed(str(error)) from error
                raise error
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
                scram = None
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


@dataclass(frozen=True)
class _Attempt:
    """One address of one host, with or without TLS."""

    host: str
    family: int
    address: Any
    shown: str
    tls: bool


class _Refused(Exception):
    def __init__(self, attempt: _Attempt | str, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.host = attempt if isinstance(attempt, str) else attempt.host
        self.peer = "" if isinstance(attempt, str) else f"{attempt.shown} ({attempt.host}): "
        self.final = final


class _AuthenticationFailed(Exception):
    pass


def _attempts(target: ConnectionTarget) -> Iterator[_Attempt | _Refused]:
    """Yield what pgx tries, in its order: hosts, then TLS or not, then the host's addresses."""
    ways = {"disable": (False,), "allow": (False, True), "prefer": (True, False)}.get(target.sslmode, (True,))
    for host, port in target.hosts:
        if host.startswith("/"):
            path = f"{host}/.s.PGSQL.{port}"
            yield _Attempt(host, socket.AF_UNIX, path, path, tls=False)
            continue
        for tls in ways:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                yield _Refused(host, f"hostname resolving error: {lookup_words(host, error)}")
                continue
            for family, _, _, _, address in found:
                shown = f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"
                yield _Attempt(host, family, address, shown, tls)


def _modern_words(target: ConnectionTarget, refusals: list[_Refused]) -> str:
    """Word a failure like pgx v5, which names every attempt."""
    lines = [refusal.peer + str(refusal) for refusal in refusals]
    lines[1:] = [line.removeprefix("hostname resolving error: ") for line in lines[1:]]
    listed = f" {lines[0]}" if len(lines) == 1 else "".join(f"\n\t\t{line}" for line in lines)
    return f"failed to connect to `user={target.user} database={target.database}`:{listed}"


def _older_words(target: ConnectionTarget, refusal: _Refused) -> str:
    """Word a failure like pgx v4, which names the last attempt."""
    kind, _, detail = str(refusal).partition(": ")
    where = f"`host={refusal.host} user={target.user} database={target.database}`"
    return f"failed to connect to {where}: {kind} ({detail})"


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


def _words(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def _connect_words(error: OSError) -> str:
    return "i/o timeout" if isinstance(error, TimeoutError) and not error.errno else f"connect: {_words(error)}"


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
