"""Connections to message brokers, with TLS as a `tls` block of the configuration asks for it."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from .http_client import load_authorities

DIAL_SECONDS = 30.0


class BrokerProblem(Exception):
    """The broker cannot be reached, refuses, or speaks something else; the text says why."""


class BrokerConnection:
    """A connection that reads exactly what is asked for."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect. Raises BrokerProblem."""
        try:
            raw = socket.create_connection((host, port), timeout=DIAL_SECONDS)
            self._socket = tls.wrap_socket(raw, server_hostname=host) if tls else raw
        except OSError as error:
            raise BrokerProblem(f"dial tcp {host}:{port}: {error}") from error

    @property
    def address(self) -> str:
        """The broker's IP address."""
        return str(self._socket.getpeername()[0])

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises BrokerProblem."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise BrokerProblem(str(error)) from error

    def receive(self, count: int) -> bytes:
        """Return exactly `count` bytes. Raises BrokerProblem."""
        data = b""
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except OSError as error:
                raise BrokerProblem(str(error)) from error
            if not piece:
                raise BrokerProblem("EOF")
            data += piece
        return data

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()


def tls_context(settings: Any) -> ssl.SSLContext:
    """Return the context for a `tls` block, which may be absent: then the system's authorities count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings and settings.get("root_ca"):
        context.load_verify_locations(settings["root_ca"])
    else:
        load_authorities(context)
    if settings and settings.get("cert"):
        context.load_cert_chain(settings["cert"], settings["key"])
    return context
