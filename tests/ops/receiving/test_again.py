"""What is tried again: dead letters, what waits, and what a clock that was set back would park for ever."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
from ops.receiving.send_message import pause_seconds

from tests.ops.receiving.conftest import PATH, Notifier, Receiver, Sink, finding, wait_until

MONTH = 30 * 86400


def change(receiver: Receiver, sql: str, *values: Any) -> None:
    """Change the database behind the receiver's back."""
    with closing(sqlite3.connect(receiver.folder / "receiver.db", isolation_level=None, timeout=10)) as connection:
        connection.execute(sql, values)


def test_dead_letter_of_a_target_that_is_gone_is_not_said_to_be_sent_again(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    """Nobody would send it, and the answer was 1, exit 0."""
    sink.status = 500
    idle.target("old", "webhook", sink.url)
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: sink.got)
    idle.kill()
    (idle.folder / "settings.toml").unlink()
    idle.start()

    results = [idle.run("retry"), idle.run("retry", identity)]

    for result in results:
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == (
            "not sent again, old: settings.toml has no such target (1 dead)\n"
            "HINT: name a [[target]] so in config/receiver/settings.toml, run ./clair up, then ./clair notifications retry\n"
        )
    assert idle.one(identity)["deliveries"][0]["state"] == "dead"


def test_unknown_id_is_refused_with_the_way_out(receiver: Receiver) -> None:
    result = receiver.run("retry", "--", "-x")

    assert (result.returncode, result.stderr) == (
        2,
        "nothing to send again, -x: no notification and no delivery with this id is dead or waits\n"
        "HINT: ./clair notifications --json\n",
    )


def test_what_waits_is_sent_at_once_when_its_id_is_given(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.extra["RECEIVER_RETRY_SECONDS"] = "1000"
    sink.status = 500
    idle.target("hook", "webhook", sink.url)
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: sink.got and idle.one(identity)["deliveries"][0]["tries"])
    sink.status = 200

    everything, one = idle.run("retry"), idle.run("retry", identity)

    assert [everything.stdout, one.stdout] == ['{"retried": 0}\n', '{"retried": 1}\n']
    wait_until(lambda: idle.one(identity)["state"] == "delivered")


def test_target_that_asks_to_be_left_alone_is_and_its_whole_queue_waits(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    idle.extra["RECEIVER_RETRY_SECONDS"] = "0.01"
    sink.status, sink.headers, sink.delay = 429, {"Retry-After": "1800"}, 0.5
    idle.target("hook", "webhook", sink.url)
    idle.start()
    identities = [notifier.add(finding("CVE-1")), notifier.add(finding("CVE-2"))]
    asked_at = time.time()
    for identity in identities:
        idle.notify(identity)

    def waits() -> list[tuple[str, float]]:
        with closing(sqlite3.connect(idle.folder / "receiver.db", timeout=10)) as connection:
            return connection.execute("SELECT state, next_try FROM delivery").fetchall()

    wait_until(lambda: len(waits()) == 2 and all(due >= asked_at + 1800 for _, due in waits()))
    assert {state for state, _ in waits()} == {"waiting"}
    identities.append(notifier.add(finding("CVE-3")))
    idle.notify(identities[-1])
    wait_until(lambda: len(waits()) == 3)
    assert all(due >= asked_at + 1800 for _, due in waits())
    sink.status, sink.headers, sink.delay = 200, {}, 0.0
    assert [idle.run("retry", one).stdout for one in identities] == ['{"retried": 1}\n'] * 3
    wait_until(lambda: {idle.one(identity)["state"] for identity in identities} == {"delivered"})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("Wed, 25 Nov 2026 12:00:40 GMT", 40.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 25 Nov 2126 12:00:00 GMT", 3600.0),
        ("999999999999", 3600.0),
        ("9999999999999999", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("\u0665", 0.0),
        ("", 0.0),
    ],
)
def test_a_pause_is_seconds_or_a_date_and_at_most_an_hour(header: str, seconds: float) -> None:
    assert pause_seconds(header, 1795608000.0) == seconds


def test_clock_that_was_set_back_parks_nothing(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.extra["RECEIVER_RETRY_SECONDS"] = "1000"
    sink.status = 500
    idle.target("hook", "webhook", sink.url)
    idle.start()
    sent = notifier.add(finding())
    idle.notify(sent)
    wait_until(lambda: sink.got and idle.one(sent)["deliveries"][0]["tries"] and idle.one(sent)["deleted_at"])
    notifier.status = 503
    unfetched = notifier.add(finding("CVE-2"))
    idle.notify(unfetched)
    wait_until(lambda: idle.one(unfetched)["tries"])
    idle.kill()
    change(idle, "UPDATE delivery SET next_try = ?", time.time() + MONTH)
    change(idle, "UPDATE notification SET next_try = ? WHERE state = 'received'", time.time() + MONTH)
    change(idle, "UPDATE notification SET delete_at = ? WHERE state = 'fetched'", time.time() + MONTH)
    sink.status, notifier.status = 200, 0

    idle.start()

    wait_until(lambda: {row["state"] for row in idle.list()["notifications"]} == {"delivered"})
    wait_until(lambda: sorted(notifier.deleted) == sorted([sent, sent, unfetched]))


def test_notification_that_is_posted_again_is_fetched_at_once(idle: Receiver, notifier: Notifier) -> None:
    idle.extra["RECEIVER_RETRY_SECONDS"] = "20"
    notifier.status = 503
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["tries"])
    notifier.status = 0

    idle.notify(identity)

    # Four seconds of them are for the others.
    wait_until(lambda: idle.one(identity)["state"] == "fetched", 10)


def test_deletion_that_is_pending_waits_for_a_post_that_came_again(idle: Receiver, notifier: Notifier) -> None:
    """Clair marks it as delivered after the second 200; deleted before that, its rows stay for ever."""
    idle.extra["RECEIVER_DELETE_SECONDS"] = "3"
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["fetched_at"])
    change(idle, "UPDATE notification SET delete_at = ?", time.time() + 1.0)  # as if most of the delay were over

    idle.notify(identity)
    posted = time.monotonic()

    wait_until(lambda: notifier.deleted)
    assert time.monotonic() - posted > 2.8


def begun_test(receiver: Receiver) -> str:
    """Start the receiver and post what a notify-test makes; return the notification's id."""
    receiver.start()
    identity = "00000000-0000-4000-8000-000000000001"
    callback = f"http://notifier-test:6060{PATH}{identity}"
    assert receiver.run("expect-test", "60").returncode == 0
    assert receiver.post(json.dumps({"notification_id": identity, "callback": callback}).encode())[0] == 200
    return identity


def test_a_test_that_arrived_leaves_no_error_of_its_deletion(idle: Receiver) -> None:
    """Its notifier is removed with it, so the deletion never comes through."""
    identity = begun_test(idle)
    sql = "UPDATE notification SET state = 'fetched', delete_at = ?, error = 'not deleted at Clair: HTTP 500'"
    change(idle, sql, time.time() + MONTH)

    assert idle.run("expect-test", "0").returncode == 0

    assert idle.one(identity)["error"] == ""


def test_a_test_that_was_given_up_is_no_dead_letter(idle: Receiver) -> None:
    identity = begun_test(idle)

    assert idle.run("expect-test", "0").returncode == 0

    assert idle.one(identity)["state"] == "ended"
    assert (idle.run("retry").stdout, idle.one(identity)["state"]) == ('{"retried": 0}\n', "ended")


def test_a_damaged_database_is_told_by_its_name(idle: Receiver) -> None:
    (idle.folder / "receiver.db").write_bytes(b"no database, " * 400)

    served, listed = idle.run(), idle.run("list", "--json")

    reason = "receiver.db, in the volume of the receiver: file is not a database"
    assert (served.returncode, json.loads(served.stdout)["error"]) == (2, reason)
    assert (listed.returncode, listed.stderr) == (3, f"list failed: {reason}\n")


def test_a_key_that_is_none_is_told_by_its_name(idle: Receiver) -> None:
    (idle.folder / "psk").write_text("no key\n")

    served = idle.run()

    assert (served.returncode, json.loads(served.stdout)["error"].partition(":")[0]) == (2, "secrets/psk")


def test_dead_letters_that_are_dropped_stay_in_the_list_and_are_sent_no_more(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    sink.status = 500
    idle.target("old", "webhook", sink.url, tries=1)
    idle.start()
    identities = [notifier.add(finding("CVE-1")), notifier.add(finding("CVE-2"))]
    for identity in identities:
        idle.notify(identity)
    wait_until(lambda: {idle.one(identity)["state"] for identity in identities} == {"dead"})

    assert idle.run("drop", identities[0]).stdout == '{"dropped": 1}\n'
    assert [idle.one(identity)["state"] for identity in identities] == ["ended", "dead"]
    assert idle.run("drop").stdout == '{"dropped": 1}\n'

    again = idle.run("drop", identities[0])
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        2,
        f"nothing to drop, {identities[0]}: no notification and no delivery with this id is dead",
    )
    assert idle.run("retry").stdout == '{"retried": 0}\n'
    assert idle.one(identities[1])["deliveries"][0]["state"] == "dropped"
