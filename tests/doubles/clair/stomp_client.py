"""STOMP as far as Clair speaks it: log in, send one message, wait for its receipt (notifier/stomp/, go-stomp)."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

from .broker_connection import BrokerConnection, BrokerProblem, tls_context
from .config_validation import split_host_port


class StompConnection:
    """One connection to a broker."""

    def __init__(self, address: str, login: Any, tls: Any, names_host: bool) -> None:
        """Connect to `host:port`; `names_host` False is how it was before 4.7: the header `host` is the broker's IP address.

        Raises BrokerProblem.
        """
        host, port = split_host_port(address)
        self._connection = BrokerConnection(host, int(port), tls_context(tls) if tls is not None else None)
        headers = {"accept-version": "1.0,1.1,1.2", "host": host if names_host else self._connection.address}
        if login:
            headers |= {"login": str(login.get("login", "")), "passcode": str(login.get("passcode", ""))}
        try:
            self._frame("CONNECT", headers)
            self._expect("CONNECTED")
        except BrokerProblem:
            self._connection.close()
            raise

    def send(self, destination: str, content_type: str, body: bytes) -> None:
        """Send a message and wait until the broker says that it has it. Raises BrokerProblem."""
        self._frame(
            "SEND",
            {"destination": destination, "content-type": content_type, "content-length": str(len(body)),
             "receipt": str(uuid.uuid4())},
            body,
        )  # fmt: skip
        self._expect("RECEIPT")

    def close(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(BrokerProblem):
            self._frame("DISCONNECT", {"receipt": "bye"})
            self._expect("RECEIPT")
        self._connection.close()

    def _frame(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        # CONNECT is the one frame whose headers are not escaped.
        escape = (lambda text: text) if command == "CONNECT" else _escaped
        lines = [command, *(f"{escape(name)}:{escape(value)}" for name, value in headers.items())]
        self._connection.send("\n".join([*lines, "", ""]).encode() + body + b"\0")

    def _expect(self, wanted: str) -> None:
        data = b""
        while not data.endswith(b"\0"):
            data += self._connection.receive(1)
        command, *headers = (
            data.rstrip(b"\0").lstrip(b"\r\n").decode(errors="replace").partition("\n\n")[0].splitlines()
        )
        if command != wanted:
            message = next((line.partition(":")[2] for line in headers if line.startswith("message:")), command)
            raise BrokerProblem(message)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n").replace(":", "\\c")
