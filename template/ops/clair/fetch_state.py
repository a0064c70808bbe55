"""Asks the indexer for its state, and whether it knows a manifest.

Talks to the indexer through the edge; writes nothing. The state is a digest over the scanners and their versions
(quay/clair httptransport/indexer_v1.go at v4.9.0): while it stays the same, indexing a manifest again finds the same.
"""

from __future__ import annotations

from typing import Optional

from ..host.read_json import Unreadable, part, read_object
from ..network.open_connection import Deadline, NoAnswer
from ..network.retry_request import Notice, retry_request
from ..network.web import Answer
from .index_manifest import PATH, no_answer, service_problem, unreadable
from .reach_edge import Edge
from .read_report import IndexReport, parse_index_report

STATE_PATH = "/indexer/api/v1/index_state"


def fetch_state(edge: Edge, deadline: Deadline, notice: Notice = lambda text: None) -> str:
    """Return the indexer's state. Raises Problem (3) for every answer that holds none."""
    answer = _get(edge, STATE_PATH, deadline, notice)
    if answer.status != 200:
        raise service_problem("indexer", edge, "index_state", answer)
    try:
        return str(part(read_object(answer.body), "state", str, "the answer"))
    except Unreadable as error:
        raise unreadable("index state", edge.url, str(error)) from error


def fetch_index(
    edge: Edge, digest: str, state: str, deadline: Deadline, notice: Notice = lambda text: None
) -> Optional[IndexReport]:
    """Return the finished report of a manifest if the indexer has one and still is in `state`, else None.

    None says only that the manifest must be handed over (again): "not found" may mean a database that is down. The
    ETag is the indexer's state now, not the one the manifest was indexed in. Raises Problem (3) for no answer at all.
    """
    answer = _get(edge, f"{PATH}/{digest}", deadline, notice)
    if answer.status != 200 or answer.header("ETag").strip('W/"') != state:
        return None
    try:
        report = parse_index_report(read_object(answer.body))
    except Unreadable:
        return None
    return report if report.state == "IndexFinished" and report.success else None


def is_known(edge: Edge, digest: str, deadline: Deadline) -> bool:
    """Return whether the indexer has a report of a manifest, or may have one: only "not found" is taken for no."""
    answer = _get(edge, f"{PATH}/{digest}", deadline, lambda text: None)
    return answer.status != 404


def _get(edge: Edge, path: str, deadline: Deadline, notice: Notice) -> Answer:
    try:
        return retry_request(lambda: edge.request("GET", path, deadline), deadline, "the indexer", notice=notice)
    except NoAnswer as error:
        raise no_answer("indexer", edge, error) from error
