"""A real Traefik on loopback with a rendered configuration, in front of an upstream that records what reached it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.places import tool
from tests.support.projects import Project

START_SECONDS = 15
# Traefik's own log lines that are no mistake of the configuration: the certificate authority of the tests does not answer.
EXPECTED_ERRORS = ("acme",)


@dataclass(frozen=True)
class Received:
    """A request as it reached the upstream."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Upstream:
    """Stands in for all of Clair's services: answers 200 to everything and remembers it, health checks left out."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def parse_request(self) -> bool:
                readable = super().parse_request()
                if not readable:
                    received.append(Received("unreadable", repr(self.raw_requestline), {}, b""))
                return readable

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size + 2)[:-2]
                    self.rfile.readline()
                if self.path != "/readyz":
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    received.append(Received(self.command, self.path, headers, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):  # any method
                    return self.answer
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(folder: Path, hostname: str) -> None:
    """Write a self-signed certificate and its key, tls.crt and tls.key."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={hostname}", "-addext", f"subjectAltName=DNS:{hostname}"),
            *("-keyout", "tls.key", "-out", "tls.crt"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@dataclass
class Edge:
    """A running Traefik with a project's configuration; only addresses, paths and upstreams are rewritten."""

    project: Project
    folder: Path
    upstream: Upstream = field(default_factory=Upstream)
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Edge:
        """Start Traefik and wait until it has read its dynamic configuration; raises AssertionError with its log."""
        config = self._rewrite()
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([tool("traefik"), f"--configFile={config}"], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, f"traefik ended:\n{self.log_text()}"
            assert time.monotonic() < deadline, f"traefik has no routers:\n{self.log_text()}"
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End Traefik and the upstream."""
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=START_SECONDS)
        self.upstream.server.shutdown()
        self.upstream.server.server_close()

    def log_text(self) -> str:
        """Return Traefik's log."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def complaints(self) -> list[str]:
        """Return the errors and warnings of Traefik's log."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        found = [line for line in lines if line["level"] in ("warn", "error", "fatal", "panic")]
        return [json.dumps(line) for line in found if not any(word in json.dumps(line) for word in EXPECTED_ERRORS)]

    def rawdata(self) -> dict[str, Any]:
        """Return what Traefik made of its configuration."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["traefik"], timeout=5)
        connection.request("GET", "/api/rawdata")
        parsed: dict[str, Any] = json.loads(connection.getresponse().read())
        return parsed

    def send(self, request: bytes, entry_point: str = "edge", server_name: str = "") -> tuple[int, dict[str, str]]:
        """Send bytes as they are, by TLS if a server name is given, and return the status and headers of the first answer."""
        with socket.create_connection(("127.0.0.1", self.ports[entry_point]), timeout=5) as plain:
            stream = _unverified().wrap_socket(plain, server_hostname=server_name) if server_name else plain
            stream.sendall(request)
            answer = http.client.HTTPResponse(stream)
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}

    def converse(self, request: bytes) -> bytes:
        """Send bytes as they are to the edge and return everything that comes back until Traefik closes the connection."""
        with socket.create_connection(("127.0.0.1", self.ports["edge"]), timeout=5) as stream:
            stream.sendall(request)
            return b"".join(iter(lambda: stream.recv(65536), b""))

    def _is_ready(self) -> bool:
        try:
            routers = self.rawdata().get("routers", {})
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return any(name.endswith("@file") for name in routers)

    def _rewrite(self) -> Path:
        """Write the project's configuration for this machine and return the static file's path."""
        shutil.copytree(self.project.folder / "traefik" / "dynamic", self.folder / "dynamic")
        static = self.project.yaml("traefik/traefik.yaml")
        self.ports = {name: free_port() for name in [*static["entryPoints"], "traefik"]}
        static["entryPoints"]["traefik"] = {"http": static["entryPoints"]["edge"]["http"]}
        for name, entry_point in static["entryPoints"].items():
            entry_point["address"] = f"127.0.0.1:{self.ports[name]}"
        static["api"] = {"insecure": True}
        static["providers"]["file"]["directory"] = str(self.folder / "dynamic")
        static["providers"]["providersThrottleDuration"] = "50ms"
        for resolver in static.get("certificatesResolvers", {}).values():
            resolver["acme"] |= {"storage": str(self.folder / "acme.json"), "caServer": "https://127.0.0.1:1/directory"}
        for path in (self.folder / "dynamic").iterdir():
            text = path.read_text(encoding="utf-8").replace("/etc/traefik/", f"{self.folder}/")
            dynamic = yaml.safe_load(text)
            for service in dynamic.get("http", {}).get("services", {}).values():
                for server in service["loadBalancer"]["servers"]:
                    server["url"] = f"http://127.0.0.1:{self.upstream.port}"
                # Once, and with patience: a busy machine must not turn an upstream away.
                service["loadBalancer"]["healthCheck"] |= {
                    "port": self.upstream.port,
                    "interval": "1h",
                    "timeout": "30s",
                }
            path.write_text(yaml.safe_dump(dynamic), encoding="utf-8")
        if (hostname := self.project.facts["edge"]["hostname"]) and self.project.facts["edge"]["tls"] == "files":
            make_certificate(self.folder, hostname)
        path = self.folder / "traefik.yaml"
        path.write_text(yaml.safe_dump(static), encoding="utf-8")
        return path


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
