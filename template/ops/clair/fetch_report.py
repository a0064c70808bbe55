"""Gets the vulnerability report of a manifest from the matcher.

Talks to the matcher through the edge; writes nothing. Behaviour of the matcher: quay/clair httptransport/matcher_v1.go
at v4.9.0: 200 with a report, 202 with an empty body as long as no updater has stored anything, 404 for a manifest that
the indexer does not report as finished.
"""

from __future__ import annotations

from ..errors import UNDECIDED, Problem
from ..host.read_json import Unreadable, ascii_json
from ..network.open_connection import Deadline, NoAnswer
from ..network.retry_request import Notice, retry_request
from .index_manifest import no_answer, service_problem, unreadable
from .reach_edge import Edge
from .read_report import VulnerabilityReport, parse_vulnerability_report

PATH = "/matcher/api/v1/vulnerability_report/"


def fetch_report(
    edge: Edge, digest: str, deadline: Deadline, notice: Notice = lambda text: None
) -> VulnerabilityReport:
    """Return the vulnerability report of `digest`. Raises Problem (3) for every answer that is no readable report."""
    # The answer itself is gone before its text is parsed: both would take twice the memory.
    text = _fetch_text(edge, digest, deadline, notice)
    try:
        return parse_vulnerability_report(text)
    except Unreadable as error:
        raise unreadable("vulnerability report", digest, str(error)) from error


def _fetch_text(edge: Edge, digest: str, deadline: Deadline, notice: Notice) -> str:
    try:
        answer = retry_request(
            lambda: edge.request("GET", PATH + digest, deadline), deadline, "the matcher", notice=notice
        )
    except NoAnswer as error:
        raise no_answer("matcher", edge, error) from error
    if answer.status == 202:
        raise Problem(
            f"matcher not ready, {edge.url}: no feed has been loaded yet (HTTP 202)", "./clair verify", UNDECIDED
        )
    if answer.status != 200:
        raise service_problem("matcher", edge, digest, answer)
    try:
        return ascii_json(answer.body)
    except Unreadable as error:
        raise unreadable("vulnerability report", digest, str(error)) from error
