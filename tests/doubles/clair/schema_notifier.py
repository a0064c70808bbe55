"""The notifier's tables: names and columns as in Clair's database, in the state after Clair's migration 3."""

from __future__ import annotations

from .schema_changes import Migrations

MIGRATION_TABLE = "notifier_migrations"

MIGRATIONS: Migrations = {
    1: """
CREATE TABLE notification (id uuid PRIMARY KEY);
CREATE TABLE notifier_update_operation (uo_id uuid PRIMARY KEY, updater text, ts timestamptz);
CREATE TABLE notification_body (
    id              uuid PRIMARY KEY,
    notification_id uuid REFERENCES notification (id) ON DELETE CASCADE,
    body            jsonb NOT NULL
);
CREATE INDEX notification_body_idx ON notification_body (notification_id, id);
CREATE TYPE receiptstatus AS ENUM ('created', 'delivered', 'delivery_failed', 'deleted');
CREATE TABLE receipt (
    notification_id uuid PRIMARY KEY REFERENCES notification (id) ON DELETE CASCADE,
    uo_id           uuid REFERENCES notifier_update_operation (uo_id) ON DELETE CASCADE,
    status          receiptstatus NOT NULL,
    ts              timestamptz,
    details         jsonb
);
CREATE INDEX receipt_idx ON receipt (notification_id, uo_id);
CREATE TABLE key (id uuid PRIMARY KEY, expiration timestamptz, pub_key bytea);
""",
    2: "",
    3: "",
}
