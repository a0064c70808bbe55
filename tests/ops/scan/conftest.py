"""A deployment on disk, an edge and a registry to scan against, and a ledger with the feeds loaded."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ops import __main__ as command_line
from ops import settings
from ops.feeds.find_feeds import Question
from ops.feeds.match_updaters import Ledger, LedgerRow
from ops.network import retry_request
from ops.scan import scan_image

from extensions.catalogue import Catalogue

from .servers import REGISTRY_NAME, Clair, Registry

KEY = b"a key of thirty-two bytes length"
DEBIAN = "debian/updater"
FAMILIES = ["alpine", "aws", "debian", "oracle", "osv", "rhel", "suse", "ubuntu"]


def facts(catalogue: Catalogue, release: str = "4.9.0", *, port: int = 6060, **changes: Any) -> dict[str, Any]:
    """Return deployment.json of a release as the template renders it, as far as the scan reads it."""
    known = {name: catalogue.family(name, release) for name in [*catalogue.family_names, catalogue.enrichment_name]}
    document = {
        "format": 1,
        "deployment_name": "clair",
        "clair_release": release,
        "architecture": "amd64",
        "database": {"mode": "bundled", "version": "17", "host": "clair-database", "port": 5432, "sslmode": "disable"},
        "edge": {"address": "127.0.0.1", "port": port, "tls": "off", "hostname": "", "operations_port": 6061},
        "services": {name: {"replicas": 1} for name in ("clair-database", "indexer", "matcher", "notifier", "traefik")},
        "feeds": {"offline": False, "families": FAMILIES, "enrichment": True, "max_age_hours": 24, "catalogue": known},
        "auth": {"issuers": ["clairctl"], "client_issuer": "clairctl"},
        "quay_enabled": False,
        "proxy": {"url": "", "exceptions": []},
    }
    for path, value in changes.items():
        place: Any = document
        *folders, last = path.split("__")
        for name in folders:
            place = place[name]
        place[last] = value
    return document


@dataclass
class FakeLedger:
    """The ledger of a database whose Debian feed succeeded an hour ago."""

    rows: dict[str, LedgerRow] = field(default_factory=dict)
    present_values: set[str] = field(default_factory=lambda: {"bookworm"})
    pack_exported_at: float | None = None
    problem: Exception | None = None

    def load(self, *updaters: str, hours_ago: float | None = 1, stored: bool = True, error: str = "") -> None:
        """Let updaters have succeeded, or not (None)."""
        now = time.time()
        for updater in updaters:
            success = None if hours_ago is None else now - hours_ago * 3600
            self.rows[updater] = LedgerRow(updater, now if stored else None, now, success, error)

    def ledger(self) -> Ledger:
        if self.problem:
            raise self.problem
        return Ledger(self.rows, self.pack_exported_at)

    def present(self, questions: Sequence[Question]) -> dict[Question, bool]:
        return {question: question[2] in self.present_values for question in questions}

    def close(self) -> None:
        pass


@pytest.fixture
def ledger() -> FakeLedger:
    """A ledger in which the Debian feeds of new and old releases and osv/pypi succeeded an hour ago."""
    found = FakeLedger()
    found.load(DEBIAN, f"{DEBIAN}/bookworm", "osv/pypi")
    return found


@pytest.fixture
def clair() -> Iterator[Clair]:
    """An edge with Clair 4.9.0 behind it."""
    server = Clair(KEY)
    yield server
    server.close()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry under a name that ends in .local, and a Docker configuration without logins."""
    original = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        return original("127.0.0.1" if host == REGISTRY_NAME else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    server = Registry()
    server.push("demo/debian", "12")
    yield server
    server.close()


@pytest.fixture
def deployment(tmp_path: Path, clair: Clair, catalogue: Catalogue) -> Path:
    """The folder of a deployment whose edge is the fake one."""
    root = tmp_path / "deployment"
    write_deployment(root, facts(catalogue, port=clair.port))
    return root


def write_deployment(root: Path, document: dict[str, Any]) -> None:
    """Write what the commands read of a deployment."""
    (root / "ops").mkdir(parents=True, exist_ok=True)
    (root / "secrets").mkdir(exist_ok=True)
    (root / "ops" / "deployment.json").write_text(json.dumps(document), encoding="utf-8")
    (root / "secrets" / "psk").write_text(base64.b64encode(KEY).decode() + "\n", encoding="utf-8")
    (root / "secrets" / "database-ledger").write_text("ledger-password\n", encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


Run = Callable[..., Outcome]


@pytest.fixture
def run(deployment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `./clair ARGUMENTS` of the deployment in this process."""
    for name in [
        "IMAGE",
        "PLATFORM",
        "ALL_PLATFORMS",
        "FORMAT",
        "OUTPUT",
        "FAIL_ON",
        "ONLY_FIXED",
        "IGNORE_UNKNOWN",
        "IGNORE",
        "BASELINE",
        "MAX_FEED_AGE",
        "ALLOW_STALE",
        "ALLOW_EMPTY",
        "TIMEOUT",
    ]:
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = command_line.main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    for module in (scan_image,):
        monkeypatch.setattr(module, "load_deployment", lambda: settings.load_deployment(deployment))
    return call


@pytest.fixture
def scan(run: Run, ledger: FakeLedger, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Scan the fake registry's demo/debian:12 with further arguments; the ledger is the fake one."""
    monkeypatch.setattr(scan_image, "LedgerSession", lambda deployment, deadline: ledger)

    def call(*arguments: str, image: str = "demo/debian:12") -> Outcome:
        return run("scan", *([f"{registry.name}/{image}"] if image else []), *arguments)

    return call


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without a pause."""
    defaults = {**(retry_request.retry_request.__kwdefaults__ or {}), "sleep": lambda seconds: None}
    monkeypatch.setattr(retry_request.retry_request, "__kwdefaults__", defaults)
