"""What the commands of the container tell: the list, the counts, and dead letters that are tried again or given up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .open_store import Store
from .plan_deliveries import image_name
from .read_settings import SEVERITIES
from .write_log import timestamp

_SHOWN = ("id", "manifest", "vulnerability", "severity", "package", "version", "fixed_in", "reason")


def list_notifications(
    store: Store, targets: Sequence[str], since: str, identity: str, limit: int, *, counts: bool = False
) -> Iterator[str]:
    """Return pieces of a JSON document: the newest notifications and all dead ones, and the last refused posts.

    A piece holds one finding at most: a hundred thousand fit into no container's memory. With `counts`, images with the
    number of their findings instead of findings.
    """
    with store.read() as connection:
        refused = [
            dict(row) for row in connection.execute("SELECT at, status, reason FROM refused ORDER BY rowid DESC")
        ]
        head = json.dumps({"format": 1, "targets": list(targets), "refused": refused})
        yield head[:-1] + ', "notifications": ['
        rows = connection.execute(
            "SELECT * FROM notification WHERE received >= :since AND (:id = '' OR id = :id) AND (rowid IN"
            " (SELECT rowid FROM notification WHERE received >= :since ORDER BY received DESC, rowid DESC LIMIT :limit)"
            " OR :id <> '' OR state = 'dead' OR id IN (SELECT notification FROM delivery WHERE state = 'dead'))"
            " ORDER BY received DESC, rowid DESC",
            {"since": since, "id": identity, "limit": limit},
        )
        for number, row in enumerate(rows):
            yield ",\n" if number else "\n"
            yield from _notification(connection, row, counts)
        yield "\n]}\n"


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
        connection.execute("DELETE FROM pause")
        fetches = connection.execute(
            "UPDATE notification SET state = 'received', tries = 0, answers = 0, next_try = 0"
            " WHERE (:id = '' AND state = 'dead' OR :id = id AND state IN ('dead', 'received'))",
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


def drop(store: Store, identity: str) -> int:
    """Give dead letters up, all (empty) or those of a notification or delivery; they stay in the list. Return how many."""
    values = {"id": identity}
    with store.write() as connection:
        fetches = connection.execute(
            "UPDATE notification SET state = 'ended' WHERE state = 'dead' AND :id IN ('', id)", values
        ).rowcount
        deliveries = connection.execute(
            "UPDATE delivery SET state = 'dropped' WHERE state = 'dead' AND :id IN ('', id, notification)", values
        ).rowcount
    return fetches + deliveries


def name_images(store: Store, names: Iterable[tuple[str, str]]) -> None:
    """Remember names of images, pairs of digest and name, the newest last."""
    with store.write() as connection:
        # Written anew, a name is the newest.
        connection.executemany("INSERT OR REPLACE INTO image (manifest, name) VALUES (?, ?)", names)


def _notification(connection: sqlite3.Connection, row: sqlite3.Row, counts: bool) -> Iterator[str]:
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
    known = {
        "id": row["id"],
        "received_at": row["received"],
        "state": _state(row["state"], [one["state"] for one in deliveries]),
        "test": bool(row["test"]),
        "callback": row["callback"],
        "fetched_at": row["fetched"],
        "deleted_at": row["deleted"],
        "tries": row["tries"],
        "error": row["error"],
        "deliveries": deliveries,
    }
    key, lines = (
        ("images", _images(connection, row["id"])) if counts else ("findings", _findings(connection, row["id"]))
    )
    yield f'{json.dumps(known)[:-1]}, "{key}": ['
    for number, line in enumerate(lines):
        yield ", " if number else ""
        yield json.dumps(line)
    yield "]}"


def _findings(connection: sqlite3.Connection, identity: str) -> Iterator[dict[str, Any]]:
    manifest, name = "", ""
    for one in connection.execute("SELECT * FROM finding WHERE notification = ? ORDER BY manifest, id", (identity,)):
        if one["manifest"] != manifest:
            manifest, name = one["manifest"], image_name(connection, one["manifest"])
        yield {**{key: one[key] for key in _SHOWN}, "image": name, "repeated": bool(one["repeated"])}


def _images(connection: sqlite3.Connection, identity: str) -> Iterator[dict[str, Any]]:
    rank = " ".join(f"WHEN '{name}' THEN {number}" for number, name in enumerate(SEVERITIES))
    rows = connection.execute(
        f"SELECT manifest, count(*) AS findings, max(CASE severity {rank} ELSE 0 END) AS worst"  # noqa: S608 - own words
        " FROM finding WHERE notification = ? GROUP BY manifest ORDER BY manifest",
        (identity,),
    )
    for one in rows:
        manifest = one["manifest"]
        image, worst = image_name(connection, manifest), SEVERITIES[one["worst"]]
        yield {"manifest": manifest, "image": image, "findings": one["findings"], "worst": worst}


def _state(fetch: str, deliveries: Sequence[str]) -> str:
    if fetch != "fetched":
        return fetch
    if "dead" in deliveries:
        return "dead"
    if "waiting" in deliveries or not deliveries:
        return "fetched"
    return "ended" if "dropped" in deliveries else "delivered"
