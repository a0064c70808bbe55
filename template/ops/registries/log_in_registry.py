"""Logging in to a registry: what its 401 asks for, answered with the user's own Docker credentials.

Sends the credentials to the registry or to the token server it names, over HTTPS only (plain HTTP where the registry
itself may use it); stores nothing. Source: distribution docs/content/spec/auth/{token,oauth}.md at v3.0.0.
"""

from __future__ import annotations

import base64
import re
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from ..errors import UNDECIDED, USAGE, Problem
from ..host.escape_text import printable
from ..host.read_json import Unreadable, read_object
from ..network.web import Answer
from .find_credentials import Credentials
from .parse_reference import HUB, Reference, allows_plain_http

CLIENT_ID = "clair-deployment"


class Login:
    """The login of one repository. `authorization` is the header that requests to the registry carry, or empty."""

    def __init__(
        self, reference: Reference, find: Callable[[Reference], Credentials], send: Callable[..., Answer]
    ) -> None:
        self.authorization = ""
        self._reference = reference
        self._find = find
        self._send = send
        self._credentials = Credentials()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Drop the token, which may have expired: the next 401 gets another one."""
        with self._lock:
            self.authorization = ""

    def renew(self, answer: Answer, sent: str) -> None:
        """Get what the 401 `answer` to a request with the header `sent` asks for.

        Raises Problem: 2 if the login is refused, 3 if the token server gives no readable answer.
        """
        with self._lock:
            if self.authorization != sent:
                return  # another thread has just logged in
            self._credentials = self._find(self._reference)
            kind, fields = _challenge(answer)
            if kind == "basic" and self._credentials.username:
                self.authorization = _basic(self._credentials)
            elif kind == "bearer":
                self.authorization = f"Bearer {self._credentials.registry_token or self._token(fields)}"

    def _token(self, fields: dict[str, str]) -> str:
        realm, login = fields.get("realm", ""), self._credentials
        parts = urllib.parse.urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and allows_plain_http(parts.netloc)):
            reason = f"it wants the login sent to {printable(realm)!r}, which is no https address"
            raise unreadable(self._reference, reason)
        scope = fields.get("scope") or f"repository:{self._reference.path}:pull"
        query = {"scope": scope, **({"service": fields["service"]} if fields.get("service") else {})}
        if login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity_token,
                "client_id": CLIENT_ID,
                **query,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, headers, body=urllib.parse.urlencode(form).encode())
        else:
            headers = {"Authorization": _basic(login)} if login.username else {}
            answer = self._send("GET", f"{realm}{'&' if parts.query else '?'}{urllib.parse.urlencode(query)}", headers)
        if answer.status != 200:
            raise self.refused(answer, "token")
        try:
            document = read_object(answer.body)
        except Unreadable as error:
            raise unreadable(self._reference, f"the login: {error}") from error
        found = document.get("token") or document.get("access_token")
        if not isinstance(found, str) or not found.isascii() or not found.isprintable():
            raise unreadable(self._reference, "the answer to the login holds no token")
        return found

    def refused(self, answer: Answer, path: str) -> Problem:
        """Return what a status other than 200 to `path` means to the user."""
        image, domain, login = str(self._reference), self._reference.domain, self._credentials
        inspect = f"docker manifest inspect {image}"
        if answer.status in (401, 403):
            reason = f"no such image, or it needs a login (HTTP {answer.status})"
            if login.failure:
                reason = login.failure
            elif login.username or login.identity_token or login.registry_token:
                reason = f"the registry refuses the stored login (HTTP {answer.status})"
            return Problem(f"image not accessible, {image}: {reason}", _login_hint(domain), USAGE)
        if answer.status == 404 and path.startswith("manifests/"):
            return Problem(f"image not found, {image}: the registry has no such tag or digest", inspect, USAGE)
        if answer.status == 429:
            reason = "it limits how often it may be asked (HTTP 429)"
            return Problem(f"registry busy, {domain}: {reason}", _login_hint(domain), UNDECIDED)
        return unreadable(self._reference, f"the registry answered HTTP {answer.status} for {printable(path)}")


def unreadable(reference: Reference, reason: str) -> Problem:
    """Return the failure of a registry whose answer is no image: exit code 3."""
    return Problem(f"image unreadable, {reference}: {reason}", f"docker manifest inspect {reference}", UNDECIDED)


def _basic(login: Credentials) -> str:
    return f"Basic {base64.b64encode(f'{login.username}:{login.password}'.encode()).decode()}"


def _login_hint(domain: str) -> str:
    return "docker login" if domain == HUB else f"docker login {domain}"


def _challenge(answer: Answer) -> tuple[str, dict[str, str]]:
    """Return scheme and parameters of the WWW-Authenticate header, Bearer before Basic."""
    found: dict[str, dict[str, str]] = {}
    values: list[Any] = answer.headers.get_all("WWW-Authenticate") or []
    for value in values:
        kind, _, rest = str(value).strip().partition(" ")
        pairs = re.findall(r'([A-Za-z_]+)=(?:"([^"]*)"|([^",\s]+))', rest)
        found[kind.lower()] = {name.lower(): quoted or plain for name, quoted, plain in pairs}
    for kind in ("bearer", "basic"):
        if kind in found:
            return kind, found[kind]
    return "", {}
