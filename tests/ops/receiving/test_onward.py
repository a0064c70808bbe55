"""From Clair's post to the targets, and what goes wrong on the way: nothing is lost, nothing is sent twice under two ids."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import sqlite3
import ssl
import threading
import time
import uuid
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ops.receiving.read_settings import BadSettings, Target, read_settings
from ops.receiving.send_message import NotSent, post

from tests.ops.receiving.conftest import DIGEST, PAGE, PATH, Notifier, Receiver, Sink, finding, wait_until

EMAIL = '[[target]]\nname = "a"\ntype = "email"\nhost = "{host}"\nsender = "{sender}"\nrecipients = ["c@d"]\n'


def keys(sink: Sink) -> list[str]:
    return [got.headers["idempotency-key"] for got in sink.got]


def chat(receiver: Receiver, url: str, name: str = "chat", **more: Any) -> None:
    """Add a target of type slack."""
    (receiver.folder / f"secrets/{name}-url").write_text(url + "\n")
    receiver.target(name, "slack", url_file=f"{name}-url", **more)


def due(receiver: Receiver) -> None:
    """Let what waits be fetched at once."""
    with closing(sqlite3.connect(receiver.folder / "receiver.db", isolation_level=None, timeout=10)) as connection:
        connection.execute("UPDATE notification SET next_try = 0")


def test_a_finding_is_fetched_stored_sent_and_deleted_at_clair(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    (idle.folder / "secrets/hook-key").write_text("a secret\n")
    (idle.folder / "secrets/hook-url").write_text(sink.url + "/x?y=1\n")
    idle.target("hook", "webhook", url_file="hook-url", key_file="hook-key")
    idle.start()
    identity = notifier.add(finding())

    idle.notify(identity)
    wait_until(lambda: notifier.deleted and sink.got)

    (got,) = sink.got
    signature = "sha256=" + hmac.new(b"a secret", got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-clair-signature"] == signature
    assert got.document["manifest"] == DIGEST
    assert [one["vulnerability"] for one in got.document["findings"]] == ["CVE-1"]
    wait_until(lambda: idle.one(identity)["deleted_at"] and idle.one(identity)["state"] == "delivered")
    row = idle.one(identity)
    assert (row["state"], row["error"], row["deliveries"][0]["id"]) == ("delivered", "", keys(sink)[0])
    assert row["findings"][0]["severity"] == "High"


def test_the_notification_is_not_deleted_while_clair_still_marks_it_as_delivered(
    idle: Receiver, notifier: Notifier
) -> None:
    idle.extra["RECEIVER_DELETE_SECONDS"] = "1.5"
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: notifier.deleted == [identity] and idle.one(identity)["deleted_at"])

    row = idle.one(identity)
    fetched, deleted = (datetime.fromisoformat(row[name]) for name in ("fetched_at", "deleted_at"))
    assert (deleted - fetched).total_seconds() > 1.4


def test_ten_thousand_findings_come_in_pages_and_leave_in_parts(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    chat(idle, sink.url)
    idle.start()
    identity = notifier.add(*(finding(f"CVE-{number}") for number in range(10_000)))

    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["state"] == "delivered", 60)

    (text,) = (got.document["text"] for got in sink.got if "text" in got.document)
    parts = [got for got in sink.got if "text" not in got.document]
    assert [(got.document["part"], got.document["parts"]) for got in parts] == [(part, 5) for part in range(1, 6)]
    (name,) = {got.document["id"] for got in parts}
    assert [got.headers["idempotency-key"] for got in parts] == [name, *(f"{name}-{part}" for part in range(2, 6))]
    assert len({one["vulnerability"] for got in parts for one in got.document["findings"]}) == 10_000
    assert text.endswith("and 9970 more: ./clair notifications")
    assert len([path for method, path in notifier.asked if method == "GET"]) == 20


def test_killed_between_200_and_fetch(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    notifier.status = 503
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: notifier.asked)
    idle.kill()
    notifier.status = 0

    idle.start()

    wait_until(lambda: notifier.deleted and sink.got)
    assert len(sink.got) == 1


def test_killed_in_the_middle_of_the_pages(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    notifier.pages_before_failure = 2
    idle.extra["RECEIVER_RETRY_SECONDS"] = "0.5"
    idle.start()
    identity = notifier.add(*(finding(f"CVE-{number}") for number in range(1500)))
    idle.notify(identity)
    wait_until(lambda: len(notifier.asked) == 3)
    idle.kill()
    assert sink.got == []
    notifier.pages_before_failure = -1

    idle.start()

    wait_until(lambda: sink.got)
    assert len(sink.got[0].document["findings"]) == 1500
    assert len(idle.one(identity)["findings"]) == 1500


def test_notification_deleted_at_clair_between_two_pages_is_told_and_what_was_read_is_sent(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    idle.target("hook", "webhook", sink.url)
    notifier.pages_before_deletion = 2
    idle.start()
    identity = notifier.add(*(finding(f"CVE-{number}") for number in range(3 * PAGE)))

    idle.notify(identity)

    wait_until(lambda: idle.one(identity)["state"] == "delivered")
    assert [line["error"] for line in idle.log if line["message"] == "notification not fetched"] == [
        "the notifier's next page is empty"
    ]
    assert len(sink.got[0].document["findings"]) == 2 * PAGE
    assert idle.one(identity)["error"] == "unknown to Clair: it answered an empty page"


def test_killed_between_fetch_and_delete(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.extra["RECEIVER_DELETE_SECONDS"] = "1"
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: sink.got)
    wait_until(lambda: idle.one(identity)["state"] == "delivered")
    idle.kill()
    assert notifier.deleted == []

    idle.start()

    wait_until(lambda: notifier.deleted == [identity])
    assert len(sink.got) == 1


def test_killed_during_onward_delivery_the_repeat_has_the_same_id(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    idle.target("hook", "webhook", sink.url)
    sink.delay = 2
    idle.start()
    idle.notify(notifier.add(finding()))
    wait_until(lambda: sink.got)
    idle.kill()
    sink.delay = 0

    idle.start()

    wait_until(lambda: len(sink.got) == 2)
    assert len(set(keys(sink))) == 1


def test_the_same_notification_twice_is_sent_once_and_deleted_again(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    """Also a database restored to before the delivery: the notifier posts a known id again."""
    idle.target("hook", "webhook", sink.url)
    idle.start()
    one = finding()
    identity = notifier.add(one)
    idle.notify(identity)
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["deleted_at"] and sink.got)
    notifier.add(one, identity=identity)

    idle.notify(identity)

    wait_until(lambda: notifier.deleted == [identity, identity])
    assert len(sink.got) == 1


def test_a_restored_database_that_reports_under_new_ids_is_not_sent_again(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.start()
    idle.notify(notifier.add(finding()))
    wait_until(lambda: sink.got)

    again = notifier.add(finding(), finding("CVE-2"))
    idle.notify(again)

    wait_until(lambda: len(sink.got) == 2)
    assert [one["vulnerability"] for one in sink.got[1].document["findings"]] == ["CVE-2"]
    assert sorted(one["repeated"] for one in idle.one(again)["findings"]) == [False, True]
    # Taken back in between, it is new.
    taken_back = notifier.add(finding(reason="removed"))
    idle.notify(taken_back)
    wait_until(lambda: idle.one(taken_back)["fetched_at"])
    idle.notify(notifier.add(finding()))
    wait_until(lambda: len(sink.got) == 3)


@pytest.mark.parametrize("reasons", [("removed", "added"), ("added", "removed")])
def test_entry_whose_description_alone_has_changed_is_no_news(
    idle: Receiver, notifier: Notifier, sink: Sink, reasons: tuple[str, str]
) -> None:
    """Clair reports such an entry as removed and as added, in the order of random ids."""
    idle.target("hook", "webhook", sink.url)
    idle.start()
    idle.notify(notifier.add(finding()))
    wait_until(lambda: sink.got)

    both = [
        finding(reason=reason, id=f"{number}1111111-1111-4111-8111-111111111111")
        for number, reason in enumerate(reasons)
    ]
    changed = notifier.add(*both, finding("CVE-2"))
    idle.notify(changed)

    wait_until(lambda: len(sink.got) == 2)
    assert [one["vulnerability"] for one in sink.got[1].document["findings"]] == ["CVE-2"]
    # Its last word is still that it is there.
    idle.notify(notifier.add(finding(), finding("CVE-3")))
    wait_until(lambda: len(sink.got) == 3)
    assert [one["vulnerability"] for one in sink.got[2].document["findings"]] == ["CVE-3"]


@pytest.mark.parametrize("reasons", [("removed", "added"), ("added", "removed")])
def test_changed_description_of_what_a_scan_has_told_is_no_news(
    idle: Receiver, notifier: Notifier, sink: Sink, reasons: tuple[str, str]
) -> None:
    """The image had it when it was indexed, so no notification ever told it; both reasons together mean that it stays."""
    idle.target("hook", "webhook", sink.url)
    idle.start()
    both = [
        finding(reason=reason, id=f"{number}1111111-1111-4111-8111-111111111111")
        for number, reason in enumerate(reasons)
    ]

    idle.notify(notifier.add(*both, finding("CVE-2"), finding("CVE-3", reason="removed")))

    wait_until(lambda: sink.got)
    assert [one["vulnerability"] for one in sink.got[0].document["findings"]] == ["CVE-2"]
    # A severity that changed is news.
    idle.notify(notifier.add(finding(reason="removed"), finding(severity="Critical")))
    wait_until(lambda: len(sink.got) == 2)
    assert [one["severity"] for one in sink.got[1].document["findings"]] == ["Critical"]


def test_finding_of_two_notifications_is_sent_though_one_was_interrupted(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    """Of the first one page is stored when the notifier goes away; meanwhile another one says the same."""
    idle.target("hook", "webhook", sink.url)
    idle.extra["RECEIVER_RETRY_SECONDS"] = "20"
    idle.start()
    notifier.pages_before_failure = 1
    interrupted = notifier.add(finding("CVE-x", id="0" * 36), *(finding(f"CVE-{number}") for number in range(600)))
    idle.notify(interrupted)
    wait_until(lambda: idle.one(interrupted)["tries"] == 1)
    assert 0 < len(idle.one(interrupted)["findings"]) < 601
    idle.kill()
    notifier.pages_before_failure = -1
    idle.start()

    idle.notify(notifier.add(finding("CVE-x", id="f" * 36)))
    wait_until(lambda: len(sink.got) == 1)
    due(idle)
    wait_until(lambda: len(sink.got) == 2)

    said = [one["vulnerability"] for got in sink.got for one in got.document["findings"]]
    assert said.count("CVE-x") == 1
    assert len(said) == 601


def test_one_finding_that_no_file_can_hold_stops_nothing(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.start()

    idle.notify(notifier.add(finding("CVE-\ud800")))
    idle.notify(notifier.add(finding("CVE-2")))

    wait_until(lambda: len(sink.got) == 2)
    assert {one["vulnerability"] for got in sink.got for one in got.document["findings"]} == {"CVE-?", "CVE-2"}


def test_range_of_an_osv_feed_is_a_fix_only_where_it_names_one(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url, only_fixed=True)
    idle.start()

    idle.notify(
        notifier.add(
            finding("CVE-open", fixed_in="introduced=0"), finding("CVE-fixed", fixed_in="fixed=9.9.9&introduced=0")
        )
    )

    wait_until(lambda: sink.got)
    assert [(one["vulnerability"], one["fixed_in"]) for one in sink.got[0].document["findings"]] == [
        ("CVE-fixed", "9.9.9")
    ]


def test_notification_that_was_empty_is_fetched_again_when_it_is_posted_again(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.start()
    identity = str(uuid.uuid4())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["fetched_at"])

    notifier.notifications[identity] = [finding()]
    idle.notify(identity)

    wait_until(lambda: sink.got)


def test_notifier_that_is_away_is_asked_for_as_long_as_it_takes(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url)
    idle.start()
    notifier.pages_before_failure = 0
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["tries"] >= 1)
    idle.kill()
    away, idle.extra["RECEIVER_NOTIFIER"] = idle.environment["RECEIVER_NOTIFIER"], "http://127.0.0.1:1"
    with sqlite3.connect(idle.folder / "receiver.db") as connection:
        connection.execute("UPDATE notification SET tries = 1000, next_try = 0")

    idle.start()
    wait_until(lambda: idle.one(identity)["tries"] > 1000)

    assert idle.one(identity)["state"] == "received"
    idle.kill()
    idle.extra["RECEIVER_NOTIFIER"] = away
    notifier.pages_before_failure = 1000
    with sqlite3.connect(idle.folder / "receiver.db") as connection:
        connection.execute("UPDATE notification SET next_try = 0")
    idle.start()
    wait_until(lambda: sink.got)


def test_one_failing_answer_after_a_long_absence_ends_nothing(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    """A notifier that comes back answers 500 while it still starts."""
    idle.target("hook", "webhook", sink.url)
    there, idle.extra["RECEIVER_NOTIFIER"] = idle.environment["RECEIVER_NOTIFIER"], "http://127.0.0.1:1"
    idle.start()
    identity = str(uuid.uuid4())
    body = json.dumps(
        {"notification_id": identity, "callback": f"http://127.0.0.1:1/notifier/api/v1/notification/{identity}"}
    )
    notifier.notifications[identity] = [finding()]
    assert idle.post(body.encode())[0] == 200
    wait_until(lambda: idle.one(identity)["tries"] >= 1)
    idle.kill()
    with closing(sqlite3.connect(idle.folder / "receiver.db", isolation_level=None)) as connection:
        connection.execute("UPDATE notification SET tries = 100, next_try = 0")
    idle.extra["RECEIVER_NOTIFIER"] = there
    notifier.status = 500

    idle.start()
    wait_until(lambda: notifier.asked)
    wait_until(lambda: "HTTP 500" in idle.one(identity)["error"])
    assert idle.one(identity)["state"] == "received"
    notifier.status = 0
    due(idle)

    wait_until(lambda: sink.got)


def test_deletion_waits_for_a_notifier_that_is_away(idle: Receiver, notifier: Notifier) -> None:
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["fetched_at"])
    idle.kill()
    there, idle.extra["RECEIVER_NOTIFIER"] = idle.environment["RECEIVER_NOTIFIER"], "http://127.0.0.1:1"
    with closing(sqlite3.connect(idle.folder / "receiver.db", isolation_level=None)) as connection:
        connection.execute("UPDATE notification SET deleted = NULL, delete_at = 0, delete_tries = 11")
    notifier.deleted.clear()

    idle.start()
    wait_until(lambda: "not deleted at Clair: the notifier was not reached" in idle.one(identity)["error"])
    idle.kill()
    idle.extra["RECEIVER_NOTIFIER"] = there
    idle.start()

    wait_until(lambda: notifier.deleted == [identity])


def test_an_unknown_id_is_recorded_and_ends(receiver: Receiver, notifier: Notifier) -> None:
    identity = str(uuid.uuid4())

    receiver.notify(identity)
    wait_until(lambda: receiver.one(identity)["fetched_at"])

    row = receiver.one(identity)
    assert (row["state"], row["error"]) == ("fetched", "unknown to Clair: it answered an empty page")
    time.sleep(0.6)
    assert notifier.asked == [("GET", PATH + identity)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, b"", {}), "HTTP 500"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "HTTP 302"),
        ((200, b"<!DOCTYPE html><title>Log in</title>", {}), "HTML page"),
        ((401, b"<html>", {}), "HTTP 401"),
    ],
)
def test_an_answer_that_is_no_success_is_tried_again(
    idle: Receiver, notifier: Notifier, sink: Sink, answer: tuple[int, bytes, dict[str, str]], error: str
) -> None:
    idle.target("hook", "webhook", sink.url)
    sink.status, sink.text, sink.headers = answer
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: len(sink.got) == 3)
    assert error in idle.one(identity)["deliveries"][0]["error"]
    sink.status, sink.text, sink.headers = 204, b"", {}

    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    assert len(set(keys(sink))) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<!-- login --><html>",
        b'<?xml version="1.0"?><!DOCTYPE html><html>',
        b"\xef\xbb\xbf<!DOCTYPE html>",
        "\ufeff<html>".encode("utf-16-le"),
        b"<head><title>Sign in</title></head>",
        b"<h1>Please log in</h1>",
        b" " * 3000 + b"\n<html>",
    ],
)
def test_page_in_any_spelling_is_no_success(sink: Sink, body: bytes) -> None:
    sink.text = body

    with pytest.raises(NotSent, match="HTTP 200 with an HTML page"):
        post(Target("hook", "webhook", url=sink.url), b"{}", "id", ssl.create_default_context())


@pytest.mark.parametrize("body", [b"", b"ok", b'{"ok": true}', b"\xef\xbb\xbfok"])
def test_answer_of_a_target_is_a_success(sink: Sink, body: bytes) -> None:
    sink.text = body

    post(Target("hook", "webhook", url=sink.url), b"{}", "id", ssl.create_default_context())


@pytest.mark.parametrize(
    ("scheme", "start", "drip"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        ("https", b"\x16\x03\x03\x40\x00", b"\x02"),
    ],
    ids=["headers", "body", "body with a length", "handshake"],
)
def test_answer_that_never_ends_is_cut_off_and_no_success(scheme: str, start: bytes, drip: bytes) -> None:
    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(start)
            while True:
                connection.sendall(drip)
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        target = Target("hook", "webhook", url=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", timeout=1)
        before = time.monotonic()

        with pytest.raises(NotSent, match=r"^no answer in time$"):
            post(target, b"{}", "id", ssl.create_default_context())

        assert time.monotonic() - before < 3


def test_proxy_that_wants_a_login_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("https_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=serve, daemon=True).start()

        with pytest.raises(NotSent, match=r"^the proxy refused: HTTP 407$"):
            post(Target("hook", "webhook", url="https://t.example/"), b"{}", "id", ssl.create_default_context())


def test_a_dead_letter_is_seen_and_sent_again_by_hand(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url, tries=3)
    sink.status = 500
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["state"] == "dead")
    assert len(sink.got) == 3
    sink.status = 200

    result = idle.run("retry", identity)

    assert (result.returncode, json.loads(result.stdout)) == (0, {"retried": 1})
    wait_until(lambda: idle.one(identity)["state"] == "delivered")
    again = idle.run("retry", identity)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.count("\n") == 2
    assert json.loads(idle.run("retry").stdout) == {"retried": 0}


def test_a_target_that_is_down_for_an_hour_gets_it_afterwards(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        idle.target("hook", "webhook", f"http://127.0.0.1:{free.getsockname()[1]}")
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["deliveries"] and idle.one(identity)["deliveries"][0]["tries"] >= 1)
    idle.kill()
    # An hour later, as the database sees it: the time of the next try has passed.
    with sqlite3.connect(idle.folder / "receiver.db") as connection:
        connection.execute("UPDATE delivery SET next_try = next_try - 3600")
    text = (idle.folder / "settings.toml").read_text().splitlines()
    text = [f'url = "{sink.url}"' if line.startswith("url") else line for line in text]
    (idle.folder / "settings.toml").write_text("\n".join(text))

    idle.start()

    wait_until(lambda: idle.one(identity)["state"] == "delivered")


def test_a_slow_target_holds_up_no_other(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    slow = Sink()
    slow.delay = 5
    idle.target("slow", "webhook", slow.url, timeout=1)
    chat(idle, sink.url, "fast")
    idle.start()
    before = time.monotonic()

    for number in range(5):
        idle.notify(notifier.add(finding(f"CVE-{number}")))
    wait_until(lambda: len(sink.got) == 5, 5)

    assert time.monotonic() - before < 5
    wait_until(lambda: any(entry.get("error") == "no answer in time" for entry in idle.log))
    slow.close()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"severity": "high"}, {"CVE-high", "CVE-critical", "CVE-unknown"}),
        ({"only_fixed": True}, {"CVE-low", "CVE-high", "CVE-critical"}),
        ({"image": "team-a/*"}, {"CVE-low", "CVE-high", "CVE-critical", "CVE-unknown"}),
        ({"image": "team-c/*"}, set()),
    ],
)
def test_filters(idle: Receiver, notifier: Notifier, sink: Sink, settings: dict[str, Any], names: set[str]) -> None:
    idle.target("hook", "webhook", sink.url, **settings)
    idle.start()
    # A scan tells it at any time.
    (idle.folder / "image-names").write_text(f"{DIGEST}\tteam-b/app:1\n{DIGEST}\tteam-a/app:1\n")
    identity = notifier.add(
        finding("CVE-low", "Low"), finding("CVE-high"), finding("CVE-critical", "Critical"),
        finding("CVE-unknown", "Unknown", fixed_in=""),
    )  # fmt: skip

    idle.notify(identity)
    wait_until(lambda: idle.one(identity)["state"] == "delivered")

    assert {one["vulnerability"] for got in sink.got for one in got.document["findings"]} == names
    assert idle.one(identity)["deliveries"][0]["state"] == ("delivered" if names else "filtered")


def test_slack_text_is_no_markup(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    chat(idle, sink.url)
    idle.start()

    idle.notify(notifier.add(finding("<!channel> & <https://evil|CVE>\n2")))
    wait_until(lambda: sink.got)

    assert len(sink.got[0].headers["idempotency-key"]) == 32
    text = sink.got[0].document["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil|CVE&gt; 2" in text
    assert text.startswith(f"*Clair: 1 High in {DIGEST}*\n")


def test_a_secret_address_is_nowhere_in_log_and_list(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    chat(idle, sink.url + "/services/SECRET")
    sink.status = 404
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)
    wait_until(lambda: len(sink.got) > 1)

    assert "SECRET" not in json.dumps([idle.log, idle.list()])


def test_a_test_is_taken_only_while_it_is_expected_and_passes_every_filter(
    idle: Receiver, notifier: Notifier, sink: Sink
) -> None:
    chat(idle, sink.url, severity="Critical", only_fixed=True)
    idle.start()
    identity = str(uuid.uuid4())
    callback = f"http://notifier-test:6060{PATH}{identity}"
    body = json.dumps({"notification_id": identity, "callback": callback}).encode()

    assert idle.post(body)[0] == 400
    assert idle.run("expect-test", "60").returncode == 0
    assert idle.post(body)[0] == 200
    assert idle.one(identity)["test"] is True
    # The throwaway notifier is a name that only exists in its network.
    assert idle.run("expect-test", "0").returncode == 0

    row = idle.one(identity)
    assert (row["state"], row["error"]) == ("ended", "test ended")
    assert idle.post(body)[0] == 400
    wait_until(lambda: idle.list()["refused"])
    assert idle.list()["refused"][0]["status"] == 400


@pytest.mark.parametrize(
    "callback",
    [
        "http://169.254.169.254/notifier/api/v1/notification/{id}",
        "{url}/other/{id}",
        "{url}/notifier/api/v1/notification/x",
    ],
)
def test_no_other_address_is_ever_asked(receiver: Receiver, notifier: Notifier, callback: str) -> None:
    identity = str(uuid.uuid4())
    address = callback.format(id=identity, url=notifier.url)

    answer = receiver.post(json.dumps({"notification_id": identity, "callback": address}).encode())

    assert answer == (400, {"message": "callback is not this deployment's notifier"})
    assert notifier.asked == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[target]]\n", "target 1, name"),
        ('[[target]]\nname = "a"\ntype = "fax"\n', "target 1 (a), type"),
        ('[[target]]\nname = "a"\ntype = "webhook"\nurl = "x"\n', "target 1 (a), url"),
        ('[[target]]\nname = "a"\ntype = "slack"\nurls = "x"\n', "target 1 (a), urls: unknown key"),
        ('[[target]]\nname = "a"\ntype = "slack"\nurl_file = "gone"\n', "secrets/gone cannot be read"),
        ('[[target]]\nname = "a"\ntype = "webhook"\nurl = 7\n', "target 1 (a), url: must be a text"),
        ('[[target]]\nname = "a"\ntype = "email"\nhost = "h"\nsender = "a@b"\nrecipients = ["c"]\n', "recipients"),
        ('[[target]]\nname = "a"\ntype = "webhook"\nurl = "https://user:word@h/"\n', "target 1 (a), url: a user part"),
        (
            '[[target]]\nname = "a"\ntype = "slack"\nurl = "https://h/services/T"\n',
            "a secret; put it into a file in secrets/",
        ),
        ('[[target]]\nname = "a"\ntype = "webhook"\nurl = "https://h/?token=t"\n', "target 1 (a), url: a user part"),
        (
            '[[target]]\nname = "a"\ntype = "slack"\nurl_file = "a\\u0000b"\n',
            "url_file: the name of a file in secrets/",
        ),
        ('[[target]]\nname = "a"\ntype = "slack"\n', "target 1 (a), url: give url_file"),
        (EMAIL.format(host="h h:25", sender="a@b"), "target 1 (a), host: a name or an address alone"),
        (EMAIL.format(host="h:25", sender="a@b"), "target 1 (a), host: a name or an address alone"),
        (EMAIL.format(host="h", sender="a@exämple.com"), "target 1 (a), sender: characters of ASCII only"),
        (EMAIL.format(host="h", sender="a:b@c.example"), "sender and recipients: addresses like"),
        (EMAIL.format(host="h", sender="a(b@c.example"), "sender and recipients: addresses like"),
        (EMAIL.format(host="h", sender="a@b") + "tries = 1.5\n", "tries: must be a whole number"),
        ('[[targets]]\nname = "a"\n', "targets: unknown key"),
        ("[[target]\n", "line 1"),
    ],
)
def test_settings_that_are_wrong_stop_it_with_their_place(idle: Receiver, text: str, place: str) -> None:
    (idle.folder / "settings.toml").write_text(text)

    result = idle.run()

    assert (result.returncode, result.stderr) == (2, "")
    entry = json.loads(result.stdout)
    assert entry["message"] == "receiver not started"
    assert place in entry["error"]


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        (b"https://h/a\nhttps://h/b\n", "secrets/x has more than one line, or a character that is not printable"),
        (b"h/a\n", "one address, http:// or https://, in ASCII and without blanks"),
        (b" \n", "secrets/x is empty"),
        (b"\xff\xfeh", "secrets/x is not UTF-8"),
        (b"https://a..b/", "one address, http:// or https://, in ASCII and without blanks"),
    ],
)
def test_secret_file_that_is_wrong_is_named_with_its_key(tmp_path: Path, secret: bytes, sentence: str) -> None:
    (tmp_path / "x").write_bytes(secret)
    settings = tmp_path / "settings.toml"
    settings.write_text('[[target]]\nname = "a"\ntype = "slack"\nurl_file = "x"\n')

    with pytest.raises(BadSettings) as wrong:
        read_settings(settings, tmp_path)

    assert str(wrong.value) == f"target 1 (a), url_file: {sentence}"


def test_mark_of_utf_8_before_a_secret_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfhttps://h/a\r\n")
    settings = tmp_path / "settings.toml"
    settings.write_text('[[target]]\nname = "a"\ntype = "slack"\nurl_file = "x"\n')

    (target,) = read_settings(settings, tmp_path)

    assert target.url == "https://h/a"


@pytest.mark.parametrize(("username", "password", "key"), [("ü", "word", "username"), ("ops", "wörd", "password_file")])
def test_a_login_that_no_mail_server_gets_is_refused(tmp_path: Path, username: str, password: str, key: str) -> None:
    (tmp_path / "word").write_text(password)
    settings = tmp_path / "settings.toml"
    login = f'username = "{username}"\npassword_file = "word"\n'
    settings.write_text(EMAIL.format(host="h", sender="a@b") + login)

    with pytest.raises(BadSettings, match=f"^target 1 .a., {key}: characters of ASCII only"):
        read_settings(settings, tmp_path)


def test_mark_of_utf_8_before_the_settings_is_no_part_of_them(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_bytes(b'\xef\xbb\xbf[[target]]\nname = "a"\ntype = "webhook"\nurl = "http://h/"\n')

    assert [target.name for target in read_settings(settings, tmp_path)] == ["a"]


def test_key_counts_as_its_file_holds_it_but_for_blanks_at_its_ends(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b" line 1\r\nline 2 \r\n")
    settings = tmp_path / "settings.toml"
    settings.write_text('[[target]]\nname = "a"\ntype = "webhook"\nurl = "http://h/"\nkey_file = "key"\n')

    (target,) = read_settings(settings, tmp_path)

    assert target.key.encode() == (tmp_path / "key").read_bytes().strip()


@pytest.mark.parametrize(
    ("name", "pattern", "sent"),
    [
        ("[2001:db8::1]:5000/team-a/app:1.4", "[2001:db8::1]:5000/team-a/*", True),
        ("registry.example/team-a/app:1", "*/team-?/*", True),
        ("2/team-a/app:1", "[2001:db8::1]/team-a/*", False),
    ],
)
def test_a_bracket_in_a_pattern_is_one(
    *, idle: Receiver, notifier: Notifier, sink: Sink, name: str, pattern: str, sent: bool
) -> None:
    (idle.folder / "image-names").write_text(f"{DIGEST}\t{name}\n")
    idle.target("hook", "webhook", sink.url, image=pattern)
    idle.start()
    identity = notifier.add(finding())
    idle.notify(identity)

    wait_until(lambda: (idle.one(identity) or {}).get("deliveries"))

    wait_until(lambda: bool(sink.got) is sent)
    assert (idle.one(identity)["deliveries"][0]["state"] == "filtered") is not sent


@pytest.mark.parametrize("host", ["mail.example.com", "10.0.0.1", "fd00::1", "mail_relay"])
def test_host_is_a_name_or_an_address(tmp_path: Path, host: str) -> None:
    settings = tmp_path / "settings.toml"
    lines = ["[[target]]", 'name = "a"', 'type = "email"', f'host = "{host}"', 'sender = "a@b"', 'recipients = ["c@d"]']
    settings.write_text("\n".join(lines))

    (target,) = read_settings(settings, tmp_path)

    assert target.host == host


def test_at_sign_in_a_path_is_no_secret(idle: Receiver, sink: Sink) -> None:
    idle.target("hook", "webhook", sink.url + "/@team/clair")

    idle.start()


def test_a_full_disk_is_503_and_nothing_is_lost(idle: Receiver, notifier: Notifier, sink: Sink) -> None:
    """The database is at its size limit, which SQLite reports as it does a full disk."""
    idle.target("hook", "webhook", sink.url)
    full = idle.folder / "full"
    code = (
        "import sqlite3, pathlib, sys, runpy\n"
        "real = sqlite3.connect\n"
        "class Full(sqlite3.Connection):\n"
        "    def execute(self, sql, *rest):\n"
        f"        if sql.startswith('INSERT') and pathlib.Path({str(full)!r}).exists():\n"
        "            raise sqlite3.OperationalError('database or disk is full')\n"
        "        return super().execute(sql, *rest)\n"
        "sqlite3.connect = lambda *a, **k: real(*a, factory=Full, **k)\n"
    )
    Path(idle.folder / "sitecustomize.py").write_text(code)
    idle.start()
    identity = notifier.add(finding())
    full.touch()
    assert idle.post(idle.body(identity)) == (503, {"message": "not stored"})
    full.unlink()

    idle.notify(identity)
    wait_until(lambda: sink.got)
    full.touch()
    assert idle.post(idle.body(notifier.add(finding("CVE-2"))))[0] == 503
    full.unlink()
