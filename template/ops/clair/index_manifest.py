"""Hands a manifest to the indexer and returns its report.

Talks to the indexer through the edge; writes nothing here. Behaviour of the indexer: quay/clair
httptransport/indexer_v1.go at v4.9.0: the answer comes when indexing is done, 201 with the report; a manifest that the
same indexer has seen before is answered at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ..errors import UNDECIDED, Problem
from ..host.escape_text import printable
from ..host.read_json import Unreadable, read_object
from ..network.open_connection import Deadline, NoAnswer
from ..network.retry_request import Notice, retry_request
from ..network.web import Answer
from ..registries.remember_layers import Layer
from .reach_edge import Edge
from .read_report import IndexReport, parse_index_report

PATH = "/indexer/api/v1/index_report"
# Clair's sentence for a layer the registry would not give: a token that expired while the request waited.
EXPIRED = ("401 Unauthorized", "403 Forbidden", "400 Bad Request")


def index_manifest(
    edge: Edge, digest: str, locate: Callable[[], list[Layer]], deadline: Deadline, notice: Notice = lambda text: None
) -> IndexReport:
    """Return the indexer's report of a manifest.

    `locate` returns the layers with addresses good now; it is called again if they expired meanwhile. Raises Problem
    (3) for every answer that is no readable report.
    """
    answer = _post(edge, digest, locate, deadline, notice)
    if answer.status == 500 and any(text in error_message(answer) for text in EXPIRED):
        answer = _post(edge, digest, locate, deadline, notice)
    if answer.status not in (200, 201):
        raise service_problem("indexer", edge, digest, answer)
    try:
        return parse_index_report(read_object(answer.body))
    except Unreadable as error:
        raise unreadable("index report", digest, str(error)) from error


def _post(edge: Edge, digest: str, locate: Callable[[], list[Layer]], deadline: Deadline, notice: Notice) -> Answer:
    layers = [{"hash": layer.digest, "uri": layer.uri, "headers": layer.headers} for layer in locate()]
    body = json.dumps({"hash": digest, "layers": layers}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        return retry_request(
            lambda: edge.request("POST", PATH, deadline, body=body, headers=headers),
            deadline,
            "the indexer",
            notice=notice,
        )
    except NoAnswer as error:
        raise no_answer("indexer", edge, error) from error


def error_message(answer: Answer) -> str:
    """Return what Clair says about an error, from the body `{"code", "message"}`, or nothing."""
    try:
        return printable(str(read_object(answer.body).get("message") or ""), 400)
    except Unreadable:
        return ""


def no_answer(service: str, edge: Edge, error: NoAnswer) -> Problem:
    """Return the failure of a service from which no answer came: exit code 3."""
    return Problem(f"{service} unreachable, {edge.url}: {error.reason}", "./clair verify", UNDECIDED)


def unreadable(what: str, digest: str, reason: str) -> Problem:
    """Return the failure of an answer that nobody can read: exit code 3."""
    return Problem(f"{what} unreadable, {digest}: {reason}", "./clair verify", UNDECIDED)


def service_problem(service: str, edge: Edge, digest: str, answer: Answer) -> Problem:
    """Return what a status means that carries no report: exit code 3, since it says nothing about the image."""
    message = error_message(answer)
    said = f"HTTP {answer.status}" + (f", {message}" if message else "")
    if answer.status == 401:
        reason = "HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that is wrong)"
        return Problem(f"{service} refused, {edge.url}: {reason}", "./clair verify", UNDECIDED)
    if answer.status == 404 and message:
        # Seen with the database stopped, for a manifest that is known (the indexer asks, and takes a failure for "no").
        reason = f"{said}; that is no proof, for it says the same when its database is down"
        return Problem(f"{service} has no report, {digest}: {reason}", "./clair verify", UNDECIDED)
    if answer.status in (403, 404, 405):
        return Problem(f"{service} not reached, {edge.url}: {said} from the edge", "./clair verify", UNDECIDED)
    if answer.status in (429, 502, 503, 504):
        return Problem(f"{service} not available, {edge.url}: {said}", f"./clair logs {service}", UNDECIDED)
    return Problem(f"{service} failed, {digest}: {said}", f"./clair logs {service}", UNDECIDED)
