"""A thread per target that sends what waits for it, so that a slow target holds up no other.

At least once: a message is marked after the target took it. Killed in between, it is sent again with the same
Idempotency-Key or Message-ID; a message in parts from its first part on.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from email.message import EmailMessage
from typing import Any

from .form_message import WEBHOOK_FINDINGS, form_email, form_slack, form_webhook
from .open_store import Store
from .plan_deliveries import image_name, select_findings
from .read_settings import Target
from .send_message import NotSent, post, send_email, served_recipients
from .wait_longer import wait_seconds
from .write_log import log, timestamp

_LOOK_SECONDS = 0.5
# One large message is formed at a time: several at once are more than the memory of the container.
_FORMING = threading.Lock()


class Deliverer:
    """The thread of one target; `stop` ends it after the message that it sends."""

    def __init__(self, store: Store, target: Target, context: ssl.SSLContext) -> None:
        self._store = store
        self._target = target
        self._context = context
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"target {target.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no other message; one that is being sent is sent again at the next start if it does not end soon."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the message that is being sent."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._once():
                    continue
            except sqlite3.Error as error:
                log("error", "database not written", error=str(error), target=self._target.name)
            self._stopping.wait(_LOOK_SECONDS)

    def _once(self) -> bool:
        with self._store.read() as connection:
            row = connection.execute(
                "SELECT delivery.*, test FROM delivery JOIN notification ON notification.id = notification"
                " WHERE target = ? AND delivery.state = 'waiting' AND delivery.next_try <= ?"
                " ORDER BY delivery.next_try, delivery.rowid LIMIT 1",
                (self._target.name, time.time()),
            ).fetchone()
            if row is None:
                return False
            about = (row["notification"], row["manifest"])
            sql = "SELECT count(*) FROM finding WHERE notification = ? AND manifest = ?"
            (count,) = connection.execute(sql, about).fetchone()
        try:
            with _FORMING if count > WEBHOOK_FINDINGS else nullcontext():
                formed = self._form(row)
            if formed is None:
                # The filters were changed since it was planned.
                self._mark(row, "filtered", row["tries"])
                return True
            self._send(row, formed)
        except sqlite3.Error:
            raise
        except NotSent as failed:
            self._put_off(row, failed)
        except Exception as error:
            # A thread that ended would hold up its target for ever.
            self._put_off(row, NotSent(f"unexpected {type(error).__name__}"))
        else:
            self._mark(row, "delivered", row["tries"] + 1)
            log("info", "message delivered", target=self._target.name, delivery_id=row["id"])
        return True

    def _form(self, row: sqlite3.Row) -> EmailMessage | Iterator[tuple[str, bytes]] | None:
        """Return the e-mail, or the parts with their keys; None if the filters leave nothing."""
        delivery, target, test = dict(row), self._target, bool(row["test"])
        with self._store.read() as connection:

            def links(identity: str) -> str:
                (text,) = connection.execute("SELECT links FROM finding WHERE id = ?", (identity,)).fetchone()
                return str(text)

            image = image_name(connection, row["manifest"], target.image)
            connection.row_factory = _slim()
            findings = select_findings(connection, row["notification"], row["manifest"], target, test)
            connection.row_factory = None
            if not findings:
                return None
            if target.type == "email":
                return form_email(delivery, image, findings, test, target, links=links)
            if target.type == "slack":
                return iter([(row["id"], form_slack(delivery, image, findings, test))])
            return self._parts(delivery, image, [finding["id"] for finding in findings], test)

    def _parts(
        self, delivery: Mapping[str, Any], image: str, ids: list[str], test: bool
    ) -> Iterator[tuple[str, bytes]]:
        """Form each part when it is sent, so that a message that waits for a slow target holds ids alone."""
        parts = -(-len(ids) // WEBHOOK_FINDINGS)
        for part in range(1, parts + 1):
            wanted = ids[(part - 1) * WEBHOOK_FINDINGS : part * WEBHOOK_FINDINGS]
            with self._store.read() as connection:
                sql = "SELECT * FROM finding WHERE id = ?"
                findings = [connection.execute(sql, (one,)).fetchone() for one in wanted]
            body = form_webhook(delivery, image, findings, test, (part, parts))
            del findings
            yield delivery["id"] + (f"-{part}" if part > 1 else ""), body

    def _send(self, row: sqlite3.Row, formed: EmailMessage | Iterator[tuple[str, bytes]]) -> None:
        target = self._target
        if isinstance(formed, EmailMessage):
            served = served_recipients(target, row["remaining"])
            # Compared with those of today: a recipient that was corrected is not among the served.
            recipients = [one for one in target.recipients if not served.get(one)]
            if recipients:
                send_email(target, formed, recipients, self._context)
            return
        for key, body in formed:
            try:
                post(target, body, key, self._context)
            except NotSent as failed:
                part = key.removeprefix(row["id"]).lstrip("-")
                raise NotSent(f"part {part}: {failed}" if part else str(failed), pause=failed.pause) from failed

    def _put_off(self, row: sqlite3.Row, failed: NotSent) -> None:
        tries = row["tries"] + 1
        state = "dead" if tries >= self._target.tries else "waiting"
        served = None
        if failed.got:
            before = served_recipients(self._target, row["remaining"])
            served = dict.fromkeys(self._target.recipients, False) | before | dict.fromkeys(failed.got, True)
        self._mark(row, state, tries, failed, served)
        level, what = ("error", "dead letter") if state == "dead" else ("warn", "message not delivered")
        log(level, what, target=self._target.name, delivery_id=row["id"], error=str(failed), tries=tries)

    def _mark(
        self,
        row: sqlite3.Row,
        state: str,
        tries: int,
        failed: NotSent | None = None,
        served: dict[str, bool] | None = None,
    ) -> None:
        """Write a result; the target has answered, so a database that is full for a while is waited for.

        A pause that the target asked for holds for all that waits for it; `notifications retry` does not heed it.
        """
        now, pause = time.time(), failed.pause if failed else 0.0
        values = (state, tries, str(failed or ""), now + wait_seconds(max(1, tries)),
                  timestamp() if state == "delivered" else None,
                  json.dumps(served) if served is not None else None, row["id"])  # fmt: skip
        while True:
            try:
                with self._store.write(flushed=False) as connection:
                    connection.execute(
                        "UPDATE delivery SET state = ?, tries = ?, error = ?, next_try = ?, delivered = ?,"
                        " remaining = coalesce(?, remaining) WHERE id = ?",
                        values,
                    )
                    if pause:
                        connection.execute(
                            "INSERT OR REPLACE INTO pause (target, until) VALUES (?, ?)",
                            (self._target.name, now + pause),
                        )
                        connection.execute(
                            "UPDATE delivery SET next_try = ? WHERE target = ? AND state = 'waiting' AND next_try < ?",
                            (now + pause, self._target.name, now + pause),
                        )
                return
            except sqlite3.Error as full:
                log("error", "database not written", error=str(full), target=self._target.name)
                if self._stopping.wait(1):
                    return


def _slim() -> Callable[[sqlite3.Cursor, tuple[Any, ...]], sqlite3.Row]:
    """Return a row factory that leaves out what is long, and keeps what rows have in common once."""
    common: dict[str, str] = {}

    def make(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> sqlite3.Row:
        kept = []
        for (name, *_), value in zip(cursor.description, values, strict=True):
            if name in ("links", "fingerprint"):
                kept.append("")
            elif name in ("id", "vulnerability"):
                kept.append(value)
            else:
                kept.append(common.setdefault(value, value))
        return sqlite3.Row(cursor, tuple(kept))

    return make


def end_unknown_targets(store: Store, targets: Sequence[Target]) -> None:
    """What waits for a target that settings.toml no longer has becomes a dead letter."""
    names = [target.name for target in targets]
    marks = ",".join("?" * len(names))
    with store.write() as connection:
        sql = f"UPDATE delivery SET state = 'dead', error = ? WHERE state = 'waiting' AND target NOT IN ({marks})"  # noqa: S608
        connection.execute(sql, ["settings.toml has no such target", *names])
