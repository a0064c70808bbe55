"""The faults that are arranged in this process, in the groups of docs/faults.md."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ops.clair import reach_edge
from ops.errors import UNDECIDED, Problem
from ops.feeds.match_updaters import LedgerRow
from ops.network import web

from tests.support.faults import Fault

from .conftest import FakeLedger
from .local_engine import FakeEngine
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Registry, Reply, recorded


def body_of(name: str) -> bytes:
    """Return the body of a recorded answer."""
    return json.dumps(recorded(name)["body"]).encode()


INDEX, REPORT = body_of("POST index_report"), body_of("vulnerability_report")
HTML = Reply(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"Content-Type": "text/html"})
DEBIAN = "Debian GNU/Linux 12 (bookworm)"
VERIFY = "./clair verify"


@dataclass
class World:
    """All that a fault may change before the command runs."""

    clair: Clair
    registry: Registry
    ledger: FakeLedger
    root: Path
    docker: FakeEngine
    patch: pytest.MonkeyPatch

    @property
    def docker_config(self) -> Path:
        """The user's Docker configuration, made if it is not there."""
        path = self.root.parent / "docker"
        path.mkdir(exist_ok=True)
        return path / "config.json"

    def log_in(self, name: str, password: str) -> None:
        """Store a login for the registry, as `docker login` does."""
        login = base64.b64encode(f"{name}:{password}".encode()).decode()
        self.docker_config.write_text(json.dumps({"auths": {self.registry.name: {"auth": login}}}))

    def age(self, updater: str, hours: float | None, error: str = "") -> None:
        """Let an updater be the only one of the ledger; `hours` ago it succeeded, never if None."""
        now = time.time()
        success = None if hours is None else now - hours * 3600
        self.ledger.rows = {updater: LedgerRow(updater, success, now, success, error)}

    def ignore(self, text: str) -> None:
        """Write the ignore file."""
        (self.root / ".clair-ignore.json").write_text(text, encoding="utf-8")

    def list_images(self, *lines: str) -> None:
        """Write the list of images."""
        (self.root / "images.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


Arrange = Callable[[World], Any]


def _empty(world: World) -> None:
    names = ("packages", "distributions", "environments", "vulnerabilities", "package_vulnerabilities")

    def change(report: dict[str, Any]) -> dict[str, Any]:
        return {**report, **{name: {} for name in names if name in report}}

    world.clair.change_index = world.clair.change_report = change


def _distribution(**fields: str) -> Arrange:
    """Return what makes the image one of another distribution, without findings."""

    def change(report: dict[str, Any]) -> dict[str, Any]:
        distributions = {key: {**value, **fields} for key, value in report["distributions"].items()}
        nothing = {name: {} for name in ("vulnerabilities", "package_vulnerabilities") if name in report}
        return {**report, "distributions": distributions, **nothing}

    def arrange(world: World) -> None:
        world.clair.change_index = world.clair.change_report = change

    return arrange


def _unfinished(world: World) -> None:
    world.clair.change_index = lambda report: {
        **report,
        "state": "IndexError",
        "success": False,
        "err": "no space left",
    }


def _other_packages(world: World) -> None:
    world.clair.change_index = lambda report: {**report, "packages": {}, "environments": {}}


def _clock(world: World, seconds: float) -> None:
    now = time.time
    original = reach_edge.bearer.token

    class Clocked:
        decode_key = staticmethod(reach_edge.bearer.decode_key)

        @staticmethod
        def token(key: bytes, issuer: str) -> str:
            return original(key, issuer, now() + seconds)

    world.patch.setattr(reach_edge, "bearer", Clocked)


def _multi(world: World) -> None:
    images = {
        "linux/arm64": world.registry.push("app", "a", "arm64"),
        "linux/s390x": world.registry.push("app", "z", "s390x"),
    }
    world.registry.push_index("app", "1", images)


def _private(world: World) -> None:
    world.registry.login = ("jane", "secret")


def _limit(world: World, mebibytes: int) -> None:
    world.patch.setitem(web.Client.request.__kwdefaults__ or {}, "limit_bytes", mebibytes * 1024 * 1024)


def huge_report(cut: bool) -> Reply:
    """Return a report of 100 MB, or half of one."""
    report = json.loads(REPORT)
    report["enrichments"] = {"unknown": ["x" * 100_000_000]}
    return Reply(200, json.dumps(report).encode(), fault="cut" if cut else "")


def answered(case: str, method: str, path: str, reply: Reply, *told: str) -> Fault:
    """Return the fault of a service that answers with `reply`; `told` are sentence and hint."""
    sentence, hint = told
    return Fault(case, "", lambda world: world.clair.fail(method, path, reply), sentence, hint, UNDECIDED)


INDEXER = [
    Fault("the edge is down", "", lambda world: world.clair.close(),
          "indexer unreachable, EDGE: connection refused", VERIFY, 3),
    Fault("the indexer does not answer", "--timeout 1",
          lambda world: world.clair.fail("POST", INDEX_REPORT, Reply(fault="hang")),
          "indexer unreachable, EDGE: no complete answer within 1 s", VERIFY, 3),
    Fault("the indexer stays busy", "--timeout 1",
          lambda world: world.clair.fail("POST", INDEX_REPORT, Reply(429, headers={"Retry-After": "60"})),
          "indexer not available, EDGE: HTTP 429", "./clair logs indexer", 3),
    Fault("the indexer did not finish", "", _unfinished,
          "scan undecided, IMAGE: the image was not indexed to the end (state IndexError): no space left", VERIFY, 3),
    Fault("the indexer found other packages than the matcher compared", "", _other_packages,
          "scan undecided, IMAGE: the vulnerability report speaks of other packages than the index report (was the image "
          "indexed again?)", VERIFY, 3),
    answered("indexer: 401", "POST", INDEX_REPORT, Reply(401),
     "indexer refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that is "
     "wrong)", "./clair verify"),
    answered("indexer: 400", "POST", INDEX_REPORT, Reply(400, {"code": "bad-request", "message": "bogus manifest"}),
     "indexer failed, DIGEST: HTTP 400, bogus manifest", "./clair logs indexer"),
    answered("indexer: 404 of the edge", "POST", INDEX_REPORT, Reply(404, b"404 page not found\n"),
     "indexer not reached, EDGE: HTTP 404 from the edge", "./clair verify"),
    answered("indexer: 405 of the edge", "POST", INDEX_REPORT, Reply(405),
     "indexer not reached, EDGE: HTTP 405 from the edge", "./clair verify"),
    answered("indexer: 404 of its own", "POST", INDEX_REPORT, Reply(404, {"code": "not-found", "message": "index report not found"}),
     "indexer has no report, DIGEST: HTTP 404, index report not found; that is no proof, for it says the same when its "
     "database is down", "./clair verify"),
    answered("indexer: a layer cannot be fetched", "POST", INDEX_REPORT,
     Reply(500, recorded("POST index_report, layer cannot be fetched")["body"]),
     "indexer failed, DIGEST: HTTP 500, failed to start scan: failed to fetch layers: fetcher: encountered errors: unexpected "
     'status code: 404 Not Found (body starts: "{\\"errors\\":[{\\"code\\":\\"BLOB_UNKNOWN\\",\\"message\\":\\"blob unknown to '
     'registry\\",\\"detail\\":\\"sha256:0a87c303787139c07b433204eb69f9caf672be1edf412f1c6f35ed359c0bfd47\\"}]}\\n")',
     "./clair logs indexer"),
    answered("indexer: 500 without a body", "POST", INDEX_REPORT, Reply(500), "indexer failed, DIGEST: HTTP 500", "./clair logs indexer"),
    answered("indexer: 502", "POST", INDEX_REPORT, Reply(502, b"Bad Gateway"), "indexer not available, EDGE: HTTP 502",
     "./clair logs indexer"),
    answered("indexer: 503", "POST", INDEX_REPORT, Reply(503), "indexer not available, EDGE: HTTP 503", "./clair logs indexer"),
    answered("indexer: 504", "POST", INDEX_REPORT, Reply(504), "indexer not available, EDGE: HTTP 504", "./clair logs indexer"),
    answered("indexer: 302", "POST", INDEX_REPORT, Reply(302, b"", {"Location": "/login"}), "indexer failed, DIGEST: HTTP 302",
     "./clair logs indexer"),
    answered("indexer: 202", "POST", INDEX_REPORT, Reply(202), "indexer failed, DIGEST: HTTP 202", "./clair logs indexer"),
    answered("indexer: null", "POST", INDEX_REPORT, Reply(201, b"null"), "index report unreadable, DIGEST: the answer is null",
     "./clair verify"),
    answered("indexer: empty", "POST", INDEX_REPORT, Reply(201), "index report unreadable, DIGEST: the answer is empty", "./clair verify"),
    answered("indexer: an empty object", "POST", INDEX_REPORT, Reply(201, {}),
     "index report unreadable, DIGEST: the index report has no environments", "./clair verify"),
    answered("indexer: a web page", "POST", INDEX_REPORT, HTML,
     "index report unreadable, DIGEST: the answer is a web page, not JSON", "./clair verify"),
    answered("indexer: truncated JSON", "POST", INDEX_REPORT, Reply(201, INDEX[:500]),
     "index report unreadable, DIGEST: the JSON ends after 500 characters, before it is complete", "./clair verify"),
    answered("indexer: the connection is cut", "POST", INDEX_REPORT, Reply(201, INDEX, fault="cut"),
     f"indexer unreachable, EDGE: the answer was cut short after {len(INDEX) // 2} bytes", "./clair verify"),
    answered("indexer: no answer at all", "POST", INDEX_REPORT, Reply(fault="close"),
     "indexer unreachable, EDGE: the connection was closed", "./clair verify"),
    answered("indexer: another digest", "POST", INDEX_REPORT, Reply(201, INDEX),
     "scan undecided, IMAGE: the index report is of another manifest, "
     "sha256:766d788a2315d5c83953127a07e428533ca62a039c2c461de67c9bfb3b68c2e5", "./clair verify"),
]  # fmt: skip

MATCHER = [
    Fault("the matcher answers byte by byte", "--timeout 1",
          lambda world: world.clair.fail("GET", VULNERABILITY_REPORT, Reply(200, REPORT, fault="drip")),
          "matcher unreachable, EDGE: no complete answer within 1 s", VERIFY, 3),
    Fault("a report of 100 MB, cut in the middle", "",
          lambda world: world.clair.fail("GET", VULNERABILITY_REPORT, huge_report(cut=True)),
          "matcher unreachable, EDGE: the answer was cut short after NUMBER bytes", VERIFY, 3),
    Fault("a report larger than the limit (here 1 MiB in place of 256)", "",
          lambda world: (_limit(world, 1), world.clair.fail("GET", VULNERABILITY_REPORT, huge_report(cut=False))),
          "matcher unreachable, EDGE: the answer is larger than 1 MiB", VERIFY, 3),
    answered("matcher: 401", "GET", VULNERABILITY_REPORT, Reply(401),
     "matcher refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that is "
     "wrong)", "./clair verify"),
    answered("matcher: 202 before any feed", "GET", VULNERABILITY_REPORT, Reply(202),
     "matcher not ready, EDGE: no feed has been loaded yet (HTTP 202)", "./clair verify"),
    answered("matcher: 404 of its own", "GET", VULNERABILITY_REPORT, Reply(404, {"code": "not-found", "message": "not found"}),
     "matcher has no report, DIGEST: HTTP 404, not found; that is no proof, for it says the same when its database is down",
     "./clair verify"),
    answered("matcher: 404 of the edge", "GET", VULNERABILITY_REPORT, Reply(404, b"404 page not found\n"),
     "matcher not reached, EDGE: HTTP 404 from the edge", "./clair verify"),
    answered("matcher: 500", "GET", VULNERABILITY_REPORT, Reply(500, {"code": "internal-error", "message": "matcher error: \x1b[2J"}),
     "matcher failed, DIGEST: HTTP 500, matcher error: [2J", "./clair logs matcher"),
    answered("matcher: 429", "GET", VULNERABILITY_REPORT, Reply(429, headers={"Retry-After": "9999"}),
     "matcher not available, EDGE: HTTP 429", "./clair logs matcher"),
    answered("matcher: down", "GET", VULNERABILITY_REPORT, Reply(502, b"Bad Gateway"), "matcher not available, EDGE: HTTP 502",
     "./clair logs matcher"),
    answered("matcher: null", "GET", VULNERABILITY_REPORT, Reply(200, b"null"),
     "vulnerability report unreadable, DIGEST: the answer is null", "./clair verify"),
    answered("matcher: empty", "GET", VULNERABILITY_REPORT, Reply(200),
     "vulnerability report unreadable, DIGEST: the answer is empty", "./clair verify"),
    answered("matcher: an empty object", "GET", VULNERABILITY_REPORT, Reply(200, {}),
     "vulnerability report unreadable, DIGEST: the vulnerability report has no environments", "./clair verify"),
    answered("matcher: a list", "GET", VULNERABILITY_REPORT, Reply(200, []),
     "vulnerability report unreadable, DIGEST: the answer is JSON, but no object", "./clair verify"),
    answered("matcher: a web page", "GET", VULNERABILITY_REPORT, HTML,
     "vulnerability report unreadable, DIGEST: the answer is a web page, not JSON", "./clair verify"),
    answered("matcher: text", "GET", VULNERABILITY_REPORT, Reply(200, b"Bad Gateway"),
     "vulnerability report unreadable, DIGEST: the answer is not JSON (at character 0)", "./clair verify"),
    answered("matcher: truncated JSON", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:700]),
     "vulnerability report unreadable, DIGEST: the JSON ends after 700 characters, before it is complete", "./clair verify"),
    answered("matcher: the connection is cut", "GET", VULNERABILITY_REPORT, Reply(200, REPORT, fault="cut"),
     f"matcher unreachable, EDGE: the answer was cut short after {len(REPORT) // 2} bytes", "./clair verify"),
    answered("matcher: no answer at all", "GET", VULNERABILITY_REPORT, Reply(fault="close"),
     "matcher unreachable, EDGE: the connection was closed", "./clair verify"),
    answered("matcher: compressed without being asked", "GET", VULNERABILITY_REPORT,
     Reply(200, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"}),
     "vulnerability report unreadable, DIGEST: the answer is not UTF-8 text", "./clair verify"),
    answered("matcher: another digest", "GET", VULNERABILITY_REPORT, Reply(200, REPORT),
     "scan undecided, IMAGE: the vulnerability report is of another manifest, "
     "sha256:766d788a2315d5c83953127a07e428533ca62a039c2c461de67c9bfb3b68c2e5", "./clair verify"),
    answered("matcher: the same name twice", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:-1] + b', "vulnerabilities": {}}'),
     "vulnerability report unreadable, DIGEST: a name stands twice in one object", "./clair verify"),
    answered("matcher: NaN", "GET", VULNERABILITY_REPORT, Reply(200, REPORT[:-1] + b', "x": NaN}'),
     "vulnerability report unreadable, DIGEST: NaN is not JSON", "./clair verify"),
]  # fmt: skip

KEY = [
    Fault("the key is another one than Clair's", "",
          lambda world: setattr(world.clair, "key", b"another key of thirty-two bytes!"),
          "indexer refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that "
          "is wrong)", VERIFY, 3),
    Fault("the issuer is not among Clair's", "", lambda world: setattr(world.clair, "issuers", ("quay",)),
          "indexer refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that "
          "is wrong)", VERIFY, 3),
    Fault("the clock is an hour behind", "", lambda world: _clock(world, -3600),
          "indexer refused, EDGE: HTTP 401: it refuses the token (another key, an issuer it does not allow, or a clock that "
          "is wrong)", VERIFY, 3),
    Fault("the key is missing", "", lambda world: (world.root / "secrets" / "psk").unlink(),
          "secret missing, secrets/psk: no such file", "make secrets", 2),
    Fault("the key is damaged", "", lambda world: (world.root / "secrets" / "psk").write_text("not base64!"),
          "key unreadable, secrets/psk: not padded base64", "./clair secrets rotate psk", 2),
]  # fmt: skip

FEEDS = [
    Fault("the database is down", "",
          lambda world: setattr(world.ledger, "problem", Problem("feed ledger unreadable, database matcher: the database's "
                                "container is not running", "./clair database", UNDECIDED)),
          "feed ledger unreadable, database matcher: the database's container is not running", "./clair database", 3),
    Fault("the feed never ran", "", lambda world: world.ledger.rows.clear(),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater never loaded", VERIFY, 3),
    Fault("the feed has failed from the beginning", "", lambda world: world.age("debian/updater", None, "HTTP 403"),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater never loaded: HTTP 403", VERIFY, 3),
    Fault("the feed is too old by a minute", "", lambda world: world.age("debian/updater", 24 + 1 / 60),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater last succeeded 24 h 1 min ago, 24 h are allowed "
          "(--allow-stale accepts that)", VERIFY, 3),
    Fault("the feed has failed for days", "", lambda world: world.age("debian/updater", 72, "HTTP 503"),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater last succeeded 3 d ago, 24 h are allowed: HTTP 503 "
          "(--allow-stale accepts that)", VERIFY, 3),
    Fault("the feed is stored, and the matcher does not look at it", "",
          lambda world: world.ledger.rows.update({"debian/updater": replace(world.ledger.rows["debian/updater"], unused=True)}),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater is stored and not in use, Clair's view of the newest "
          "updates leaves it out", VERIFY, 3),
    Fault("the feed succeeded in the future", "", lambda world: world.age("debian/updater", -2),
          f"scan undecided, IMAGE: {DEBIAN}: nothing tells how old the feed debian/updater is (--allow-stale accepts that)",
          VERIFY, 3),
    Fault("only the feed of another distribution is loaded", "",
          lambda world: world.age("alpine-main-v3.18-updater", 1),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater never loaded", VERIFY, 3),
    Fault("the feed does not know the release", "", lambda world: world.ledger.present_values.clear(),
          f"scan undecided, IMAGE: {DEBIAN}: the feed debian/updater holds nothing for 'bookworm'", VERIFY, 3),
]  # fmt: skip

IMAGE = [
    Fault("the image has no packages", "", _empty,
          "scan undecided, IMAGE: Clair found no package in the image, so there was nothing to compare (--allow-empty "
          "accepts that)", "./clair scan --allow-empty IMAGE", 3),
    Fault("the image is of a distribution no feed covers", "",
          _distribution(did="plan9", name="Plan 9", version="4", pretty_name="Plan 9 4"),
          "scan undecided, IMAGE: Plan 9 4: no feed of Clair covers it",
          "docker run --rm --entrypoint cat IMAGE /etc/os-release", 3),
    Fault("the index has no image for the platform", "app:1", _multi,
          "no image for linux/amd64, REGISTRY/app:1: there is linux/arm64, linux/s390x",
          "./clair scan --platform linux/arm64 REGISTRY/app:1", 2),
    Fault("the index has no image for the platform asked for", "app:1 --platform linux/ppc64le", _multi,
          "no image for linux/ppc64le, REGISTRY/app:1: there is linux/arm64, linux/s390x",
          "./clair scan --platform linux/arm64 REGISTRY/app:1", 2),
    Fault("the one image is for another architecture", "app:arm",
          lambda world: world.registry.push("app", "arm", "arm64"),
          "no image for linux/amd64, REGISTRY/app:arm: there is linux/arm64",
          "./clair scan --platform linux/arm64 REGISTRY/app:arm", 2),
    Fault("not a platform", "--platform arm", lambda world: None,
          "not a platform, 'arm': the form is linux/arm64 or linux/arm/v7", "./clair scan --platform linux/amd64", 2),
    Fault("the tag is not there", "demo/debian:13", lambda world: None,
          "image not found, REGISTRY/demo/debian:13: the registry has no such tag or digest",
          "docker manifest inspect REGISTRY/demo/debian:13", 2),
    Fault("not an image's name", "Debian:12", lambda world: None,
          "not an image name, 'REGISTRY/Debian:12': the repository's name must be in lower case",
          "./clair scan docker.io/library/debian:12", 2),
    Fault("a chart in place of an image", "chart:1",
          lambda world: world.registry.put("chart", "1", {"schemaVersion": 2, "layers": [], "config": {
              "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": "sha256:" + "0" * 64}}),
          "not a container image, REGISTRY/chart:1: it is an artifact of type application/vnd.cncf.helm.config.v1+json",
          "docker manifest inspect REGISTRY/chart:1", 2),
]  # fmt: skip

REGISTRY = [
    Fault("a private registry without login", "", _private,
          "image not accessible, IMAGE: no such image, or it needs a login (HTTP 401)", "docker login REGISTRY", 2),
    Fault("a private registry with a wrong login", "", lambda world: (_private(world), world.log_in("jane", "wrong")),
          "image not accessible, IMAGE: the registry refuses the stored login (HTTP 401)", "docker login REGISTRY", 2),
    Fault("Docker's own configuration is damaged", "",
          lambda world: (_private(world), world.docker_config.write_text("{")),
          "credentials unreadable, CONFIG: not JSON, Expecting property name enclosed in double quotes: line 1 column 2 "
          "(char 1)", "python3 -m json.tool CONFIG", 2),
    Fault("the registry is down", "", lambda world: world.registry.close(),
          "registry unreachable, REGISTRY: connection refused", "docker manifest inspect IMAGE", 3),
    Fault("the registry limits requests", "",
          lambda world: world.registry.fail("GET", "/v2/demo/debian/manifests", Reply(429)),
          "registry busy, REGISTRY: it limits how often it may be asked (HTTP 429)", "docker login REGISTRY", 3),
    Fault("the registry fails", "", lambda world: world.registry.fail("GET", "/v2/demo/debian/manifests", Reply(500)),
          "image unreadable, IMAGE: the registry answered HTTP 500 for manifests/12", "docker manifest inspect IMAGE", 3),
    Fault("the registry answers with a web page", "",
          lambda world: world.registry.fail("GET", "/v2/demo/debian/manifests", Reply(200, b"<html>Sign in</html>")),
          "image unreadable, IMAGE: the answer is a web page, not JSON", "docker manifest inspect IMAGE", 3),
    Fault("a registry at localhost", "localhost:5000/app:1", lambda world: None,
          "registry not reachable for Clair, localhost:5000: the indexer fetches the layers itself, and inside its container "
          "that name means the container; what works is the address of this machine in your network, or a name that ends in "
          ".local", "./clair scan ADDRESS:5000/app:1", 2),
]  # fmt: skip

IGNORE = [
    Fault("the ignore file has an unknown key", "",
          lambda world: world.ignore('{"ignore": [{"id": "CVE-1", "reason": "x", "expire": "2026-12-31"}]}'),
          "ignore file wrong, .clair-ignore.json: entry 1 (CVE-1), key 'expire': no such key; did you mean 'expires'",
          'the form is {"ignore": [{"id": "CVE-2024-6119", "reason": "not reachable", "expires": "2026-12-31"}]}', 2),
    Fault("the ignore file has a bad date", "",
          lambda world: world.ignore('{"ignore": [{"id": "CVE-1", "reason": "x", "expires": "31.12.2026"}]}'),
          "ignore file wrong, .clair-ignore.json: entry 1 (CVE-1), key 'expires': '31.12.2026' is no date of the form "
          "2026-12-31",
          'the form is {"ignore": [{"id": "CVE-2024-6119", "reason": "not reachable", "expires": "2026-12-31"}]}', 2),
    Fault("the ignore file is no JSON", "", lambda world: world.ignore('{"ignore": ['),
          "ignore file wrong, .clair-ignore.json: line 1, column 13: expecting value",
          "python3 -m json.tool .clair-ignore.json", 2),
    Fault("the ignore file is not there", "--ignore nosuch.json", lambda world: None,
          "ignore file unreadable, nosuch.json: no such file or directory", "ls -l nosuch.json", 2),
]  # fmt: skip

LIST = [
    Fault("the list of images is not there", "fleet nosuch.txt", lambda world: None,
          "list of images missing, nosuch.txt: no such file", "echo docker.io/library/debian:12 >> nosuch.txt", 2),
    Fault("the list of images is empty", "fleet", lambda world: world.list_images("# nothing yet"),
          "list of images empty, images.txt: no line holds an image", "echo docker.io/library/debian:12 >> images.txt", 2),
    Fault("a line of the list is no image", "fleet", lambda world: world.list_images("debian:12", "https://a.example/b"),
          "list of images unreadable, images.txt line 2: not an image name, 'https://a.example/b': an image name has no "
          "scheme such as https://", "./clair scan docker.io/library/debian:12", 2),
    Fault("an image of the list cannot be scanned", "fleet",
          lambda world: world.list_images(f"{world.registry.name}/nosuch:1"),
          "fleet undecided, images.txt: 1 of 1 images, the first REGISTRY/nosuch:1: image not found, REGISTRY/nosuch:1: the "
          "registry has no such tag or digest", "docker manifest inspect REGISTRY/nosuch:1", 3),
]  # fmt: skip

LOCAL = [
    Fault("the local Docker has no such image", "scan-local myapp", lambda world: None,
          "image not found, myapp: the local Docker has none of that name; near ones are myapp:1",
          "./clair scan-local myapp:1", 2),
    Fault("the local image is for another architecture", "scan-local myapp:1",
          lambda world: world.docker.images["myapp:1"].update(Architecture="arm64"),
          "image of another platform, myapp:1: it is for linux/arm64, and the deployment is for linux/amd64",
          "./clair scan-local --platform linux/arm64 myapp:1", 2),
    Fault("the registry's image is not on this machine and cannot be pulled", "scan-local myapp:1",
          lambda world: world.docker.failing.update({"compose run": "pull access denied for registry"}),
          "image not available, docker.io/library/registry:2.8.3: pull access denied for registry",
          "make images lists all; docker load --input FILE brings them in without a registry", 3),
    Fault("the applied compose.yaml has no registry yet", "scan-local myapp:1",
          lambda world: world.docker.failing.update({"compose run": "no such service: registry"}),
          "registry not started, service registry: the applied compose.yaml is of an older template", "make up", 2),
    Fault("the local image cannot be pushed", "scan-local myapp:1",
          lambda world: world.docker.failing.update({"docker image push": "no space left on device"}),
          "disk full, docker: no space left on device", "docker system df", 2),
]  # fmt: skip

GROUPS = {"Indexer and edge": INDEXER, "Matcher": MATCHER, "Key and clock": KEY, "Feeds": FEEDS, "Image": IMAGE,
          "Registry": REGISTRY, "Local image": LOCAL, "Ignore file": IGNORE, "List of images": LIST}  # fmt: skip
FAULTS = [fault for group in GROUPS.values() for fault in group]
