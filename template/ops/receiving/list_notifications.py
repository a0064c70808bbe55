"""What the commands of the container tell: the list, the counts, and dead letters that are tried again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from .open_store import Store
from .plan_deliveries import image_name
from .write_log import timestamp

_SHOWN = ("id", "manifest", "vulnerability", "severity", "package", "version", "fixed_in", "reason")


def list_notifications(store: Store, targets: Sequence[str], since: str, identity: str, limit: int) -> dict[str, Any]:
    """Return the newest notifications with findings and deliveries, and the last refused posts."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT * FROM notification WHERE received >= ? AND (? = '' OR id = ?) ORDER BY received DESC, rowid DESC LIMIT ?",
            (since, identity, identity, limit),
        ).fetchall()
        notifications = [_notification(connection, row) for row in rows]
        refused = [
            dict(row) for row in connection.execute("SELECT at, status, reason FROM refused ORDER BY rowid DESC")
        ]
    return {"format": 1, "targets": list(targets), "notifications": notifications, "refused": refused}


def count_states(store: Store, targets: Sequence[str]) -> dict[str, Any]:
    """Return how many notifications and deliveries are in each state."""
    with store.read() as connection:
        counts = {
            table: {row[0]: row[1] for row in connection.execute(f"SELECT state, count(*) FROM {table} GROUP BY state")}  # noqa: S608
            for table in ("notification", "delivery")
        }
    return {
        "format": 1,
        "targets": list(targets),
        "notifications": counts["notification"],
        "deliveries": counts["delivery"],
    }


def retry(store: Store, targets: Sequence[str], identity: str) -> tuple[int, dict[str, int]]:
    """Let dead letters be tried again at once: all (empty), or of a notification or delivery, then also what waits.

    Return how many, and how many were left for each target that there is not (any more): nobody would send them.
    """
    values = {"id": identity, "targets": json.dumps(list(targets))}
    mine = (
        "(:id = '' AND state = 'dead' OR :id IN (id, notification) AND state IN ('dead', 'waiting'))"
        " AND target {} (SELECT value FROM json_each(:targets))"
    )
    with store.write() as connection:
        fetches = connection.execute(
            "UPDATE notification SET state = 'received', tries = 0, answers = 0, next_try = 0 WHERE error <> 'test ended'"
            " AND (:id = '' AND state = 'dead' OR :id = id AND state IN ('dead', 'received'))",
            values,
        ).rowcount
        deliveries = connection.execute(
            f"UPDATE delivery SET state = 'waiting', tries = 0, next_try = 0 WHERE {mine.format('IN')}",  # noqa: S608 - own words
            values,
        ).rowcount
        left = connection.execute(
            f"SELECT target, count(*) FROM delivery WHERE {mine.format('NOT IN')} GROUP BY target",  # noqa: S608 - own words
            values,
        ).fetchall()
    return fetches + deliveries, {row[0]: row[1] for row in left}


def name_images(store: Store, names: Iterable[tuple[str, str]]) -> None:
    """Remember names of images, pairs of digest and name, the newest last."""
    with store.write() as connection:
        # Written anew, a name is the newest.
        connection.executemany("INSERT OR REPLACE INTO image (manifest, name) VALUES (?, ?)", names)


def _notification(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    findings = connection.execute("SELECT * FROM finding WHERE notification = ? ORDER BY id", (row["id"],)).fetchall()
    names = {manifest: image_name(connection, manifest) for manifest in {finding["manifest"] for finding in findings}}
    deliveries = [
        {
            "id": one["id"],
            "target": one["target"],
            "manifest": one["manifest"],
            "state": one["state"],
            "tries": one["tries"],
            "error": one["error"],
            "next_try_at": timestamp(one["next_try"]) if one["state"] == "waiting" and one["next_try"] else None,
            "delivered_at": one["delivered"],
        }
        for one in connection.execute("SELECT * FROM delivery WHERE notification = ? ORDER BY rowid", (row["id"],))
    ]
    return {
        "id": row["id"],
        "received_at": row["received"],
        "state": _state(row["state"], [one["state"] for one in deliveries]),
        "test": bool(row["test"]),
        "callback": row["callback"],
        "fetched_at": row["fetched"],
        "deleted_at": row["deleted"],
        "tries": row["tries"],
        "error": row["error"],
        "findings": [
            {**{key: one[key] for key in _SHOWN}, "image": names[one["manifest"]], "repeated": bool(one["repeated"])}
            for one in findings
        ],
        "deliveries": deliveries,
    }


def _state(fetch: str, deliveries: Sequence[str]) -> str:
    if fetch != "fetched":
        return fetch
    if "dead" in deliveries:
        return "dead"
    return "delivered" if deliveries and "waiting" not in deliveries else "fetched"
