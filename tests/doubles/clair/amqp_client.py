"""AMQP 0-9-1 as far as Clair speaks it: declare an exchange passively, publish one message (notifier/amqp/, amqp091-go).

As the original, it does not ask the broker to confirm: a message that no queue is bound for, or that the broker refuses after
it was sent, counts as published.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any
from urllib.parse import unquote, urlsplit

from .broker_connection import BrokerConnection, BrokerProblem, tls_context

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_END = b"\xce"
_START, _START_OK, _TUNE, _TUNE_OK, _OPEN, _OPEN_OK = (10, 10), (10, 11), (10, 30), (10, 31), (10, 40), (10, 41)
_CONNECTION_CLOSE, _CONNECTION_CLOSE_OK = (10, 50), (10, 51)
_CHANNEL_OPEN, _CHANNEL_OPEN_OK, _CHANNEL_CLOSE, _CHANNEL_CLOSE_OK = (20, 10), (20, 11), (20, 40), (20, 41)
_EXCHANGE_DECLARE, _EXCHANGE_DECLARE_OK = (40, 10), (40, 11)
_PUBLISH = (60, 40)
_CONTENT_TYPE, _APP_ID = 1 << 15, 1 << 3  # places in a message's property flags


class AmqpConnection:
    """One connection with one channel."""

    def __init__(self, uri: str, tls: Any) -> None:
        """Connect and log in as a URI says: guest and the virtual host `/` unless it names others. Raises BrokerProblem."""
        parts = urlsplit(uri)
        if parts.scheme not in ("amqp", "amqps"):
            raise BrokerProblem("AMQP scheme must be either 'amqp://' or 'amqps://'")
        secure = parts.scheme == "amqps"
        port = parts.port or (5671 if secure else 5672)
        self._connection = BrokerConnection(parts.hostname or "localhost", port, tls_context(tls) if secure else None)
        user = unquote(parts.username or "") or "guest"
        password = unquote(parts.password or "") if parts.username else "guest"
        virtual_host = unquote(parts.path)[1:] or "/"
        try:
            self._log_in(user, password, virtual_host)
            self._call(1, _CHANNEL_OPEN, _short(""), _CHANNEL_OPEN_OK)
        except BrokerProblem:
            self._connection.close()
            raise

    def declare_passively(self, name: str, kind: str, durable: bool, auto_delete: bool) -> None:
        """Fail unless the exchange is there. Raises BrokerProblem with the broker's words."""
        flags = 1 | durable << 1 | auto_delete << 2
        arguments = struct.pack(">H", 0) + _short(name) + _short(kind) + bytes([flags]) + struct.pack(">I", 0)
        self._call(1, _EXCHANGE_DECLARE, arguments, _EXCHANGE_DECLARE_OK)

    def publish(self, exchange: str, routing_key: str, body: bytes, content_type: str, app_id: str) -> None:
        """Send a message, neither mandatory nor persistent. Raises BrokerProblem if the connection is gone."""
        properties = struct.pack(">H", _CONTENT_TYPE | _APP_ID) + _short(content_type) + _short(app_id)
        self._send(1, _PUBLISH, struct.pack(">H", 0) + _short(exchange) + _short(routing_key) + b"\0")
        self._frame(_HEADER, 1, struct.pack(">HHQ", _PUBLISH[0], 0, len(body)) + properties)
        self._frame(_BODY, 1, body)

    def close(self) -> None:
        """Close channel and connection in order; whatever the broker still says is not heard."""
        with contextlib.suppress(BrokerProblem):
            self._call(
                1, _CHANNEL_CLOSE, struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0), _CHANNEL_CLOSE_OK
            )
            self._call(0, _CONNECTION_CLOSE, struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0),
                       _CONNECTION_CLOSE_OK)  # fmt: skip
        self._connection.close()

    def _log_in(self, user: str, password: str, virtual_host: str) -> None:
        self._connection.send(b"AMQP\0\0\x09\x01")
        self._expect(0, _START)
        response = f"\0{user}\0{password}".encode()
        self._send(0, _START_OK, struct.pack(">I", 0) + _short("PLAIN") + _long(response) + _short("en_US"))
        channels, frame_size, _ = struct.unpack(">HIH", self._expect(0, _TUNE))
        self._send(0, _TUNE_OK, struct.pack(">HIH", channels, frame_size, 0))
        self._call(0, _OPEN, _short(virtual_host) + _short("") + b"\0", _OPEN_OK)

    def _call(self, channel: int, method: tuple[int, int], arguments: bytes, answer: tuple[int, int]) -> bytes:
        self._send(channel, method, arguments)
        return self._expect(channel, answer)

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        self._frame(_METHOD, channel, struct.pack(">HH", *method) + arguments)

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        self._connection.send(struct.pack(">BHI", kind, channel, len(payload)) + payload + _END)

    def _expect(self, channel: int, wanted: tuple[int, int]) -> bytes:
        """Return the arguments of the method that must come next. Raises BrokerProblem."""
        while True:
            header = self._connection.receive(7)
            if header.startswith(b"AMQP"):
                raise BrokerProblem("Exception (501) Reason: the broker speaks another version of AMQP")
            kind, on, size = struct.unpack(">BHI", header)
            payload = self._connection.receive(size)
            if self._connection.receive(1) != _END:
                raise BrokerProblem('Exception (501) Reason: "EOF"')
            if kind == _HEARTBEAT:
                continue
            method = struct.unpack(">HH", payload[:4])
            if (on, method) == (channel, wanted):
                return payload[4:]
            if method in (_CONNECTION_CLOSE, _CHANNEL_CLOSE):
                code = struct.unpack(">H", payload[4:6])[0]
                reason = payload[7 : 7 + payload[6]].decode(errors="replace")
                raise BrokerProblem(f'Exception ({code}) Reason: "{reason}"')
            raise BrokerProblem(f"Exception (503) Reason: unexpected method {method}")


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
