"""Clair, the double's image or the real one, answers as it was recorded (tests/doubles/recordings).

The recorded requests that need no image and no feed are sent again, through the operations entry point, for each release that
was recorded. Status, the headers that a client reads, and the body are compared; what differs between two installations is
named in `same_body`. test_double_answers_as_recorded repeats every recorded exchange, with the double's programs.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import psk
from tests.live.support import Deployment
from tests.support.recordings import RELEASES, authorization, document

# They ask about an image or a feed, or about services that were stopped for the recording.
NEED_MORE = re.compile(
    r"image|feed|down|edge|again|layer cannot|update_operation|^(GET|POST|DELETE) index_report$|notifier\)"
)
HEADERS = ("Content-Type", "Content-Length", "Transfer-Encoding", "X-Content-Type-Options", "Trailer")


def recorded(release: str) -> list[dict[str, Any]]:
    """Return the recorded exchanges that can be repeated on a fresh deployment."""
    return [
        one
        for one in document(release)["http"]
        if one["name"] != "vulnerability_report" and not NEED_MORE.search(one["name"])
    ]


@pytest.fixture(scope="module", params=RELEASES)
def deployment_of_release(request: pytest.FixtureRequest, shared_deployment: DeploymentFactory) -> Iterator[Deployment]:
    """A running deployment of one recorded release that needs no feed and no internet."""
    deployment = shared_deployment(clair_version=request.param, feeds_offline=True)
    deployment.run("up")
    yield deployment
    deployment.run("down")


def same_body(recorded_body: Any, body: bytes) -> bool:
    """Return whether two bodies say the same, but for the state of the indexer, which is a hash of its scanners."""
    if isinstance(recorded_body, dict) and set(recorded_body) == {"state"}:
        return bool(re.fullmatch(r"[0-9a-f]{32}", json.loads(body)["state"]))
    if isinstance(recorded_body, dict):
        return bool(json.loads(body) == recorded_body)
    return body.decode().strip() == str(recorded_body).strip()


def test_each_recorded_answer_is_given_again(deployment_of_release: Deployment) -> None:
    deployment = deployment_of_release
    place = urlsplit(deployment.operations_url)
    differences = []

    for one in recorded(deployment.facts["clair_release"]):
        asked = one["request"]
        content = (
            asked["body"] if isinstance(asked["body"], str) or asked["body"] is None else json.dumps(asked["body"])
        )
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        headers_sent = {"Accept": "application/json", **authorization(asked["auth"], psk(deployment))}
        connection.request(asked["method"], asked["path"], content, headers_sent)
        answer = connection.getresponse()
        body = answer.read()
        headers = {name: answer.getheader(name) for name in HEADERS}
        expected = {name: one["headers"].get(name) for name in HEADERS}
        if answer.status != one["status"] or not same_body(one["body"], body) or headers != expected:
            differences.append((one["name"], answer.status, headers, body, one["status"], expected, one["body"]))
        connection.close()

    assert differences == []


def test_the_recordings_hold_enough_to_compare() -> None:
    assert all(len(recorded(release)) >= 12 for release in RELEASES)
