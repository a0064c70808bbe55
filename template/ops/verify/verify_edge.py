"""The checks of `verify` that go through the edge: does each service answer, and only to whom it should.

Talks to the edge; writes nothing. What is asked for is what Clair answers without any image (recorded with Clair 4.9.0,
4.8.0 and 4.5.1): a report nobody indexed (the matcher: 202 or 404), a notification nobody sent (200, an empty page).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

from ..clair.index_manifest import error_message
from ..clair.reach_edge import Edge
from ..network.open_connection import Deadline, NoAnswer, explain_failure
from ..network.web import Answer

NO_DIGEST = "sha256:" + "0" * 64
NO_ID = "00000000-0000-0000-0000-000000000000"
# Service: a path that needs no data, and the statuses of a service that works.
PROBES = {
    "indexer": ("/indexer/api/v1/index_state", (200,)),
    "matcher": (f"/matcher/api/v1/vulnerability_report/{NO_DIGEST}", (200, 202, 404)),
    "notifier": (f"/notifier/api/v1/notification/{NO_ID}", (200,)),
}
# What the edge must not pass on, whoever asks (the internal API changes feeds; a bulk delete empties the index).
FORBIDDEN = (
    ("GET", "/matcher/api/v1/internal/update_operation"),
    ("GET", "/matcher/api/v1%2finternal/update_operation"),
    ("DELETE", "/indexer/api/v1/index_report"),
)
REFUSALS = (400, 403, 404, 405)
CERTIFICATE_WARNING_DAYS = 21

OK, WARNING, FAILED, UNKNOWN = "ok", "warning", "failed", "unknown"


class Check(NamedTuple):
    """One line of `verify`: ok, warning (worth knowing), failed (not working) or unknown (could not be told)."""

    name: str
    result: str
    detail: str
    hint: str = ""


def edge_checks(edge: Edge, services: list[str], deadline: Deadline) -> list[Callable[[], Check]]:
    """Return the checks of the edge as calls that can run at the same time."""
    calls: list[Callable[[], Check]] = []
    for service in services:
        calls.append(lambda service=service: _answers(edge, service, deadline))  # type: ignore[misc]
        calls.append(lambda service=service: _refuses_strangers(edge, service, deadline))  # type: ignore[misc]
    calls.append(lambda: _refuses_internal(edge, deadline))
    if edge.url.startswith("https:"):
        calls.append(lambda: _certificate(edge, deadline))
    return calls


def _ask(edge: Edge, method: str, path: str, deadline: Deadline, *, signed: bool = True) -> Answer:
    return edge.request(method, path, deadline, signed=signed)


def _answers(edge: Edge, service: str, deadline: Deadline) -> Check:
    name, (path, wanted) = f"{service} answers", PROBES[service]
    try:
        answer = _ask(edge, "GET", path, deadline)
    except NoAnswer as error:
        return Check(name, FAILED, f"{edge.url}: {error.reason}", "./clair ps")
    message = error_message(answer)
    if answer.status == 401:
        hint = "./clair services" if abs(_skew(answer)) < 60 else "timedatectl status"
        return Check(name, FAILED, "HTTP 401: it refuses the token (key, issuer or clock)", hint)
    # Clair's own 404 has a message; the edge's has none.
    if answer.status in wanted and (answer.status != 404 or message):
        return Check(name, OK, f"HTTP {answer.status} with a token of this deployment")
    said = f": {message}" if message else ""
    return Check(name, FAILED, f"HTTP {answer.status}{said}", f"./clair logs {service}")


def _skew(answer: Answer) -> float:
    """Return by how many seconds the answer's clock is ahead of this one, 0 if it does not say."""
    import email.utils

    try:
        return email.utils.parsedate_to_datetime(answer.header("Date")).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0.0


def _refuses_strangers(edge: Edge, service: str, deadline: Deadline) -> Check:
    name = f"{service} needs a token"
    try:
        status = _ask(edge, "GET", PROBES[service][0], deadline, signed=False).status
    except NoAnswer as error:
        return Check(name, UNKNOWN, error.reason, "./clair ps")
    if status == 401:
        return Check(name, OK, "HTTP 401 without one")
    if status < 400:
        return Check(name, FAILED, f"HTTP {status} without one: the API is open", "./clair services")
    return Check(name, UNKNOWN, f"HTTP {status} without one", f"./clair logs {service}")


def _refuses_internal(edge: Edge, deadline: Deadline) -> Check:
    name = "edge refuses the internal API"
    for method, path in FORBIDDEN:
        try:
            answer = _ask(edge, method, path, deadline)
        except NoAnswer as error:
            return Check(name, UNKNOWN, f"{method} {path}: {error.reason}", "./clair ps")
        if answer.status not in REFUSALS or error_message(answer):
            return Check(name, FAILED, f"HTTP {answer.status} for {method} {path}", "./clair traefik")
    return Check(name, OK, f"{len(FORBIDDEN)} requests with a valid token refused")


def _certificate(edge: Edge, deadline: Deadline) -> Check:
    """Say how long the edge's certificate is good; that it is trusted, the other checks have shown."""
    name = "edge certificate"
    try:
        seconds = certificate_expiry(edge, deadline) - time.time()
    except NoAnswer as error:
        hint = "openssl x509 -in secrets/tls.crt -noout -subject -dates -ext subjectAltName"
        return Check(name, FAILED, error.reason, hint)
    days = seconds / 86400
    if days < CERTIFICATE_WARNING_DAYS:
        return Check(name, WARNING, f"expires in {days:.0f} days", "openssl x509 -in secrets/tls.crt -noout -dates")
    return Check(name, OK, f"good for {days:.0f} days")


def certificate_expiry(edge: Edge, deadline: Deadline) -> float:
    """Return when the edge's certificate expires, in seconds since 1970. Raises NoAnswer."""
    import urllib.parse

    parts = urllib.parse.urlsplit(edge.url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        plain = socket.create_connection(edge.connect_to or (host, port), timeout=deadline.remaining())
        with plain, edge.client.trust.context().wrap_socket(plain, server_hostname=host) as sock:
            certificate = sock.getpeercert() or {}
    except (OSError, ssl.SSLError) as error:
        raise explain_failure(error, deadline) from error
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
