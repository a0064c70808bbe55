"""How much memory `./clair fleet` takes for 200 and for 2,000 images, whose reports have 300 findings each.

The command is the real one; servers of this process stand in for the edge and the registry, and a program that answers
two statements for the database (bench/memory.py). Measured is the second run of each list, which also compares.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import stat
import sys
import tempfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.engine import free_ports
from bench.measure import Row, call, note
from bench.memory import DOCKER, certificate, contents, own_address, peak_memory, serving
from bench.project import render, with_interpreter

__all__ = ["measure"]

COUNTS = (200, 2000)
PACKAGES = 100
FINDINGS = 300
# Above the memory at 200 images; Python's own arenas vary by some.
GROWTH_LIMIT = 1.1
STATE = "0123456789abcdef0123456789abcdef"
REPOSITORY = "fleet/app"
CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
LAYER = b"layer"


def digest_of(content: bytes) -> str:
    """Return the sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def manifest(tag: str) -> bytes:
    """Return the manifest of a tag: as many different ones as there are tags, all of the same layer."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(CONFIG), "size": len(CONFIG)}
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(LAYER), "size": len(LAYER)}
    kind = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer], "annotations": {"tag": tag}}
    return json.dumps(document).encode()


def registry_answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return what a registry answers that has every tag."""
    _, _, name = path.rpartition("/")
    blobs = {digest_of(CONFIG): CONFIG, digest_of(LAYER): LAYER}
    if "/manifests/" in path:
        return 200, manifest(name)
    return 200, blobs.get(name, b"{}")


def clair_answers() -> Callable[[str, str, bytes], tuple[int, bytes]]:
    """Return what answers as Clair does behind the edge, for any manifest: two reports, made once."""
    mark = "sha256:" + "0" * 64
    shared = contents(mark)
    for part in ("packages", "environments"):
        shared[part] = dict(list(shared[part].items())[:PACKAGES])
    index = json.dumps({**shared, "state": "IndexFinished", "success": True, "err": ""}).encode()
    vulnerabilities, assigned = {}, {}
    for number in range(FINDINGS):
        vulnerabilities[str(number)] = {
            "id": str(number),
            "updater": "debian/updater",
            "name": f"CVE-2024-{number:05}",
            "description": "x" * 400,
            "links": f"https://security-tracker.debian.org/tracker/CVE-2024-{number:05}",
            "normalized_severity": ("Low", "Medium", "High", "Unknown")[number % 4],
            "fixed_in_version": "1.0-2",
        }
        assigned.setdefault(str(number % PACKAGES), []).append(str(number))
    more = {"vulnerabilities": vulnerabilities, "package_vulnerabilities": assigned, "enrichments": {}}
    report = json.dumps({**shared, **more}).encode()

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path.endswith("/index_state"):
            return 200, json.dumps({"state": STATE}).encode()
        digest = json.loads(body)["hash"] if method == "POST" else path.rpartition("/")[2]
        text = report if "vulnerability_report" in path else index
        return (201 if method == "POST" else 200), text.replace(mark.encode(), digest.encode())

    return answer


def server(address: str, port: int, answer: Callable[[str, str, bytes], tuple[int, bytes]]) -> ThreadingHTTPServer:
    """Return an HTTP server that answers with `answer(method, path, body)`."""

    class Handler(BaseHTTPRequestHandler):
        """Answers GET and POST."""

        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            status, content = answer(self.command, self.path, self.rfile.read(int(self.headers["Content-Length"] or 0)))
            self.send_response(status)
            self.send_header("ETag", f'"{STATE}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    return Server((address, port), Handler)


def measure() -> list[Row]:
    """Return the row of `./clair fleet`'s memory."""
    note(f"fleet-memory: lists of {' and '.join(map(str, COUNTS))} images (a minute or two)")
    address = own_address()
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name)
        ports = free_ports(2)
        answers = {"architecture": "amd64", "edge_port": ports[0], "operations_port": ports[1]}
        project = render(folder / "project", answers)
        files = certificate(address, folder)
        (project / "config" / "ca").mkdir(exist_ok=True)
        shutil.copy(files[0], project / "config" / "ca")
        call([project / "clair", "secrets"])
        docker = folder / "docker"
        docker.write_text(DOCKER.format(python=sys.executable), encoding="utf-8")
        docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
        environment = {"DOCKER": str(docker), "NO_PROXY": address, "no_proxy": address, **with_interpreter()}
        registry = server(address, 0, registry_answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        registry.socket = context.wrap_socket(registry.socket, server_side=True, do_handshake_on_connect=False)
        sizes, times = [], []
        with serving(registry) as port, serving(server("127.0.0.1", ports[0], clair_answers())):
            for count in COUNTS:
                listed = folder / f"{count}.txt"
                listed.write_text("".join(f"{address}:{port}/{REPOSITORY}:{n}\n" for n in range(count)), "utf-8")
                command: list[str | Path] = [project / "clair", "fleet", "--fail-on", "none", listed]
                peak_memory(command, environment, folder / "first.out")
                size, seconds = peak_memory(command, environment, folder / "second.out")
                sizes.append(size / 1024 / 1024)
                times.append(seconds)
    detail = ", ".join(f"{n} images {m:.1f} MiB in {s:.1f} s" for n, m, s in zip(COUNTS, sizes, times, strict=True))
    return [
        Row(
            f"highest memory of `./clair fleet`: {COUNTS[1]} images to {COUNTS[0]}",
            f"<= {GROWTH_LIMIT}",
            f"{sizes[1] / sizes[0]:.2f}",
            f"{detail}; {FINDINGS} findings in each",
        )
    ]
