"""The rendered edge in a real Traefik: it loads without a complaint, has exactly the expected routers, and lets clients through."""

from __future__ import annotations

import pytest

from tests.conftest import Render
from tests.render.conftest import StartEdge
from tests.support.projects import SERVICES, Project

EDGES = ["defaults", "quay", "no-notifier", "replicas", "tls-files", "acme", "everything"]

DIGESTS = {"sha256": "sha256:" + "0123456789abcdef" * 4, "sha512": "sha512:" + "0123456789abcdef" * 8}
REPORT = f"/indexer/api/v1/index_report/{DIGESTS['sha256']}"
NOTIFICATION = "/notifier/api/v1/notification/0b7a2c52-0c5e-4f7b-9d2e-0d5f3f1c9a11"

ALLOWED = [
    ("POST", "/indexer/api/v1/index_report"),
    ("GET", REPORT),
    ("GET", f"/indexer/api/v1/index_report/{DIGESTS['sha512']}"),
    ("GET", "/indexer/api/v1/index_state"),
    ("GET", f"/matcher/api/v1/vulnerability_report/{DIGESTS['sha256']}"),
    ("GET", f"/matcher/api/v1/vulnerability_report/{DIGESTS['sha512']}"),
    ("GET", NOTIFICATION),
]
FOR_QUAY = [("DELETE", REPORT), ("DELETE", NOTIFICATION)]
OPERATIONS = [
    ("DELETE", "/indexer/api/v1/index_report"),
    ("GET", "/indexer/api/v1/internal/affected_manifest"),
    ("POST", "/indexer/api/v1/internal/affected_manifest"),
    ("GET", "/matcher/api/v1/internal/update_operation?latest=true"),
    ("DELETE", "/matcher/api/v1/internal/update_operation/0b7a2c52-0c5e-4f7b-9d2e-0d5f3f1c9a11"),
    ("DELETE", NOTIFICATION),
    *ALLOWED,
]


def request(method: str, target: str, *headers: str, body: str = "", host: str = "clair.example.com") -> bytes:
    """Return an HTTP/1.1 request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def expected_routers(project: Project) -> set[str]:
    """Return the routers that a project's answers ask for."""
    facts = project.facts
    has_notifier = facts["notifier_delivery"] != "none"
    names = {"edge-index", "edge-index-report", "edge-index-state", "edge-vulnerability-report"}
    names |= {"edge-notification"} if has_notifier else set()
    names |= {"edge-index-report-delete"} if facts["quay_enabled"] else set()
    names |= {"edge-notification-delete"} if facts["quay_enabled"] and has_notifier else set()
    names |= {"edge-redirect"} if facts["edge"]["tls"] != "off" else set()
    return names | {f"operations-{name}" for name in SERVICES if name != "notifier" or has_notifier}


@pytest.mark.parametrize("name", EDGES)
def test_traefik_has_exactly_the_expected_routers_and_no_complaint(
    start_edge: StartEdge, render: Render, name: str
) -> None:
    edge = start_edge(name)

    routers = {key: router for key, router in edge.rawdata()["routers"].items() if key.endswith("@file")}

    assert {key.removesuffix("@file") for key in routers} == expected_routers(render(name))
    assert {key: router["status"] for key, router in routers.items()} == dict.fromkeys(routers, "enabled")
    assert edge.complaints() == []


@pytest.mark.parametrize("name", EDGES)
def test_every_router_keeps_to_its_entry_point(start_edge: StartEdge, name: str) -> None:
    routers = start_edge(name).rawdata()["routers"]

    entry_points = {key: router["entryPoints"] for key, router in routers.items() if key.endswith("@file")}

    assert all(points == [key.split("-")[0]] for key, points in entry_points.items()), entry_points


@pytest.mark.parametrize("query", ["", "?next=1&page_size=500&x=%2f"], ids=["plain", "with-query"])
@pytest.mark.parametrize(("method", "path"), ALLOWED, ids=lambda value: value)
def test_public_request_reaches_clair_as_it_was_sent(start_edge: StartEdge, method: str, path: str, query: str) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()
    body = '{"hash": "x"}' if method == "POST" else ""

    status, _ = edge.send(request(method, path + query, "Authorization: Bearer x", body=body))

    assert status == 200
    assert [(got.method, got.target, got.body.decode()) for got in edge.upstream.received] == [
        (method, path + query, body)
    ]
    assert edge.upstream.received[0].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(("method", "path"), FOR_QUAY, ids=lambda value: value)
def test_delete_passes_only_for_quay(start_edge: StartEdge, method: str, path: str) -> None:
    with_quay, without = start_edge("quay"), start_edge("defaults")
    with_quay.upstream.received.clear()
    without.upstream.received.clear()

    statuses = with_quay.send(request(method, path))[0], without.send(request(method, path))[0]

    assert statuses == (200, 404)
    assert [(got.method, got.target) for got in with_quay.upstream.received] == [(method, path)]
    assert without.upstream.received == []


def test_quay_gets_no_bulk_delete(start_edge: StartEdge) -> None:
    edge = start_edge("quay")
    edge.upstream.received.clear()

    status, _ = edge.send(request("DELETE", "/indexer/api/v1/index_report", body="[]"))

    assert (status, edge.upstream.received) == (404, [])


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: value)
def test_operations_entry_point_has_the_whole_api(start_edge: StartEdge, method: str, path: str) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()

    status, _ = edge.send(request(method, path), "operations")

    assert status == 200
    assert [(got.method, got.target) for got in edge.upstream.received] == [(method, path)]


@pytest.mark.parametrize(
    "path", ["/", "/indexerx/api/v1/index_state", "/metrics", "/debug/pprof/", "/readyz", "/ping", "/api/rawdata"]
)
def test_operations_entry_point_has_nothing_else(start_edge: StartEdge, path: str) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()

    status, _ = edge.send(request("GET", path), "operations")

    assert (status, edge.upstream.received) == (404, [])


@pytest.mark.parametrize(("method", "path"), ALLOWED, ids=lambda value: value)
def test_tls_serves_the_public_paths(start_edge: StartEdge, method: str, path: str) -> None:
    edge = start_edge("tls-files")

    status, _ = edge.send(request(method, path), server_name="clair.example.com")

    assert status == 200


@pytest.mark.parametrize("name", ["tls-files", "acme"])
@pytest.mark.parametrize("path", ["/", "/indexer/api/v1/index_state?x=1", "/matcher/api/v1/internal/update_operation"])
def test_plain_http_on_the_tls_port_is_sent_to_https_and_never_to_clair(
    start_edge: StartEdge, name: str, path: str
) -> None:
    edge = start_edge(name)
    edge.upstream.received.clear()
    port = edge.project.facts["edge"]["port"]

    status, headers = edge.send(request("GET", path))

    assert status in (301, 308)
    assert headers["location"] == f"https://clair.example.com{'' if port == 443 else f':{port}'}{path}"
    assert edge.upstream.received == []


def test_every_replica_is_an_upstream_by_name(render: Render) -> None:
    services = render("replicas").yaml("traefik/dynamic/services.yaml")["http"]["services"]

    urls = {
        name: [server["url"] for server in service["loadBalancer"]["servers"]] for name, service in services.items()
    }

    assert urls == {
        "indexer": ["http://scanners-indexer-1:6060", "http://scanners-indexer-2:6060"],
        "matcher": [f"http://scanners-matcher-{number}:6060" for number in (1, 2, 3)],
        "notifier": ["http://scanners-notifier-1:6060", "http://scanners-notifier-2:6060"],
    }


def test_upstreams_are_asked_whether_they_are_ready_where_nothing_is_routed(render: Render) -> None:
    services = render("defaults").yaml("traefik/dynamic/services.yaml")["http"]["services"]

    checks = {
        (service["loadBalancer"]["healthCheck"]["path"], service["loadBalancer"]["healthCheck"]["port"])
        for service in services.values()
    }

    assert checks == {("/readyz", 8089)}


def test_old_tls_versions_are_refused(render: Render) -> None:
    assert render("tls-files").yaml("traefik/dynamic/tls.yaml")["tls"]["options"]["default"] == {
        "minVersion": "VersionTLS12"
    }


def test_dashboard_docker_and_statistics_are_off(render: Render) -> None:
    static = render("everything").yaml("traefik/traefik.yaml")

    assert set(static) == {"global", "log", "ping", "entryPoints", "providers", "certificatesResolvers"}
    assert static["global"] == {"checkNewVersion": False, "sendAnonymousUsage": False}
    assert list(static["providers"]) == ["file"]


def test_certificates_of_the_authority_are_kept(render: Render) -> None:
    resolver = render("acme").yaml("traefik/traefik.yaml")["certificatesResolvers"]["acme"]["acme"]

    assert resolver == {
        "email": "ops@example.com",
        "caServer": "https://acme-v02.api.letsencrypt.org/directory",
        "storage": "/tmp/acme.json",
        "tlsChallenge": {},
    }
