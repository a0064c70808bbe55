"""How much memory `./clair scan` takes for a report of 50 MB.

The command is the real one; a server of this process stands in for the edge, the demo's server for the registry, and a
program that answers two statements for the database. Each finding has the form of Clair 4.9.0's, filled to 900 bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.engine import free_ports
from bench.measure import BenchError, Row, call, note
from bench.project import render, with_interpreter
from demo import sample_image, serve

__all__ = ["measure"]

REPORT_BYTES = 50_000_000
FINDING_BYTES = 900
PACKAGES = 4000
LIMIT_MIB = 400
SAMPLE = "sample/debian:12"

# Stands in for `docker exec ... psql`: the feed ledger of a Debian feed that was loaded just now.
DOCKER = """#!{python}
import json, sys, time
now = time.time()
statement = ""
for line in sys.stdin:
    statement += line
    if not line.rstrip().endswith(";"):
        continue
    if "json_build_object" in statement:
        print(json.dumps({{"rows": [["debian/updater", now, now, now, None, False]]}}), flush=True)
    elif "EXISTS" in statement:
        print("t", flush=True)
    statement = ""
"""


def contents(digest: str) -> dict[str, Any]:
    """Return what both reports share: packages of Debian 12."""
    distribution = {
        "id": "1",
        "did": "debian",
        "name": "Debian GNU/Linux",
        "version": "12 (bookworm)",
        "version_code_name": "bookworm",
        "version_id": "12",
        "arch": "",
        "cpe": "",
        "pretty_name": "Debian GNU/Linux 12 (bookworm)",
    }
    packages, environments = {}, {}
    for number in range(PACKAGES):
        key = str(number)
        source = {"id": f"{number}s", "name": f"source-{number}", "version": "1.0-1", "kind": "source"}
        packages[key] = {
            "id": key,
            "name": f"package-{number}",
            "version": "1.0-1",
            "kind": "binary",
            "arch": "amd64",
            "source": source,
        }
        environments[key] = [
            {
                "package_db": "var/lib/dpkg/status",
                "introduced_in": digest,
                "distribution_id": "1",
                "repository_ids": None,
            }
        ]
    return {
        "manifest_hash": digest,
        "packages": packages,
        "distributions": {"1": distribution},
        "repository": {},
        "environments": environments,
    }


def report(digest: str) -> bytes:
    """Return a vulnerability report of REPORT_BYTES, each finding in it about FINDING_BYTES long."""
    document = contents(digest)
    distribution = document["distributions"]["1"]
    vulnerabilities: dict[str, Any] = {}
    assigned: dict[str, list[str]] = {}
    count = (REPORT_BYTES - len(json.dumps(document))) // (FINDING_BYTES + 12)
    for number in range(count):
        key = str(number)
        finding = {
            "id": key,
            "updater": "debian/updater",
            "name": f"CVE-2024-{number:05}",
            "description": "",
            "issued": "0001-01-01T00:00:00Z",
            "links": f"https://security-tracker.debian.org/tracker/CVE-2024-{number:05}",
            "severity": "low",
            "normalized_severity": ("Low", "Medium", "High", "Unknown")[number % 4],
            "package": {"id": "", "name": f"source-{number % PACKAGES}", "version": "", "kind": "source"},
            "distribution": distribution,
            "repository": {"cpe": ""},
            "fixed_in_version": "1.0-2",
        }
        finding["description"] = "x" * (FINDING_BYTES - len(json.dumps(finding)))
        vulnerabilities[key] = finding
        assigned.setdefault(str(number % PACKAGES), []).append(key)
    document.update(vulnerabilities=vulnerabilities, package_vulnerabilities=assigned, enrichments={})
    return json.dumps(document).encode()


def own_address() -> str:
    """Return this machine's address in its network; the command refuses a registry at a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address
            return str(probe.getsockname()[0])
        except OSError as error:
            raise BenchError(f"this machine has no address in a network: {error}") from error


def certificate(address: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the address, which `./clair` trusts by config/ca; return it and its key."""
    files = folder / "registry.pem", folder / "registry.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}"]
    call(["openssl", "req", *kind, *subject, "-out", files[0], "-keyout", files[1]])
    return files


def registry(address: str, folder: Path, files: tuple[Path, Path]) -> ThreadingHTTPServer:
    """Return the demo's server for the images below `folder`, with TLS."""
    server = serve.Server((address, 0), folder, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve in a thread for the block; gives the port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def edge(port: int, digest: str) -> ThreadingHTTPServer:
    """Return a server that answers like Clair behind the edge for one manifest."""
    finished = {"state": "IndexFinished", "success": True, "err": ""}
    answers = {"POST": (201, json.dumps({**contents(digest), **finished}).encode()), "GET": (200, report(digest))}

    class Handler(BaseHTTPRequestHandler):
        """Answers every POST with the index report and every GET with the vulnerability report."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer("POST")

        def do_GET(self) -> None:
            self.answer("GET")

        def answer(self, method: str) -> None:
            status, body = answers[method]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def peak_memory(command: Sequence[str | Path], environment: Mapping[str, str], output: Path) -> tuple[int, float]:
    """Run a program, its output into a file; return its highest memory in bytes and the seconds it took.

    Raises BenchError if it ends with anything but 0 or 1.
    """
    errors = output.with_suffix(".err")
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        started = time.perf_counter()
        process = os.posix_spawn(
            str(command[0]),
            [str(word) for word in command],
            {**os.environ, **environment},
            file_actions=[(os.POSIX_SPAWN_DUP2, stdout.fileno(), 1), (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2)],
        )
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise BenchError(
            f"{' '.join(map(str, command[:2]))}: exit code {code}: {errors.read_text(encoding='utf-8').strip()}"
        )
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit, seconds


def measure() -> list[Row]:
    """Return a row per format of `./clair scan`."""
    note("memory: ./clair scan of a report of 50 MB")
    address = own_address()
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name)
        served = folder / "served"
        digest = sample_image.write_registry(served / "registry")[SAMPLE].digest
        ports = free_ports(2)
        project = render(
            folder / "project", {"architecture": "amd64", "edge_port": ports[0], "operations_port": ports[1]}
        )
        files = certificate(address, folder)
        (project / "config" / "ca").mkdir(exist_ok=True)
        shutil.copy(files[0], project / "config" / "ca")
        call([project / "clair", "secrets"])
        docker = folder / "docker"
        docker.write_text(DOCKER.format(python=sys.executable), encoding="utf-8")
        docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
        environment = {"DOCKER": str(docker), "NO_PROXY": address, "no_proxy": address, **with_interpreter()}
        rows = []
        with serving(registry(address, served, files)) as port, serving(edge(ports[0], digest)):
            for form in ("table", "json"):
                command: list[str | Path] = [project / "clair", "scan", "--format", form, f"{address}:{port}/{SAMPLE}"]
                size, seconds = peak_memory(command, environment, folder / f"report.{form}")
                rows.append(
                    Row(
                        f"highest memory of `./clair scan --format {form}` for a report of 50 MB",
                        f"< {LIMIT_MIB} MiB",
                        f"{size / 1024 / 1024:.0f} MiB",
                        f"{seconds:.1f} s; the output has {(folder / f'report.{form}').stat().st_size / 1e6:.1f} MB",
                    )
                )
    return rows
