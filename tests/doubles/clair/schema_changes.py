"""Run migrations like Clair does: one transaction each, recorded by number, up only, one replica at a time.

Source: remind101/migrate as used by quay/claircore datastore/postgres and quay/clair notifier/postgres.
"""

from __future__ import annotations

from .postgres_store import Database, DatabaseError, lock_key

Migrations = dict[int, str]


class MigrationFailed(Exception):
    """A migration did not go through; the text is the original's."""


def migrate(database: Database, table: str, migrations: Migrations, highest: int) -> None:
    """Bring the schema up to `highest`.

    Raises:
        MigrationFailed: the database refused one.
        ConnectionFailed: there is no connection.
    """
    connection = database.connect()
    try:
        connection.query("SELECT pg_advisory_lock($1::bigint)", [lock_key(f"migrate {table}")])
        try:
            connection.script(f"CREATE TABLE IF NOT EXISTS {table} (version integer PRIMARY KEY NOT NULL)")
        except DatabaseError as error:
            raise MigrationFailed(f"failed to perform migrations: {error}") from error
        done = {int(row[0]) for row in connection.query(f"SELECT version FROM {table}")}
        for number in sorted(number for number in migrations if number <= highest and number not in done):
            connection.script("BEGIN")
            try:
                if migrations[number]:
                    connection.script(migrations[number])
                connection.query(f"INSERT INTO {table} (version) VALUES ($1)", [number])
                connection.script("COMMIT")
            except DatabaseError as error:
                connection.script("ROLLBACK")
                raise MigrationFailed(f"failed to perform migrations: migration {number} failed: {error}") from error
    finally:
        connection.close()
