"""Keeps the store in order: what a wrong clock parked is due again, and what ended long ago is forgotten."""

from __future__ import annotations

import time

from .open_store import Store
from .wait_longer import LONGEST_SECONDS
from .write_log import timestamp

KEPT_DAYS = 90
# How often is looked whether the clock was set back.
_CLOCK_SECONDS = 10.0


class Keeper:
    """Does both when it is due, and nothing before; for one thread."""

    def __init__(self, store: Store, delete_seconds: float) -> None:
        self._store = store
        self._delete_seconds = delete_seconds
        self._cleaned = 0.0
        self._looked = -_CLOCK_SECONDS

    def heed_clock(self) -> None:
        """Let be due what waits longer than anything ever does: the clock was set back since."""
        if time.monotonic() < self._looked + _CLOCK_SECONDS:
            return
        self._looked = time.monotonic()
        latest = time.time() + max(LONGEST_SECONDS, self._delete_seconds) + 60
        parked = (
            ("notification", "next_try", "state = 'received'"),
            ("delivery", "next_try", "state = 'waiting'"),
            ("notification", "delete_at", "delete_at IS NOT NULL"),
        )
        for table, column, state in parked:
            which = f"{state} AND {column} > ?"
            with self._store.read() as connection:
                if not connection.execute(f"SELECT 1 FROM {table} WHERE {which} LIMIT 1", (latest,)).fetchone():  # noqa: S608
                    continue
            with self._store.write() as connection:
                connection.execute(f"UPDATE {table} SET {column} = 0 WHERE {which}", (latest,))  # noqa: S608 - own names

    def clean(self) -> None:
        """Once an hour: forget what ended KEPT_DAYS ago; what is dead stays until somebody has looked."""
        if time.monotonic() < self._cleaned + 3600 and self._cleaned:
            return
        self._cleaned = time.monotonic()
        old = (
            "SELECT id FROM notification WHERE received < ? AND state IN ('fetched', 'ended') AND delete_at IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM delivery WHERE notification = notification.id AND state IN ('waiting', 'dead'))"
        )
        limit = timestamp(time.time() - KEPT_DAYS * 86400)
        with self._store.write() as connection:
            for table in ("delivery", "finding"):
                connection.execute(f"DELETE FROM {table} WHERE notification IN ({old})", (limit,))  # noqa: S608 - own names
            connection.execute(f"DELETE FROM notification WHERE id IN ({old})", (limit,))  # noqa: S608 - own names
