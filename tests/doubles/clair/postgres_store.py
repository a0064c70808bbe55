"""A pool of PostgreSQL sessions, and advisory locks that two replicas respect."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .connection_string import parse_connection_string
from .postgres_wire import Connection, ConnectionFailed, DatabaseError, Row
from .releases import Release

_RETRY_SECONDS = 0.1

__all__ = ["ConnectionFailed", "Database", "DatabaseError"]


class Database:
    """Sessions to one database as one role, opened when needed and kept."""

    def __init__(self, connection_string: str, application_name: str, release: Release) -> None:
        """Parse the connection string; nothing is opened yet.

        Raises:
            ConnectionStringProblem: the string is malformed.
        """
        self._modern = release.since("4.9.0")  # pgx v5
        self.target = parse_connection_string(connection_string, application_name, self._modern)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self.target.pool_size)
        self._locking: Connection | None = None  # one session holds all advisory locks, as in Clair's ctxlock
        self._locking_guard = threading.Lock()
        self._names: dict[str, threading.Lock] = {}
        self._closed = False

    def connect(self) -> Connection:
        """Open a session of its own, outside the pool.

        Raises:
            ConnectionFailed: with pgx's wording.
        """
        return Connection(self.target, self._modern)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Lend a session; one that broke is dropped, like pgx does."""
        with self._slots:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection and connection.is_dead():
                self._drop(connection)
                connection = None
            connection = connection or self.connect()
            try:
                yield connection
            finally:
                if connection.broken:
                    self._drop(connection)
                else:
                    with self._lock:
                        self._idle.append(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a session inside BEGIN and COMMIT; any exception rolls back."""
        with self.session() as connection:
            connection.script("BEGIN")
            try:
                yield connection
            except BaseException:
                if not connection.broken:
                    try:
                        connection.script("ROLLBACK")
                    except ConnectionFailed:
                        pass
                raise
            connection.script("COMMIT")

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement in a lent session."""
        with self.session() as connection:
            return connection.query(sql, parameters)

    def _drop(self, connection: Connection) -> None:
        """Close a session that is gone, and the idle ones, which are as dead when the server went away."""
        with self._lock:
            stale, self._idle = [connection, *self._idle], []
        for other in stale:
            other.close()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the advisory lock of this name; waits for it, and for the server, as long as it takes."""
        with self._lock:
            exclusive = self._names.setdefault(name, threading.Lock())
        key = lock_key(name)
        with exclusive:
            while not self._ask_for_lock("SELECT pg_try_advisory_lock($1::bigint)", key):
                if self._closed:
                    raise ConnectionFailed("context canceled")
                time.sleep(_RETRY_SECONDS)
            try:
                yield
            finally:
                self._ask_for_lock("SELECT pg_advisory_unlock($1::bigint)", key)

    def _ask_for_lock(self, sql: str, key: int) -> bool:
        with self._locking_guard:
            try:
                if self._locking is None or self._locking.is_dead():
                    self._locking = self.connect()
                return bool(self._locking.query(sql, [key])[0][0] == "t")
            except ConnectionFailed:
                self._locking = None
                return False

    @contextmanager
    def try_lock(self, name: str) -> Iterator[bool]:
        """Try to take the advisory lock of this name on a session of its own; yields whether it was free."""
        key = lock_key(name)
        connection = self.connect()
        try:
            yield connection.query("SELECT pg_try_advisory_lock($1::bigint)", [key])[0][0] == "t"
        finally:
            connection.close()

    def close(self) -> None:
        """Close the idle sessions."""
        self._closed = True
        with self._lock:
            stale, self._idle = self._idle, []
        with self._locking_guard:
            if self._locking:
                stale.append(self._locking)
        for connection in stale:
            connection.close()


def lock_key(name: str) -> int:
    """Return the 64 bit key of an advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
