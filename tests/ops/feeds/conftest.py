"""A deployment on disk, a docker that is none, and `./clair` in this process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops import __main__ as command_line
from ops import settings
from ops.feeds import show_feeds, wait_feeds
from ops.packs import export_feeds, import_feeds
from ops.packs.form_pack import FORMAT, KIND
from ops.packs.write_pack import PackWriter
from ops.settings import Deployment, load_deployment

from extensions.catalogue import Catalogue
from tests.ops.scan.conftest import Outcome, facts, write_deployment

HERE = Path(__file__).parent
HOUR = 3600.0
NAMES = ["alpine-community-v3.18-updater", "alpine-main-v3.18-updater", "clair.cvss", "debian/updater"]
# A frame of one raw block of three bytes, with its size in the header and no checksum (RFC 8878, 3.1.1).
ZSTD = bytes.fromhex("28b52ffd") + bytes([0x20, 3]) + (3 << 3 | 1).to_bytes(3, "little") + b"abc"


def row(updater: str, hours_ago: float | None = 1, *, stored: bool = True, error: str | None = None) -> list[Any]:
    """Return a row of the ledger as the database answers it."""
    now = time.time()
    success = None if hours_ago is None else now - hours_ago * HOUR
    return [updater, now - HOUR if stored else None, success or now, success, error]


def rows() -> list[list[Any]]:
    """Return rows of NAMES that succeeded an hour ago."""
    return [row(name) for name in NAMES]


def console(message: str, level: str = "INF", **fields: str) -> str:
    """Return a line as clairctl writes it; values with spaces are quoted."""
    shown = {name: json.dumps(value) if " " in value or '"' in value else value for name, value in fields.items()}
    return " ".join(
        ["2026-11-25T02:10:53Z", level, *([message] if message else []), *(f"{k}={v}" for k, v in shown.items())]
    )


def log_line(message: str, at: float | None = None, **fields: Any) -> str:
    """Return a line as the matcher writes it."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if at is None else at))
    return json.dumps({"level": "info", **fields, "time": moment, "message": message}, separators=(",", ":"))


class World:
    """What docker, database and clairctl are for a test, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._state: dict[str, Any] = {}
        self.set(rows=rows(), counts=[[name, 7, None] for name in NAMES])

    def set(self, **content: Any) -> None:
        """Change what is the case."""
        self._state.update(content)
        written = self.folder / "state.new"
        written.write_text(json.dumps(self._state), encoding="utf-8")
        written.replace(self.folder / "state.json")  # in one step: a program may be reading it

    def clairctl(self, *lines: str, output: bytes = ZSTD, **content: Any) -> None:
        """Let clairctl say these lines."""
        self.set(clairctl={"lines": list(lines), "output": output.hex(), **content})

    @property
    def calls(self) -> list[list[str]]:
        """The calls so far."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A database with fresh feeds of Alpine and Debian and fresh scores."""
    found = World(tmp_path / "world")
    monkeypatch.setenv("FAKE_FEEDS", str(found.folder))
    monkeypatch.setenv("DOCKER", f"{sys.executable} {HERE / 'fake_docker.py'}")
    monkeypatch.delenv("COMPOSE", raising=False)
    return found


@pytest.fixture
def document(catalogue: Catalogue) -> dict[str, Any]:
    """deployment.json of a deployment of 4.9.0 that asked for Alpine and Debian; a test may change it."""
    found = facts(catalogue)
    found["feeds"] |= {"families": ["alpine", "debian"], "tools": {"memory_mib": 4096, "spool_gib": 24}}
    return found


@pytest.fixture
def deployment(tmp_path: Path, document: dict[str, Any]) -> Callable[[], Deployment]:
    """Write the deployment as `document` is now, with everything applied, and return it."""

    def write() -> Deployment:
        root = tmp_path / "deployment"
        write_deployment(root, document)
        for part in ("tools", "ca"):
            (root / "state" / "applied" / part).mkdir(parents=True, exist_ok=True)
        tools = {"updaters": {"sets": ["alpine", "clair.cvss", "debian"], "config": {}}, "auth": {"psk": {"key": "k"}}}
        (root / "state" / "applied" / "tools" / "config.yaml").write_text(json.dumps(tools), encoding="utf-8")
        return load_deployment(root)

    return write


Run = Callable[..., Outcome]


@pytest.fixture
def run(
    deployment: Callable[[], Deployment],
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run `./clair ARGUMENTS` of the deployment in this process."""
    for name in ("FILE", "JSON", "TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(wait_feeds, "POLL_SECONDS", 0.05)

    def call(*arguments: str) -> Outcome:
        root = deployment().root
        for module in (show_feeds, wait_feeds, export_feeds, import_feeds):
            monkeypatch.setattr(module, "load_deployment", lambda *_: settings.load_deployment(root))
        capsys.readouterr()
        code = command_line.main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a pack of NAMES, exported an hour ago, with changes of its manifest."""

    def write(name: str = "feeds.tar", content: bytes = ZSTD, **changes: Any) -> Path:
        path = tmp_path / name
        with PackWriter(path) as writer:
            writer.write(content)
            writer.finish({**manifest(), **changes})
        return path

    return write


def manifest(hours_ago: float = 1) -> dict[str, Any]:
    """Return a manifest without `members`."""
    exported_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours_ago * HOUR))
    return {
        "format": FORMAT,
        "kind": KIND,
        "clair_release": "4.9.0",
        "template_release": "v1.0.0",
        "exported_at": exported_at,
        "families": ["alpine", "debian"],
        "enrichment": True,
        "left_out": {},
        "sets": ["alpine", "clair.cvss", "debian"],
        "updaters": {name: {"exported_at": exported_at} for name in NAMES},
    }
