"""A thread per target that sends what waits for it, so that a slow target holds up no other.

At least once: a message is marked after the target took it. Killed in between, it is sent again with the same
Idempotency-Key or Message-ID.
"""

from __future__ import annotations

import json
import sqlite3
import ssl
import threading
import time
from collections.abc import Sequence

from .form_message import form_email, form_slack, form_webhook
from .open_store import Store
from .plan_deliveries import image_name, select_findings
from .read_settings import Target
from .send_message import NotSent, post, send_email, served_recipients
from .wait_longer import wait_seconds
from .write_log import log, timestamp

_LOOK_SECONDS = 0.5


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
            test = bool(row["test"])
            findings = select_findings(connection, row["notification"], row["manifest"], self._target, test)
            image = image_name(connection, row["manifest"])
        if not findings:
            # The filters were changed since it was planned.
            self._mark(row["id"], "filtered", row["tries"], "")
            return True
        try:
            self._send(row, image, findings, test)
        except NotSent as failed:
            self._put_off(row, failed)
        except Exception as error:
            # A thread that ended would hold up its target for ever.
            self._put_off(row, NotSent(f"unexpected {type(error).__name__}"))
        else:
            self._mark(row["id"], "delivered", row["tries"] + 1, "")
            log("info", "message delivered", target=self._target.name, delivery_id=row["id"])
        return True

    def _send(self, row: sqlite3.Row, image: str, findings: Sequence[sqlite3.Row], test: bool) -> None:
        delivery, target = dict(row), self._target
        said = [dict(finding) for finding in findings]
        if target.type == "email":
            message = form_email(delivery, image, said, test, target)
            served = served_recipients(target, row["remaining"])
            # Compared with those of today: a recipient that was corrected is not among the served.
            recipients = [one for one in target.recipients if not served.get(one)]
            if recipients:
                send_email(target, message, recipients, self._context)
            return
        form = form_slack if target.type == "slack" else form_webhook
        post(target, form(delivery, image, said, test), row["id"], self._context)

    def _put_off(self, row: sqlite3.Row, failed: NotSent) -> None:
        tries = row["tries"] + 1
        state = "dead" if tries >= self._target.tries else "waiting"
        served = None
        if failed.got:
            before = served_recipients(self._target, row["remaining"])
            served = dict.fromkeys(self._target.recipients, False) | before | dict.fromkeys(failed.got, True)
        self._mark(row["id"], state, tries, str(failed), served)
        level, what = ("error", "dead letter") if state == "dead" else ("warn", "message not delivered")
        log(level, what, target=self._target.name, delivery_id=row["id"], error=str(failed), tries=tries)

    def _mark(self, identity: str, state: str, tries: int, error: str, served: dict[str, bool] | None = None) -> None:
        """Write a result; the target has answered, so a database that is full for a while is waited for."""
        values = (state, tries, error, time.time() + wait_seconds(max(1, tries)),
                  timestamp() if state == "delivered" else None,
                  json.dumps(served) if served is not None else None, identity)  # fmt: skip
        while True:
            try:
                with self._store.write(flushed=False) as connection:
                    connection.execute(
                        "UPDATE delivery SET state = ?, tries = ?, error = ?, next_try = ?, delivered = ?,"
                        " remaining = coalesce(?, remaining) WHERE id = ?",
                        values,
                    )
                return
            except sqlite3.Error as full:
                log("error", "database not written", error=str(full), target=self._target.name)
                if self._stopping.wait(1):
                    return


def end_unknown_targets(store: Store, targets: Sequence[Target]) -> None:
    """What waits for a target that settings.toml no longer has becomes a dead letter."""
    names = [target.name for target in targets]
    marks = ",".join("?" * len(names))
    with store.write() as connection:
        sql = f"UPDATE delivery SET state = 'dead', error = ? WHERE state = 'waiting' AND target NOT IN ({marks})"  # noqa: S608
        connection.execute(sql, ["settings.toml has no such target", *names])
