"""HTTP with a deadline, TLS under another name, and proxies."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops.errors import Problem
from ops.network.choose_proxy import Proxy, ProxySettings
from ops.network.open_connection import Deadline, NoAnswer, Trust, pem_files
from ops.network.web import Client

from .servers import Reply, Request, Server

DIRECT = ProxySettings()
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing: it makes certificates")


class Site(Server):
    """A site that answers with what was asked for."""

    def answer(self, request: Request) -> Reply:
        return Reply(200, {"path": request.path, "host": request.headers["Host"], "body": request.body.decode()})


@pytest.fixture
def site() -> Iterator[Site]:
    """A plain HTTP site."""
    server = Site()
    yield server
    server.close()


def get(url: str, seconds: float = 10, client: Client | None = None) -> tuple[int, bytes]:
    answer = (client or Client(Trust(), DIRECT)).request("GET", url, Deadline(seconds))
    return answer.status, answer.body


def failure(url: str, seconds: float = 10, client: Client | None = None) -> NoAnswer:
    with pytest.raises(NoAnswer) as found:
        get(url, seconds, client)
    return found.value


def test_a_connection_is_kept_for_the_next_request(site: Site) -> None:
    client = Client(Trust(), DIRECT)
    accepted: list[object] = []
    original = site._server.get_request
    site._server.get_request = lambda: (accepted.append(1), original())[1]  # type: ignore[method-assign,func-returns-value]

    for _ in range(3):
        client.request("POST", f"http://127.0.0.1:{site.port}/", Deadline(10), body=b"x")

    assert len(accepted) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(site: Site) -> None:
    client = Client(Trust(), DIRECT)
    site.fail_once("GET", "/second", Reply(fault="close"))
    get(f"http://127.0.0.1:{site.port}/first", client=client)

    assert get(f"http://127.0.0.1:{site.port}/second", client=client)[0] == 200


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        pytest.param(Reply(fault="close"), "lost", "the connection was closed", id="closed before the answer"),
        pytest.param(Reply(200, b"x" * 100, fault="cut"), "lost", "the answer was cut short after 50 bytes", id="cut"),
        pytest.param(
            Reply(200, b"x" * 200, fault="drip"), "late", "no complete answer within 0.4 s", id="a byte now and then"
        ),
        pytest.param(Reply(fault="hang"), "late", "no complete answer within 0.4 s", id="no answer"),
    ],
)
def test_an_answer_that_is_not_complete_is_none(site: Site, reply: Reply, kind: str, reason: str) -> None:
    site.fail("GET", "/", reply)

    started = time.monotonic()
    found = failure(f"http://127.0.0.1:{site.port}/", 0.4)

    assert (found.kind, found.reason) == (kind, reason)
    assert time.monotonic() - started < 3


def test_an_answer_over_the_limit_is_not_read_to_its_end(site: Site) -> None:
    site.fail("GET", "/", Reply(200, b"x" * 3_000_000))

    with pytest.raises(NoAnswer, match="larger than 1 MiB"):
        Client(Trust(), DIRECT).request("GET", f"http://127.0.0.1:{site.port}/", Deadline(9), limit_bytes=1024 * 1024)


def test_what_does_not_listen_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/")

    assert (found.kind, found.reason) == ("refused", "connection refused")


def test_what_speaks_no_tls_is_told_apart_from_a_bad_certificate(site: Site) -> None:
    assert failure(f"https://127.0.0.1:{site.port}/").kind == "tls"


@pytest.mark.parametrize("url", ["ftp://r.local/", "http://r.local:99999/", "nonsense"])
def test_what_is_no_address_is_no_answer(url: str) -> None:
    assert failure(url).kind == "other"


class Proxying(Server):
    """A proxy that opens tunnels to one port of loopback, whatever host is asked for, and notes what it was asked."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.tunnel_port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, request: Request) -> Reply:
        self.lines += [f"{request.method} {request.path}", request.headers.get("Proxy-Authorization", "")]
        return Reply(200, b"by proxy")

    def _accept(self) -> None:
        inbound, _ = self._listener.accept()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += inbound.recv(1)
        self.lines += head.decode().split("\r\n")
        outbound = socket.create_connection(("127.0.0.1", self._target))
        inbound.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for pair in ((inbound, outbound), (outbound, inbound)):
            threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            target.sendall(data)


def test_a_plain_request_goes_through_its_proxy_with_the_login(site: Site) -> None:
    proxy = Proxying(site.port)
    client = Client(Trust(), ProxySettings(http=Proxy("127.0.0.1", proxy.port, "user:pw")))

    assert get("http://registry.example/v2/?a=b", client=client) == (200, b"by proxy")
    assert proxy.lines == ["GET http://registry.example/v2/?a=b", "Basic dXNlcjpwdw=="]
    proxy.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of `clair.example` that nobody signed but itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = (folder / "tls.crt", folder / "tls.key")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=clair.example"
    command = ["openssl", *words.split(), "-addext", "subjectAltName=DNS:clair.example"]
    subprocess.run([*command, "-out", str(paths[0]), "-keyout", str(paths[1])], check=True, capture_output=True)
    return paths


@pytest.fixture
def tls_site(certificate: tuple[Path, Path]) -> Iterator[Site]:
    """A site that speaks TLS under the name clair.example."""
    server = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    yield server
    server.close()


@needs_openssl
def test_a_server_is_reached_by_its_address_and_trusted_by_its_name(
    tls_site: Site, certificate: tuple[Path, Path]
) -> None:
    client = Client(Trust(certificates=(certificate[0],)), DIRECT)
    url = f"https://clair.example:{tls_site.port}/indexer"

    answer = client.request("GET", url, Deadline(10), connect_to=("127.0.0.1", tls_site.port))

    assert answer.status == 200
    assert tls_site.requests[0].headers["Host"] == f"clair.example:{tls_site.port}"


@needs_openssl
def test_another_name_or_an_unknown_authority_is_not_trusted(tls_site: Site, certificate: tuple[Path, Path]) -> None:
    trusting = Client(Trust(authorities=(certificate[0],)), DIRECT)

    for client, url in ((Client(Trust(), DIRECT), "https://clair.example"), (trusting, "https://other.example")):
        with pytest.raises(NoAnswer) as found:
            client.request("GET", f"{url}:{tls_site.port}/", Deadline(9), connect_to=("127.0.0.1", tls_site.port))
        assert found.value.kind == "untrusted"
        assert found.value.reason.startswith("the certificate is not trusted: ")


@needs_openssl
def test_tls_goes_through_a_tunnel_of_the_proxy(tls_site: Site, certificate: tuple[Path, Path]) -> None:
    proxy = Proxying(tls_site.port)
    settings = ProxySettings(https=Proxy("127.0.0.1", proxy.tunnel_port, "user:pw"))
    client = Client(Trust(authorities=(certificate[0],)), settings)

    assert get(f"https://clair.example:{tls_site.port}/x", client=client)[0] == 200
    assert proxy.lines[0] == f"CONNECT clair.example:{tls_site.port} HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjpwdw==" in proxy.lines
    proxy.close()


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca" / "own.pem"
    path.parent.mkdir()
    path.write_text("no certificate\n")

    with pytest.raises(Problem) as refusal:
        Trust(pem_files(tmp_path / "ca")).context()

    assert refusal.value.sentence == f"certificate unreadable, {path}: it holds no certificate"


def test_only_certificate_files_count_as_authorities(tmp_path: Path) -> None:
    for name in ("b.crt", "a.pem", "README.md"):
        (tmp_path / name).write_text("")

    assert [path.name for path in pem_files(tmp_path)] == ["a.pem", "b.crt"]
    assert pem_files(tmp_path / "missing") == ()
