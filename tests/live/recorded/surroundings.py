"""What Clair had around it when it was recorded: a registry with two images, feeds, a receiver of notifications, Traefik."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import subprocess
import tarfile
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from tests.ops.scan.servers import Registry, Reply, Request, Server
from tests.support.places import tool
from tests.support.recordings import document
from tests.support.traefik import START_SECONDS, free_port

DEBIAN = {
    "etc/os-release": 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nVERSION="12 (bookworm)"\n'
    "VERSION_CODENAME=bookworm\n",
    "var/lib/dpkg/status": "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\n"
    "Version: 3.0.11-1~deb12u2\n\nPackage: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib\n"
    "Version: 1:1.2.13.dfsg-1\n\n",
    "var/lib/dpkg/info/libssl3.list": "/.\n",
}
ALPINE = {
    "etc/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME="Alpine Linux v3.18"\n',
    "lib/apk/db/installed": "P:busybox\nV:1.36.1-r0\nA:x86_64\no:busybox\nL:GPL-2.0-only\n\n"
    "P:libssl3\nV:3.1.0-r4\nA:x86_64\no:openssl\nL:Apache-2.0\n\n",
}
_URGENCY = {"Low": "unimportant", "Medium": "low", "High": "medium", "Critical": "high"}


def pack(files: Mapping[str, str]) -> bytes:
    """Return a layer of these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


class RecordedRegistry(Registry):
    """The registry with the two images; what it does not have it refuses in the words of Docker's registry."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = {"debian": pack(DEBIAN), "alpine": pack(ALPINE)}
        self.digests = {
            "debian": self.push("demo/debian", "12", layers=(self.layers["debian"],)),
            "alpine": self.push("demo/alpine", "3.18", layers=(self.layers["alpine"],)),
        }

    def answer(self, request: Request) -> Reply:
        blob = re.fullmatch(r"/v2/(.+)/blobs/(.+)", request.path)
        if blob and blob.group(1) == "demo/nope":
            return _refusal("BLOB_UNKNOWN", "blob unknown to registry", blob.group(2))
        reply = super().answer(request)
        if reply.status != 404:
            return reply
        return _refusal("MANIFEST_UNKNOWN", "manifest unknown", {"Tag": request.path.rpartition("/")[2]})


def _refusal(code: str, message: str, detail: Any) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}, separators=(",", ":"))
    return Reply(404, body.encode() + b"\n", {"Content-Type": "application/json; charset=utf-8"})


class Feeds(Server):
    """The feeds of Alpine and Debian: closed at first, then with what the recorded answers say they held, and their fingerprints."""

    def __init__(self, release: str) -> None:
        super().__init__()
        self.opened = False  # every answer is 404 until it is set
        recording = document(release)
        answers = {one["name"]: one["body"] for one in recording["http"]}
        self._fingerprints = {
            name: found[0]["fingerprint"] for name, found in answers["update_operation latest only"].items()
        }
        text = next(one["stdout"] for one in recording["clairctl"] if one["name"] == "report, text, alpine")
        self._alpine = _security_fixes(text)
        self._debian: dict[str, dict[str, Any]] = {}
        for _, entry in sorted(
            answers["vulnerability_report"]["vulnerabilities"].items(), key=lambda item: int(item[0])
        ):
            if entry["distribution"]["did"] == "debian":
                fixed = entry["fixed_in_version"]
                self.add(entry["package"]["name"], entry["name"], entry["description"], entry["severity"], fixed)

    def add(self, package: str, name: str, description: str, urgency: str, fixed: str) -> None:
        """Add a vulnerability to Debian's feed."""
        release = {"status": "resolved" if fixed else "open", "urgency": urgency}
        facts = {"description": description, "releases": {"bookworm": {**release, "fixed_version": fixed}}}
        self._debian.setdefault(package, {})[name] = facts

    def add_notified(self, notified: Mapping[str, Any]) -> None:
        """Add the vulnerability that a recorded notification is about; the feed has a new fingerprint then."""
        self.add(notified["package"]["name"], notified["name"], notified["description"],
                 _URGENCY[notified["severity"]], notified["fixed_in_version"])  # fmt: skip
        self._fingerprints["debian/updater"] = "Tue, 24 Nov 2026 00:03:00 GMT"

    def answer(self, request: Request) -> Reply:
        if not self.opened:
            return Reply(404)
        fixed = {
            "/alpine/last-update": b"2026-11-24\n",
            "/debian/dists/": b'<a href="bookworm/">bookworm/</a>',
            "/debian/dists/bookworm/Release": b"Origin: Debian\nVersion: 12.7\n",
        }
        if request.path in fixed:
            return Reply(200, fixed[request.path])
        if request.path == "/tracker.json":
            return Reply(200, self._debian, {"Last-Modified": self._fingerprints["debian/updater"]})
        folder = re.fullmatch(r"/alpine/v3\.(\d+)/", request.path)
        if folder and 3 <= int(folder.group(1)) <= 19:
            return Reply(200)
        found = re.fullmatch(r"/alpine/(v3\.\d+)/(main|community)\.json", request.path)
        updater = f"alpine-{found.group(2)}-{found.group(1)}-updater" if found else ""
        if updater not in self._fingerprints:
            return Reply(404)
        packages = (
            self._alpine if updater == "alpine-main-v3.18-updater" else {"unrelated": {"1-r0": ["CVE-2000-0001"]}}
        )
        listed = [{"pkg": {"name": name, "secfixes": fixes}} for name, fixes in packages.items()]
        return Reply(200, {"packages": listed}, {"ETag": self._fingerprints[updater]})


def _security_fixes(report: str) -> dict[str, dict[str, list[str]]]:
    """Return Alpine's feed that a text report was made from: package, fixed version, names."""
    sources = {"busybox": "busybox", "libssl3": "openssl"}
    fixes: dict[str, dict[str, list[str]]] = {}
    for package, name, fixed in re.findall(r"found (\S+)\s+\S+\s+(\S+)\s+\(fixed: (\S+)\)", report):
        fixes.setdefault(sources[package], {}).setdefault(fixed, []).append(name)
    return fixes


class Receiver(Server):
    """What takes notifications: remembers each POST in the words of the recordings."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[str] = []
        self.callbacks: list[str] = []

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        body = b""
        while size := int(handler.rfile.readline(), 16):
            body += handler.rfile.read(size + 2)[:-2]
        handler.rfile.readline()
        headers = dict(handler.headers.items())
        headers["Authorization"] = re.sub(r"Bearer \S+\.\S+\.\S+", "Bearer <token>", headers.get("Authorization", ""))
        self.posts.append(f"{handler.command} {headers} {body.decode()}")
        super().send(handler, reply)
        self.callbacks.append(json.loads(body)["callback"])

    def answer(self, request: Request) -> Reply:
        return Reply(200)


class Edge:
    """A real Traefik before the three services, each below its own prefix; it knows no health check, as an edge at first."""

    def __init__(self, folder: Path, services: Mapping[str, int]) -> None:
        folder.mkdir()
        self.port = free_port()
        dynamic = {"http": {"routers": {}, "services": {}}}
        for name, port in services.items():
            rule = f"PathPrefix(`/{name}/`)"
            dynamic["http"]["routers"][name] = {"rule": rule, "service": name, "entryPoints": ["edge"]}
            dynamic["http"]["services"][name] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}
        (folder / "dynamic.yaml").write_text(yaml.safe_dump(dynamic), encoding="utf-8")
        static = {
            "entryPoints": {"edge": {"address": f"127.0.0.1:{self.port}"}},
            "providers": {"file": {"filename": str(folder / "dynamic.yaml")}},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "ping": {"entryPoint": "edge"},
        }
        (folder / "traefik.yaml").write_text(yaml.safe_dump(static), encoding="utf-8")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [tool("traefik"), f"--configFile={folder / 'traefik.yaml'}"], stdout=log, stderr=log
            )
        limit = time.monotonic() + START_SECONDS
        while not self._routes():
            assert time.monotonic() < limit and self._process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_SECONDS)

    def _routes(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/indexer/")
            return connection.getresponse().status != 404
        except OSError:
            return False
        finally:
            connection.close()
