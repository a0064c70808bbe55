"""The receiver's SQLite database: its tables, and transactions that are on the disk when they end.

WAL, so that the commands read while the server writes; `synchronous=FULL`, because a notification that was answered with
200 and lost is gone. Times of attempts are seconds since 1970, times to show are UTC in ISO 8601.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# How long a transaction waits for one of another process.
_BUSY_SECONDS = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS notification (
    id TEXT PRIMARY KEY,
    callback TEXT NOT NULL,
    received TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS finding (
    id TEXT PRIMARY KEY,         -- Clair's
    notification TEXT NOT NULL,
    fingerprint TEXT NOT NULL,   -- of what it says, without ids
    repeated INTEGER NOT NULL,   -- 1: the same was said before and has not been taken back since
    manifest TEXT NOT NULL, vulnerability TEXT NOT NULL, severity TEXT NOT NULL, package TEXT NOT NULL,
    version TEXT NOT NULL, fixed_in TEXT NOT NULL, reason TEXT NOT NULL, links TEXT NOT NULL
);
-- Those of earlier receivers: with them, each image was looked for among all findings of its notification.
DROP INDEX IF EXISTS finding_notification;
DROP INDEX IF EXISTS finding_fingerprint;
CREATE INDEX IF NOT EXISTS finding_manifest ON finding (notification, manifest);
CREATE INDEX IF NOT EXISTS finding_said ON finding (fingerprint, notification);
CREATE TABLE IF NOT EXISTS delivery (
    id TEXT PRIMARY KEY,         -- the Idempotency-Key
    notification TEXT NOT NULL, target TEXT NOT NULL, manifest TEXT NOT NULL,
    state TEXT NOT NULL,         -- waiting, delivered, dead, filtered, dropped
    tries INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    delivered TEXT,
    remaining TEXT NOT NULL DEFAULT ''  -- e-mail: JSON object, recipient to whether it has got it
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (target, state, next_try);
CREATE INDEX IF NOT EXISTS delivery_notification ON delivery (notification);
-- Until when a target asked to be left alone, in seconds since 1970: for what is planned meanwhile.
CREATE TABLE IF NOT EXISTS pause (target TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS checked (at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS refused (at TEXT NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL);
-- All names of an image: tags of several stages are often one digest. The newest has the highest rowid.
CREATE TABLE IF NOT EXISTS image (manifest TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (manifest, name));
"""
# What the first receiver, which only stored ids, did not have.
_COLUMNS = {
    "test": "INTEGER NOT NULL DEFAULT 0",
    "state": "TEXT NOT NULL DEFAULT 'received'",  # received, fetched, dead, ended (given up by somebody)
    "fetched": "TEXT",
    "deleted": "TEXT",  # at Clair
    "tries": "INTEGER NOT NULL DEFAULT 0",
    "answers": "INTEGER NOT NULL DEFAULT 0",  # of the tries, those that failed with an answer
    "next_try": "REAL NOT NULL DEFAULT 0",
    "error": "TEXT NOT NULL DEFAULT ''",
    "delete_at": "REAL",  # NULL: nothing to delete
    "delete_tries": "INTEGER NOT NULL DEFAULT 0",
}


class Store:
    """The database file; a connection per transaction, so that threads share nothing but the order of writing."""

    def __init__(self, path: Path) -> None:
        """Make the tables; raises sqlite3.Error."""
        self.path = path
        self._writing = threading.Lock()
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            _keep_names(connection)
            connection.executescript(_SCHEMA)
            present = {row[1] for row in connection.execute("PRAGMA table_info(notification)")}
            for name, kind in _COLUMNS.items():
                if name not in present:
                    connection.execute(f"ALTER TABLE notification ADD COLUMN {name} {kind}")
            connection.execute("CREATE INDEX IF NOT EXISTS notification_due ON notification (state, next_try)")
            connection.execute("CREATE INDEX IF NOT EXISTS notification_delete ON notification (delete_at)")
            connection.execute("CREATE INDEX IF NOT EXISTS notification_received ON notification (received)")
        # The last connection that closes moves the whole log into the database, which costs more than a commit.
        self._kept = self._connect()
        self._kept.execute("SELECT count(*) FROM refused").fetchone()

    @contextmanager
    def write(self, flushed: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: on the disk after the block, undone if the block raises. Raises sqlite3.Error.

        Not `flushed`, the next one that is takes it to the disk: for what a power failure may undo, as it is done again.
        """
        with self._writing, closing(self._connect(flushed)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view. Raises sqlite3.Error."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield connection

    def check(self) -> None:
        """Raise sqlite3.Error if the database cannot be written."""
        # A row, as an empty transaction needs no room on the disk.
        with self.write() as connection:
            connection.execute("INSERT INTO checked (at) VALUES (strftime('%s', 'now'))")
            connection.execute("DELETE FROM checked WHERE rowid < (SELECT max(rowid) FROM checked)")

    def _connect(self, flushed: bool = True) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous={'FULL' if flushed else 'NORMAL'}")
        return connection


def _keep_names(connection: sqlite3.Connection) -> None:
    """Let the table of an earlier receiver, which kept one name of an image, take more."""
    keys = "SELECT count(*) FROM pragma_table_info('image') WHERE pk"
    if connection.execute(keys).fetchone()[0] != 1:
        return
    connection.execute("BEGIN IMMEDIATE")
    # A command may have done it meanwhile.
    if connection.execute(keys).fetchone()[0] == 1:
        connection.execute("ALTER TABLE image RENAME TO one_name")
        connection.execute(
            "CREATE TABLE image (manifest TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (manifest, name))"
        )
        connection.execute("INSERT INTO image SELECT manifest, name FROM one_name ORDER BY rowid")
        connection.execute("DROP TABLE one_name")
    connection.execute("COMMIT")
