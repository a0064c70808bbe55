"""One thread that fetches what notifications report, stores it, and deletes the notification at Clair.

Clair sets a notification to `delivered` after the receiver's 200; a deletion before that is overwritten and its rows stay
for ever. So it is deleted `delete_seconds` after it was fetched, never while it is being posted.
Source: notifier/delivery.go, notifier/postgres/set_status.go at v4.9.0; a page holds 500 findings unless asked otherwise.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from .expect_tests import NOTIFICATION_PATH, TEST_NOTIFIER
from .keep_store import Keeper
from .learn_names import Names
from .open_store import Store
from .plan_deliveries import plan_deliveries, store_findings
from .read_settings import Target
from .sign_token import sign_token
from .wait_longer import FETCH_TRIES, wait_seconds
from .write_log import log, timestamp

_TIMEOUT_SECONDS = 30.0
_MAXIMUM_PAGE_BYTES = 16 * 1024 * 1024
_MAXIMUM_PAGES = 20_000
_DELETE_TRIES = 12
_TEST_DELETE_SECONDS = 2.0
# Findings in one transaction.
_TOGETHER = 100


class Failed(Exception):
    """One sentence why the notifier gave no answer that counts."""


class NotReached(Failed):
    """The notifier gave no answer at all: it is asked again for as long as that takes."""


class Fetcher:
    """The thread; `stop` ends it after the page that it reads."""

    def __init__(
        self,
        store: Store,
        key: bytes,
        targets: list[Target],
        arrived: threading.Event,
        *,
        notifier: str,
        names: Names,
        delete_seconds: float,
    ):
        self._store = store
        self._key = key
        self._targets = targets
        self._arrived = arrived
        self._notifier = notifier
        self._names = names
        self._delete_seconds = delete_seconds
        self._stopping = threading.Event()
        self._keeper = Keeper(store, delete_seconds)
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._arrived.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._keeper.heed_clock()
                if self._once():
                    continue
                self._keeper.clean()
            except sqlite3.Error as error:
                log("error", "database not written", error=str(error))
                self._stopping.wait(1)
            self._arrived.wait(0.5)
            self._arrived.clear()

    def _once(self) -> bool:
        """Fetch or delete one that is due; return False if none is."""
        now = time.time()
        with self._store.read() as connection:
            fetch = connection.execute(
                "SELECT * FROM notification WHERE state = 'received' AND next_try <= ? ORDER BY next_try, rowid LIMIT 1",
                (now,),
            ).fetchone()
            delete = connection.execute(
                "SELECT * FROM notification WHERE delete_at <= ? ORDER BY delete_at LIMIT 1", (now,)
            ).fetchone()
        if fetch:
            self._fetch(fetch)
        if delete:
            self._delete(delete)
        return bool(fetch or delete)

    def _fetch(self, row: sqlite3.Row) -> None:
        identity = row["id"]
        try:
            total = self._store_pages(row)
        except sqlite3.Error:
            raise
        except Exception as error:
            # Whatever one notification holds, the next ones do not wait for it.
            known = isinstance(error, Failed)
            self._put_off(row, str(error) if known else f"internal error: {type(error).__name__}", error)
            # The next one will hardly fare better: leave the processor to the posts.
            self._stopping.wait(wait_seconds(1) / 5)
            return
        self._names.learn(self._store)
        delay = _TEST_DELETE_SECONDS if row["test"] else self._delete_seconds
        with self._store.write() as connection:
            count = plan_deliveries(connection, identity, self._targets, bool(row["test"]))
            # An empty page: Clair does not know the id (any more), so there is nothing to delete either.
            connection.execute(
                "UPDATE notification SET state = 'fetched', fetched = ?, tries = tries + 1, error = ?, delete_at = ?"
                " WHERE id = ? AND state = 'received'",
                (
                    timestamp(),
                    "" if total else "unknown to Clair: it answered an empty page",
                    time.time() + delay if total else None,
                    identity,
                ),
            )
        log("info", "notification fetched", notification_id=identity, findings=total, deliveries=count)

    def _store_pages(self, row: sqlite3.Row) -> int:
        """Store the findings of every page; return how many there are."""
        total = 0
        for findings in self._pages(self._address(row)):
            total += len(findings)
            for start in range(0, len(findings), _TOGETHER):
                # In small transactions: posts wait for them.
                with self._store.write(flushed=False) as connection:
                    store_findings(connection, row["id"], findings[start : start + _TOGETHER])
        return total

    def _address(self, row: sqlite3.Row) -> str:
        """Return where a notification is asked for: the notifier's own address, whatever was posted once."""
        return f"{TEST_NOTIFIER if row['test'] else self._notifier}{NOTIFICATION_PATH}{row['id']}"

    def _put_off(self, row: sqlite3.Row, error: str, cause: Exception) -> None:
        tries = row["tries"] + 1
        # Only answers count: a notifier that comes back after days may answer 500 while it starts.
        answers = row["answers"] + (not isinstance(cause, NotReached))
        dead = answers >= FETCH_TRIES
        with self._store.write(flushed=False) as connection:
            # A test that was ended meanwhile stays ended.
            connection.execute(
                "UPDATE notification SET tries = ?, answers = ?, next_try = ?, error = ?, state = ?"
                " WHERE id = ? AND state = 'received'",
                (tries, answers, time.time() + wait_seconds(tries), error, "dead" if dead else "received", row["id"]),
            )
        log(
            "error" if dead else "warn", "notification not fetched", notification_id=row["id"], error=error, tries=tries
        )

    def _delete(self, row: sqlite3.Row) -> None:
        status, body, error, tries = 0, b"", "", row["delete_tries"] + 1
        try:
            status, body = self._ask("DELETE", self._address(row))
        except NotReached as away:
            # It is asked for as long as that takes.
            error, tries = str(away), min(tries, _DELETE_TRIES // 2)
        except Failed as failed:
            error = str(failed)
        # 500 is Clair's answer for one that is not there (4.9.0): deleted by an earlier try.
        gone = status in (200, 204, 404) or (status == 500 and b"no receipt exists" in body)
        following = None if gone or tries >= _DELETE_TRIES else time.time() + wait_seconds(tries)
        error = "" if gone else f"not deleted at Clair: {error or f'HTTP {status}'}"
        with self._store.write(flushed=False) as connection:
            connection.execute(
                "UPDATE notification SET deleted = ?, delete_tries = ?, delete_at = ?, error = ?"
                # Posted again meanwhile, it is deleted later once more.
                " WHERE id = ? AND delete_at = ?",
                (timestamp() if gone else None, tries, following, error, row["id"], row["delete_at"]),
            )
        log("info" if gone else "warn", "notification deleted at Clair" if gone else error, notification_id=row["id"])

    def _pages(self, callback: str) -> Iterator[list[dict[str, Any]]]:
        following: str | None = None
        seen: set[str] = set()
        for _ in range(_MAXIMUM_PAGES):
            status, body = self._ask("GET", callback + (f"?next={quote(following)}" if following else ""))
            if status != 200:
                raise Failed(f"the notifier answered HTTP {status}")
            try:
                document = json.loads(body)
                findings, following = document["notifications"] or [], (document.get("page") or {}).get("next")
                readable = all(
                    isinstance(one["id"], str) and isinstance(one["vulnerability"], dict) for one in findings
                )
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise Failed("the notifier's page is unreadable") from error
            if not readable:
                raise Failed("the notifier's page is unreadable")
            if seen and not findings:
                # Clair names a next page only where it holds something: the notification went away in between.
                raise Failed("the notifier's next page is empty")
            yield findings
            if not following:
                return
            if following in seen or not isinstance(following, str):
                break
            seen.add(following)
        raise Failed("the notifier's pages never end")

    def _ask(self, method: str, url: str) -> tuple[int, bytes]:
        """Ask the notifier, never through a proxy and never following a redirect."""
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
        headers = {
            "Authorization": f"Bearer {sign_token(self._key, time.time())}",
            "Accept": "*/*",
            "Connection": "close",
        }
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers)
            answer = connection.getresponse()
            body = answer.read(_MAXIMUM_PAGE_BYTES + 1)
            # The length that was announced is missing only where `read` was stopped by its limit.
            if len(body) <= _MAXIMUM_PAGE_BYTES and answer.length:
                raise Failed("the notifier's answer broke off")
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(
                f"the notifier was not reached: {getattr(error, 'strerror', None) or type(error).__name__}"
            ) from error
        finally:
            connection.close()
        if len(body) > _MAXIMUM_PAGE_BYTES:
            raise Failed("the notifier's page is too large")
        return answer.status, body
