"""Backups as `backup` leaves them, made without a database."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ops.settings import Deployment

__all__ = ["SCHEMA", "deployment_at", "make", "write_sums"]

SCHEMA = {"indexer": 8, "matcher": 16, "notifier": 3}


def deployment_at(folder: Path, **facts: Any) -> Deployment:
    """Return a deployment of Clair 4.9.0 with a bundled database, of which something is applied."""
    applied = folder / "state" / "applied"
    applied.mkdir(parents=True, exist_ok=True)
    (folder / "secrets").mkdir(exist_ok=True)
    known: dict[str, Any] = {
        "deployment_name": "clair",
        "clair_release": "4.9.0",
        "architecture": "amd64",
        "database": {"mode": "bundled", "host": "clair-database", "port": 5432, "sslmode": "disable", "version": "17"},
        "services": {name: {"replicas": 1} for name in ("clair-database", *SCHEMA)},
        "release": {"schema": SCHEMA},
        "images": {},
        **facts,
    }
    (applied / "deployment.json").write_text(json.dumps(known), encoding="utf-8")
    return Deployment(known, folder)


def make(folder: Path, made_at: str = "2026-01-02T03:04:05Z", **changes: Any) -> Path:
    """Make a whole backup below `folder`; `changes` replace values of its manifest."""
    name = f"{changes.get('deployment_name', 'clair')}-{made_at.replace('-', '').replace(':', '')}"
    path = folder / name
    databases = {
        service: {
            "bytes": 3,
            "size_bytes": 4096,
            "seconds": 0.1,
            "extensions": {},
            "tables": {"public.one": {"rows": 1, "digest": "42"}},
        }
        for service in SCHEMA
    }
    manifest = {
        "format": 1,
        "name": name,
        "deployment_name": "clair",
        "made_at": made_at,
        "reason": "backup",
        "clair_release": "4.9.0",
        "postgres_version": "17.10",
        "architecture": "amd64",
        "images": {},
        "schema": SCHEMA,
        "databases": databases,
        "skipped": [],
        "secrets": None,
        **changes,
    }
    for service in SCHEMA:
        (path / service).mkdir(parents=True)
        (path / service / "toc.dat").write_bytes(f"toc of {service}".encode())
        (path / service / "1.dat.zst").write_bytes(f"rows of {service}".encode())
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (path / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    write_sums(path)
    return path


def write_sums(path: Path) -> None:
    """Write `SHA256SUMS` for what is in the folder now."""
    names = sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())
    lines = [
        f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names if name != "SHA256SUMS"
    ]
    (path / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
