"""The edge is an allow-list: no spelling of anything else reaches Clair. Raw sockets, so that no client tidies a path up.

With Clair 4.5.1 behind a deny rule, an encoded slash was a way to internal data; each trick here was tried against a rendered edge.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.render.conftest import StartEdge
from tests.render.test_edge_routing import DIGESTS, NOTIFICATION, REPORT, request

REFUSED = {400, 403, 404, 405}
DIGEST = DIGESTS["sha256"]
INTERNAL = [
    "/matcher/api/v1/internal/update_operation",
    "/matcher/api/v1/internal/update_diff",
    "/indexer/api/v1/internal/affected_manifest",
]
PUBLIC = ["/indexer/api/v1/index_report", REPORT, "/indexer/api/v1/index_state", NOTIFICATION]


def spellings(path: str) -> Iterator[str]:
    """Yield ways to write a path that some server or proxy takes for the path itself."""
    head, tail = path.split("/api/v1/")
    yield from (
        path,
        f"{path}/",
        f"{path}?x=1",
        f"{path}#x",
        f"{path}/.",
        f"{path}/x/..",
        path.upper(),
        path.replace("api", "API"),
    )
    for slash in (
        "%2f",
        "%2F",
        "%252f",
        "%c0%af",
        "%e2%88%95",
        "//",
        "/./",
        "///",
        "\\",
        "%5c",
        "/;/",
        "/%2e/",
        "/x/../",
        "/x/%2e%2e/",
    ):
        yield f"{head}/api/v1{slash}{tail}"
        yield f"{head}{slash}api/v1/{tail}"
        yield f"{slash}{head.lstrip('/')}/api/v1/{tail}"
        yield f"{head}/api/v1/{tail.replace('/', slash)}"
    for start in ("/indexer/api/v1/index_state", f"/indexer/api/v1/index_report/{DIGEST}", "/x"):
        for up in ("..", "%2e%2e", ".%2e", "..%2f..", "..;", "..%5c"):
            yield f"{start}/{up}{path}"
            yield f"{start}/{up}/{up}/{up}/{up}{path}"
            yield f"{start}/{up}/internal/update_operation"
    yield from (
        path.replace("internal", word)
        for word in ("%69nternal", "inter%6eal", "Internal", "internal%00", "internal%0a")
    )
    yield from (f"{path}{end}" for end in ("%00", "%20", "%09", "%0d%0a", ";x=y", "%3fx", "%23x", ".json", "%"))
    yield from (
        f"http://127.0.0.1{path}",
        f"https://clair{path}",
        f"//clair{path}",
        f"/{path}",
        path.lstrip("/"),
        f"*{path}",
        f"?{path}",
    )


ATTACKS = sorted({spelling for path in INTERNAL for spelling in spellings(path)})


def reached(start_edge: StartEdge, requests: list[bytes], name: str = "defaults", server_name: str = "") -> list[str]:
    """Send each request and return what was wrong: a status that is no refusal, or anything that reached the upstream."""
    edge = start_edge(name)
    edge.upstream.received.clear()
    wrong = []
    for raw in requests:
        status, _ = edge.send(raw, server_name=server_name)
        if status not in REFUSED:
            wrong.append(f"{raw[:120]!r}: {status}")
    return wrong + [f"reached: {got.method} {got.target}" for got in edge.upstream.received]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_no_spelling_of_an_internal_path_reaches_clair(start_edge: StartEdge, method: str) -> None:
    requests = [request(method, spelling) for spelling in ATTACKS if " " not in spelling]

    assert len(requests) > 200
    assert reached(start_edge, requests) == []


def test_no_spelling_of_an_internal_path_reaches_clair_by_tls(start_edge: StartEdge) -> None:
    requests = [request("GET", spelling) for spelling in ATTACKS[::4]]

    assert reached(start_edge, requests, "tls-files", "clair.example.com") == []


def test_quay_s_deletes_open_no_way_to_internal_paths(start_edge: StartEdge) -> None:
    requests = [request("DELETE", spelling) for spelling in ATTACKS]

    assert reached(start_edge, requests, "quay") == []


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "Delete", "X"])
def test_no_other_method_reaches_clair(start_edge: StartEdge, method: str) -> None:
    requests = [request(method, path) for path in PUBLIC]

    assert reached(start_edge, requests) == []


def test_reading_methods_do_not_write_and_writing_ones_do_not_read(start_edge: StartEdge) -> None:
    requests = [
        request("GET", "/indexer/api/v1/index_report"),
        request("HEAD", "/indexer/api/v1/index_report"),
        request("POST", REPORT),
        request("POST", "/indexer/api/v1/index_state"),
        request("POST", NOTIFICATION),
    ]

    assert reached(start_edge, requests) == []


def test_connect_is_no_way_out(start_edge: StartEdge) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()

    status, _ = edge.send(request("CONNECT", f"127.0.0.1:{edge.upstream.port}"))

    assert status >= 400
    assert edge.upstream.received == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/indexer/api/v1/index_report/",
            "/indexer/api/v1/index_reportx",
            "/indexerx/api/v1/index_state",
            "/indexer/api/v2/index_state",
        ),
        *(
            "/indexer/api/v1/index_state/",
            "/indexer/api/v1/index_state/x",
            "/indexer/api/v1/INDEX_STATE",
            "/indexer",
            "/indexer/",
        ),
        *(
            f"{REPORT}/",
            f"{REPORT}0",
            REPORT[:-1],
            f"{REPORT}/x",
            f"{REPORT}%0a",
            f"{REPORT}%00",
            f"{REPORT}.json",
            f"{REPORT};x",
        ),
        *(
            REPORT.replace("sha256", "sha512"),
            REPORT.replace("sha256", "md5"),
            REPORT.replace("a", "A"),
            f"/x{REPORT}",
            f"{REPORT}{REPORT}",
        ),
        *(
            f"{NOTIFICATION}/",
            f"{NOTIFICATION}0",
            NOTIFICATION[:-1],
            NOTIFICATION.upper(),
            "/notifier/api/v1/notification/",
        ),
        *(
            "/",
            "/metrics",
            "/debug/pprof/",
            "/readyz",
            "/healthz",
            "/openapi/v1",
            "/robots.txt",
            "/ping",
            "/api/rawdata",
            "/dashboard/",
        ),
    ],
)
def test_nothing_beside_the_public_paths_reaches_clair(start_edge: StartEdge, path: str) -> None:
    assert reached(start_edge, [request("GET", path), request("POST", path), request("DELETE", path)], "quay") == []


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x-http-method-override"]
)
def test_header_that_asks_for_another_method_is_taken_away(start_edge: StartEdge, header: str) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()

    edge.send(request("POST", "/indexer/api/v1/index_report", f"{header}: DELETE"))

    assert [got.method for got in edge.upstream.received] == ["POST"]
    assert not [name for name in edge.upstream.received[0].headers if "method" in name]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /matcher/api/v1/internal/update_operation HTTP/1.0\r\n\r\n",
        b"GET /matcher/api/v1/internal/update_operation\r\n\r\n",
        b"GET /indexer/api/v1/index_state /matcher/api/v1/internal/update_operation HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /indexer/api/v1/index_state HTTP/1.1\r\nHost: x\r\nX_HTTP_Method_Override: DELETE\r\n\r\n",
        b"GET /indexer/api/v1/index_state HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /matcher/api/v1/\xffinternal/update_operation HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["http-1.0", "no-version", "two-targets", "alias-header", "two-hosts", "no-utf-8"],
)
def test_malformed_request_is_refused(start_edge: StartEdge, raw: bytes) -> None:
    assert reached(start_edge, [raw]) == []


def test_request_hidden_in_a_body_is_a_request_of_its_own(start_edge: StartEdge) -> None:
    edge = start_edge("defaults")
    edge.upstream.received.clear()
    hidden = request("DELETE", "/indexer/api/v1/index_report").decode()
    smuggled = (
        "POST /indexer/api/v1/index_report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Length: {len(hidden) + 5}\r\n\r\n0\r\n\r\n{hidden}"
    )

    answers = edge.converse(smuggled.encode())

    assert [got.method for got in edge.upstream.received if got.method != "POST"] == []
    assert b" 404 " in answers or answers.count(b"HTTP/1.1") == 1


def test_what_reaches_clair_is_noticed(start_edge: StartEdge) -> None:
    wrong = reached(start_edge, [request("GET", REPORT)])

    assert len(wrong) == 2
    assert wrong[0].endswith(": 200")
    assert wrong[1] == f"reached: GET {REPORT}"
