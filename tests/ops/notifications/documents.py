"""What the receiver's command line answers, built for a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["counted", "delivery", "document", "finding", "notification"]


MANIFEST = "sha256:" + "a" * 64


def finding(name: str = "CVE-2099-0001", image: str = "registry.example/app:1", **changes: Any) -> dict[str, Any]:
    """Return one finding."""
    return {
        "id": "f1",
        "manifest": MANIFEST,
        "image": image,
        "vulnerability": name,
        "severity": "High",
        "package": "openssl",
        "version": "3.0.1",
        "fixed_in": "3.0.99",
        "reason": "added",
        **changes,
    }


def delivery(target: str = "team", state: str = "delivered", **changes: Any) -> dict[str, Any]:
    """Return the state of one notification at one target."""
    known = {
        "id": "d1",
        "manifest": MANIFEST,
        "target": target,
        "state": state,
        "tries": 1,
        "error": "",
        "next_try_at": None,
    }
    return {**known, "delivered_at": None, **changes}


def notification(identity: str = "n1", **changes: Any) -> dict[str, Any]:
    """Return one notification that was delivered."""
    return {
        "id": identity,
        "received_at": "2026-01-31T12:00:00Z",
        "state": "delivered",
        "test": False,
        "callback": f"http://notifier:6060/notifier/api/v1/notification/{identity}",
        "fetched_at": "2026-01-31T12:00:01Z",
        "deleted_at": None,
        "tries": 1,
        "error": "",
        "findings": [finding()],
        "deliveries": [delivery()],
        **changes,
    }


def document(
    *rows: dict[str, Any], targets: tuple[str, ...] = ("team",), refused: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the whole list."""
    return {"format": 1, "targets": list(targets), "notifications": list(rows), "refused": list(refused)}


def counted(*rows: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the whole list as it is with `--counts`."""
    short = []
    for row in rows:
        images = [
            {"manifest": one["manifest"], "image": one["image"], "findings": 1, "worst": one["severity"]}
            for one in row["findings"]
        ]
        short.append({**{key: value for key, value in row.items() if key != "findings"}, "images": images})
    return document(*short, **options)
