"""A Quay registry as client: its tokens and its requests, all through the edge.

What its client sends: https://github.com/quay/quay/blob/v3.13.0/util/secscan/v4/api.py. That a deployment without
quay_enabled refuses the DELETEs is in test_hardening.py.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from demo import sample_feed, sample_image
from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    psk,
    request,
    token,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

SAMPLE = "sample/debian:12"
NOTIFICATIONS = 3


@dataclass(frozen=True)
class Quay:
    """A client that signs as Quay does: issuer `quay`, five minutes, no `iat`, no `nbf`."""

    deployment: Deployment

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one request through the edge; return status, headers and body."""
        signed = token(self.deployment, "quay")
        assert set(jwt.decode(signed, psk(self.deployment), algorithms=["HS256"])) == {"iss", "exp"}
        body = None if document is None else json.dumps(document).encode()
        sent = {"Authorization": f"Bearer {signed}", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        return request(self.deployment.edge_url, method, path, sent, body)


@pytest.fixture(scope="module")
def quay(shared_deployment: DeploymentFactory) -> Quay:
    """Return Quay's client of a running deployment with feeds."""
    deployment = shared_deployment(updater_families=FAMILIES, quay_enabled=True)
    add_samples(deployment)
    clair(deployment, "up")
    wait_for_feeds(deployment)
    return Quay(deployment)


def manifest() -> dict[str, Any]:
    """Return the sample image as Quay hands it over: its layers at addresses that the indexer reaches."""
    image = sample_image.debian_image()
    layers = json.loads(image.manifest.data)["layers"]
    address = "http://demo:5000/v2/sample/debian/blobs"
    return {
        "hash": image.digest,
        "layers": [
            {"hash": layer["digest"], "uri": f"{address}/{layer['digest']}", "headers": {"Accept": ["*/*"]}}
            for layer in layers
        ],
    }


def test_an_image_from_state_to_vulnerabilities_and_back(quay: Quay) -> None:
    digest = manifest()["hash"]
    release = quay.deployment.facts["clair_release"]

    status, _, body = quay.ask("GET", "/indexer/api/v1/index_state")
    state = json.loads(body)["state"]
    assert (status, bool(state)) == (200, True)
    assert quay.ask("GET", f"/indexer/api/v1/index_report/{digest}")[0] == 404

    status, headers, body = quay.ask("POST", "/indexer/api/v1/index_report", manifest())
    report = json.loads(body)
    etag = headers["etag"]
    assert status == 201
    assert (report["manifest_hash"], report["state"], report["success"]) == (digest, "IndexFinished", True)
    assert etag.strip('"') == state
    # What Quay sends to learn whether the image must be indexed again.
    status, _, body = quay.ask("POST", "/indexer/api/v1/index_report", manifest(), **{"If-None-Match": etag})
    assert (status, body) == (412, b"")

    status, headers, body = quay.ask("GET", f"/indexer/api/v1/index_report/{digest}")
    assert (status, headers["etag"]) == (200, etag)
    assert len(json.loads(body)["packages"]) == 11
    status, _, body = quay.ask("GET", f"/indexer/api/v1/index_report/{digest}", **{"If-None-Match": etag})
    assert (status, body) == (304, b"")

    status, _, body = quay.ask("GET", f"/matcher/api/v1/vulnerability_report/{digest}")
    found = {one["name"] for one in json.loads(body)["vulnerabilities"].values()}
    assert status == 200
    assert found == {finding.id for finding in sample_feed.expected_findings(SAMPLE, release=release)}

    assert quay.ask("DELETE", f"/indexer/api/v1/index_report/{digest}")[0] == 204
    assert quay.ask("GET", f"/indexer/api/v1/index_report/{digest}")[0] == 404


def store_notification(deployment: Deployment) -> tuple[str, list[str]]:
    """Write a delivered notification as the notifier stores one; return its id and the ids of its parts in order."""
    identity = str(uuid.uuid4())
    parts = sorted(str(uuid.uuid4()) for _ in range(NOTIFICATIONS))
    digest = manifest()["hash"]
    vulnerability = {"name": "CVE-2023-6246", "fixed_in_version": "2.36-9+deb12u4", "links": "", "description": "",
                     "normalized_severity": "High", "package": None, "distribution": None, "repository": None}  # fmt: skip
    statements = [f"INSERT INTO notification (id) VALUES ('{identity}')"]
    for part in parts:
        body = {"id": part, "manifest": digest, "reason": "added", "vulnerability": vulnerability}
        statements.append(
            "INSERT INTO notification_body (id, notification_id, body) "
            f"VALUES ('{part}', '{identity}', '{json.dumps(body)}')"
        )
    operation = str(uuid.uuid4())
    statements.append(
        f"INSERT INTO notifier_update_operation (uo_id, updater, ts) VALUES ('{operation}', 'debian/updater', now())"
    )
    statements.append(
        "INSERT INTO receipt (notification_id, uo_id, status, ts) "
        f"VALUES ('{identity}', '{operation}', 'delivered', now())"
    )
    deployment.psql("notifier", "; ".join(statements))
    return identity, parts


def test_a_notification_is_read_in_pages_and_deleted(quay: Quay) -> None:
    identity, parts = store_notification(quay.deployment)
    path = f"/notifier/api/v1/notification/{identity}"

    seen, following = [], ""
    for _ in range(NOTIFICATIONS):
        query = "?page_size=1" + (f"&next={following}" if following else "")
        status, _, body = quay.ask("GET", path + query)
        page = json.loads(body)
        assert status == 200
        seen += [one["id"] for one in page["notifications"]]
        following = page["page"].get("next", "")
    assert seen == parts
    assert following == ""

    assert quay.ask("DELETE", path)[0] == 200
    receipt = f"SELECT status FROM receipt WHERE notification_id = '{identity}'"
    assert quay.deployment.psql("notifier", receipt) in ([["deleted"]], [])
    # Quay takes 404 for "not there", and Clair says 500 for an id it does not know: it comes from Clair, not from the edge.
    status, headers, _ = quay.ask("DELETE", f"/notifier/api/v1/notification/{uuid.uuid4()}")
    assert status == 500
    assert headers["content-type"].startswith("application/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/indexer/api/v1/index_report"),
        ("DELETE", "/indexer/api/v1/index_report/"),
        ("DELETE", "/indexer/api/v1/index_state"),
        ("DELETE", "/matcher/api/v1/internal/update_operation/" + "0" * 8),
        ("GET", "/matcher/api/v1/internal/update_operation"),
    ],
)
def test_nothing_more_is_opened_than_quay_needs(quay: Quay, method: str, path: str) -> None:
    status, headers, _ = quay.ask(method, path)

    assert status in (400, 403, 404, 405)
    assert not headers.get("content-type", "").startswith("application/")


def test_other_issuers_are_strangers(quay: Quay) -> None:
    signed = token(quay.deployment, "harbor")

    status = request(
        quay.deployment.edge_url, "GET", "/indexer/api/v1/index_state", {"Authorization": f"Bearer {signed}"}
    )

    assert status[0] == 401


def test_the_block_for_quay_holds_what_its_client_needs(quay: Quay) -> None:
    hidden = clair(quay.deployment, "quay").stdout
    shown = clair(quay.deployment, "quay", "--show-key").stdout

    key = (quay.deployment.root / "secrets" / "psk").read_text(encoding="utf-8").strip()
    assert f'SECURITY_SCANNER_V4_ENDPOINT: "{quay.deployment.edge_url}"' in shown
    assert f'SECURITY_SCANNER_V4_PSK: "{key}"' in shown
    assert key not in hidden


def test_a_rotated_key_is_in_use_after_up(quay: Quay) -> None:
    before = token(quay.deployment, "quay")

    clair(quay.deployment, "secrets", "rotate", "psk")
    clair(quay.deployment, "up")

    def answered() -> bool:
        # Traefik takes a recreated service back at its next health check.
        return quay.ask("GET", "/indexer/api/v1/index_state")[0] == 200

    wait_until(answered, "the new key to be taken", 30)
    old = request(quay.deployment.edge_url, "GET", "/indexer/api/v1/index_state", {"Authorization": f"Bearer {before}"})
    assert old[0] == 401
