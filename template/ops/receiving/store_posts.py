"""One thread that writes what was posted: everything that waits goes to the disk in one commit (group commit)."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from .open_store import Store
from .write_log import timestamp

# Posts in one commit, and waiting at once (more than connections can be open).
_TOGETHER = 256
_WAITING = 1024
_REFUSED_KEPT = 20
_WAIT_SECONDS = 9.0


@dataclass
class Post:
    """A notification that was posted; `new` tells the poster whether it was unknown."""

    identity: str
    callback: str
    test: bool
    again_seconds: float
    new: Future[bool] = field(default_factory=Future)


@dataclass
class Refusal:
    """A post that was answered with an error."""

    status: int
    reason: str
    at: str


class Writer:
    """The thread; `stop` ends it once what was handed over is written."""

    def __init__(self, store: Store, arrived: threading.Event) -> None:
        self._store = store
        self._arrived = arrived
        self._queue: queue.Queue[Post | Refusal | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def add(self, identity: str, callback: str, test: bool, again_seconds: float) -> bool:
        """Return once a notification is on the disk: True if it is new. Raises sqlite3.Error or TimeoutError.

        One that is known and was, or is to be, deleted at Clair is there again (a restored database): it is deleted
        `again_seconds` from now.
        """
        post = Post(identity, callback, test, again_seconds)
        try:
            self._queue.put(post, timeout=1)
        except queue.Full as error:
            raise TimeoutError("too many posts wait") from error
        return post.new.result(_WAIT_SECONDS)

    def note_refusal(self, status: int, reason: str) -> None:
        """Remember a refused post soon; nothing is said if there is no room."""
        if self._queue.qsize() < _WAITING // 2:
            self._queue.put(Refusal(status, reason, timestamp()))

    def stop(self) -> None:
        """Write what waits and end."""
        self._queue.put(None)
        self._thread.join(_WAIT_SECONDS)

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < _TOGETHER and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            going = None not in batch
            self._write([item for item in batch if isinstance(item, Post)],
                        [item for item in batch if isinstance(item, Refusal)])  # fmt: skip

    def _write(self, posts: list[Post], refusals: list[Refusal]) -> None:
        try:
            with self._store.write() as connection:
                new = [insert_post(connection, post) for post in posts]
                rows = [(one.at, one.status, one.reason) for one in refusals[-_REFUSED_KEPT:]]
                connection.executemany("INSERT INTO refused VALUES (?, ?, ?)", rows)
                if rows:
                    connection.execute(
                        "DELETE FROM refused WHERE rowid <= (SELECT max(rowid) FROM refused) - ?", (_REFUSED_KEPT,)
                    )
        except sqlite3.Error as error:
            for post in posts:
                post.new.set_exception(error)
            return
        for post, fresh in zip(posts, new):
            post.new.set_result(fresh)
        if posts:
            self._arrived.set()


def insert_post(connection: sqlite3.Connection, post: Post) -> bool:
    """Store a post, or what its repetition means for one that is known; return whether it is new."""
    now = timestamp()
    row = (post.identity, post.callback, now, int(post.test))
    sql = "INSERT OR IGNORE INTO notification (id, callback, received, test) VALUES (?, ?, ?, ?)"
    if connection.execute(sql, row).rowcount == 1:
        return True
    # Also one that waits for its deletion, since Clair marks it as delivered after this answer, and one that was given up.
    connection.execute(
        "UPDATE notification SET deleted = NULL, delete_tries = 0, delete_at = ?"
        " WHERE id = ? AND (deleted IS NOT NULL OR delete_at IS NOT NULL OR delete_tries > 0)",
        (time.time() + post.again_seconds, post.identity),
    )
    # It was empty when it was asked for, or given up; Clair would not post again what it does not hold.
    connection.execute(
        "UPDATE notification SET state = 'received', tries = 0, answers = 0, next_try = 0, error = '', delete_at = NULL"
        " WHERE id = ? AND (state = 'dead' OR state = 'fetched' AND NOT EXISTS (SELECT 1 FROM finding WHERE notification = notification.id))",
        (post.identity,),
    )
    # The notifier is there: no reason to wait longer.
    connection.execute("UPDATE notification SET next_try = 0 WHERE id = ? AND state = 'received'", (post.identity,))
    return False
