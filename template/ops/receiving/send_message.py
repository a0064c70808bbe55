"""Sends one message to one target and says whether it arrived. A failure never tells a URL or a password.

Only 2xx counts, redirects are not followed (they would take a secret elsewhere), and a body with 2xx that begins with `<` is
somebody's login page, not the target. `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` are honoured.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from .read_settings import Target
from .wait_longer import LONGEST_SECONDS

# How much of an answer is looked at.
_READ_BYTES = 65536
# What may stand before the first character of a page: blanks, and the mark of UTF-8 or UTF-16.
_BLANKS = b" \t\r\n\v\f\0\xef\xbb\xbf\xfe\xff"
# By a word of what smtplib says when a server does not offer something.
_NOT_OFFERED = {
    "STARTTLS": "the mail server offers no STARTTLS at this port; 587 is the usual one",
    "AUTH": "the mail server offers no login at this port; 587 is the usual one",
    "SMTPUTF8": "the mail server takes no address with characters beyond ASCII",
}


class NotSent(Exception):
    """One sentence why; `got` are the recipients that have got it though others have not.

    `pause` are the seconds for which the target asked to be left alone, 0 if it did not.
    """

    def __init__(self, reason: str, got: Sequence[str] = (), pause: float = 0.0) -> None:
        super().__init__(reason)
        self.got = got
        self.pause = pause


def trust(ca_file: Path) -> ssl.SSLContext:
    """Return the TLS settings: the image's authorities and the operator's own, if the file is there."""
    context = ssl.create_default_context()
    if ca_file.is_file() and ca_file.stat().st_size:
        context.load_verify_locations(cafile=str(ca_file))
    return context


def post(target: Target, body: bytes, identity: str, context: ssl.SSLContext) -> None:
    """Post a message; raises NotSent unless the target took it."""
    headers = {"Content-Type": "application/json", "User-Agent": "clair-receiver", "Connection": "close"}
    headers["Idempotency-Key"] = identity
    if target.key:
        headers["X-Clair-Signature"] = "sha256=" + hmac.new(target.key.encode(), body, hashlib.sha256).hexdigest()
    parts = urlsplit(target.url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with _Limit(target.timeout) as limit:
        try:
            connection, path = _connection(target, path, headers, context)
            # http.client's own place for another way to connect.
            connection._create_connection = limit.connect  # type: ignore[attr-defined]
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                start = answer.read(_READ_BYTES)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSent("no answer in time" if limit.late.is_set() else _reason(error)) from error
    if limit.late.is_set():
        # To http.client headers and a body without a length end where the connection was cut.
        raise NotSent("no answer in time")
    if not 200 <= answer.status < 300:
        raise NotSent(f"HTTP {answer.status}", pause=pause_seconds(answer.headers.get("Retry-After", ""), time.time()))
    if start.lstrip(_BLANKS).startswith(b"<"):
        raise NotSent(f"HTTP {answer.status} with an HTML page instead of the target's answer")


def pause_seconds(retry_after: str, now: float) -> float:
    """Return the seconds that a Retry-After asks for, at most an hour, since nobody may stop a target's queue for good.

    It holds seconds or a date (RFC 9110, 10.2.3); anything else asks for none.
    """
    if re.fullmatch("[0-9]{1,12}", retry_after):
        wanted = float(retry_after)
    else:
        try:
            wanted = parsedate_to_datetime(retry_after).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(max(0.0, wanted), LONGEST_SECONDS)


def send_email(target: Target, message: EmailMessage, recipients: Sequence[str], context: ssl.SSLContext) -> None:
    """Send an e-mail; raises NotSent unless every recipient was taken."""
    refused: dict[str, int] = {}
    waiting = list(recipients)
    with _Limit(target.timeout) as limit:
        try:
            while waiting:
                try:
                    refused.update(_hand_over(target, message, waiting, context, limit))
                    break
                except smtplib.SMTPRecipientsRefused as error:
                    # All of them; or a 421 for one, after which smtplib hangs up before the others are served.
                    refused.update(_codes(error.recipients))
                    waiting = [one for one in waiting if one not in refused]
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise NotSent("no answer in time" if limit.late.is_set() else _reason(error)) from error
    if refused:
        got = [one for one in recipients if one not in refused]
        count = f"{len(refused)} of {len(recipients)} recipients were" if got else "every recipient was"
        said = ", ".join(str(code) for code in sorted(set(refused.values())))
        raise NotSent(f"{count} refused: {said}", got)


class _Limit:
    """Cuts all connections of an exchange that takes too long: the time limit of a socket is one per read.

    It keeps its own handle of each: TLS takes the socket out of its object before the handshake.
    """

    def __init__(self, seconds: float) -> None:
        self.late = threading.Event()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()

    def connect(self, address: tuple[str, int], *_: object) -> socket.socket:
        """Return a connection that ends with the exchange; for `socket.create_connection`."""
        made = socket.create_connection(address, self._seconds)
        with self._lock:
            if not self.late.is_set():
                self._handles.append(made.dup())
                return made
        made.close()
        raise TimeoutError

    def _cut(self) -> None:
        with self._lock:
            self.late.set()
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)


class _Mail(smtplib.SMTP):
    """A session whose connection is under a limit."""

    def __init__(self, host: str, port: int, limit: _Limit) -> None:
        self._limit = limit
        super().__init__(host, port)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._limit.connect((host, port))


def _hand_over(
    target: Target, message: EmailMessage, recipients: Sequence[str], context: ssl.SSLContext, limit: _Limit
) -> dict[str, int]:
    """Send to these recipients and return the codes of those refused; raises what smtplib does."""
    server = _Mail(target.host, target.port, limit)
    try:
        if target.starttls:
            server.starttls(context=context)
        if target.username:
            server.login(target.username, target.password)
        refused = server.send_message(message, target.sender, recipients)
        # It is the server's now, whatever becomes of the session.
        with suppress(Exception):
            server.quit()
    finally:
        server.close()
    return _codes(refused)


def _codes(refused: Mapping[str, tuple[int, bytes]]) -> dict[str, int]:
    return {recipient: code for recipient, (code, _) in refused.items()}


def served_recipients(target: Target, stored: str) -> dict[str, bool]:
    """Return for each recipient that a message was sent to whether it has got it.

    What an earlier receiver stored is the list of those that have not. If one of them is no recipient any more, it may have
    been corrected, and nobody knows which of today's has never got the message: then all get it, some of them again.
    """
    known = json.loads(stored) if stored else {}
    if isinstance(known, dict):
        return known
    corrected = not set(known) <= set(target.recipients)
    return {one: not corrected and one not in known for one in target.recipients}


def _connection(
    target: Target, path: str, headers: dict[str, str], context: ssl.SSLContext
) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(target.url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    proxy = None if proxy_bypass(host) else urlsplit(getproxies().get(parts.scheme, "") or "//")
    if proxy is None or not proxy.hostname:
        if secure:
            return http.client.HTTPSConnection(host, parts.port, timeout=target.timeout, context=context), path
        return http.client.HTTPConnection(host, parts.port, timeout=target.timeout), path
    login = {}
    if proxy.username is not None:
        text = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        login = {"Proxy-Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    if secure:
        tunnel = http.client.HTTPSConnection(proxy.hostname, proxy.port or 80, timeout=target.timeout, context=context)
        tunnel.set_tunnel(host, parts.port or 443, login)
        return tunnel, path
    headers.update(login)
    plain = http.client.HTTPConnection(proxy.hostname, proxy.port or 80, timeout=target.timeout)
    return plain, f"http://{parts.netloc.rpartition('@')[2]}{path}"


def _reason(error: Exception) -> str:
    """Return a reason without what the error quotes: it may be the URL."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return next((said for word, said in _NOT_OFFERED.items() if word in str(error)), type(error).__name__)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the mail server hung up"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    # What http.client raises for a proxy that answers CONNECT with anything but 200.
    tunnel = re.match(r"Tunnel connection failed: (\d{3})", str(error))
    if tunnel:
        return f"the proxy refused: HTTP {tunnel[1]}"
    return type(error).__name__
