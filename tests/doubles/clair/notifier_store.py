"""The notifier's data in PostgreSQL, in Clair's tables."""

from __future__ import annotations

import json
import uuid
from typing import Any

from .postgres_store import Database


class NotifierStore:
    """Notifications, their bodies and receipts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def has_receipt(self, operation: str) -> bool:
        """Say whether an update operation was dealt with."""
        return bool(self._database.query("SELECT 1 FROM receipt WHERE uo_id = $1::uuid", [operation]))

    def put_receipt(self, updater: str, operation: str) -> None:
        """Mark an update operation that affects nobody as delivered."""
        self._put(updater, operation, str(uuid.uuid4()), "delivered", [])

    def put_notifications(self, updater: str, operation: str, bodies: list[dict[str, Any]]) -> str:
        """Store notifications to be delivered and return their common id."""
        identifier = str(uuid.uuid4())
        self._put(updater, operation, identifier, "created", bodies)
        return identifier

    def _put(self, updater: str, operation: str, identifier: str, status: str, bodies: list[dict[str, Any]]) -> None:
        with self._database.transaction() as connection:
            connection.query("INSERT INTO notification (id) VALUES ($1::uuid)", [identifier])
            for body in bodies:
                body["id"] = str(uuid.uuid4())
            if bodies:
                connection.query(
                    "INSERT INTO notification_body (id, notification_id, body) SELECT (entry ->> 'id')::uuid, $2::uuid, "
                    "entry::jsonb FROM json_array_elements($1::json) AS entry",
                    [json.dumps(bodies), identifier],
                )
            connection.query(
                "INSERT INTO notifier_update_operation (updater, uo_id, ts) VALUES ($1, $2::uuid, now())",
                [updater, operation],
            )
            connection.query(
                "INSERT INTO receipt (notification_id, uo_id, status, ts) "
                "VALUES ($1::uuid, $2::uuid, $3::receiptstatus, now())",
                [identifier, operation, status],
            )

    def with_status(self, status: str) -> list[str]:
        """Return the ids of notifications in a status."""
        rows = self._database.query("SELECT notification_id FROM receipt WHERE status = $1::receiptstatus", [status])
        return [row[0] for row in rows]

    def set_status(self, identifier: str, status: str) -> bool:
        """Change a notification's status; returns whether there is such a notification."""
        return bool(
            self._database.query(
                "UPDATE receipt SET status = $1::receiptstatus, ts = now() WHERE notification_id = $2::uuid "
                "RETURNING notification_id",
                [status, identifier],
            )
        )

    def page(self, identifier: str, after: str, size: int) -> tuple[list[dict[str, Any]], str | None]:
        """Return up to `size` notifications after an id, and the id to go on from if there are more."""
        rows = self._database.query(
            "SELECT body FROM notification_body WHERE notification_id = $1::uuid AND id > $2::uuid ORDER BY id LIMIT $3::int",
            [identifier, after, size + 1],
        )
        bodies = [_ordered(json.loads(row[0])) for row in rows[:size]]
        return bodies, bodies[-1]["id"] if len(rows) > size else None

    def collect(self) -> None:
        """Delete notifications that were marked as deleted."""
        self._database.query(
            "DELETE FROM notification USING receipt WHERE notification.id = receipt.notification_id AND status = 'deleted'"
        )


_ORDER = (
    "id", "did", "manifest", "reason", "vulnerability", "name", "description", "package", "distribution", "repo", "severity",
    "fixed_in_version", "links", "version", "version_code_name", "kind", "source", "normalized_version", "module", "version_id",
    "arch", "cpe", "pretty_name",
)  # fmt: skip


def _ordered(value: Any) -> Any:
    """Write the keys in the order of Clair's types; jsonb has its own."""
    if not isinstance(value, dict):
        return value
    known = {name: place for place, name in enumerate(_ORDER)}
    return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: known.get(name, len(known)))}
