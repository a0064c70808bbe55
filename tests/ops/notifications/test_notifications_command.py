"""`./clair notifications`: what it lists, what it filters, and what it says where there is nothing to list."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ops.notifications.show_notifications import since_moment

from tests.ops.lifecycle.conftest import EVERYTHING, Clair
from tests.ops.notifications.documents import counted, delivery, document, finding, notification

LIST = r"exec id-receiver python3 -m receiver list --json"
RETRY = r"exec id-receiver python3 -m receiver retry"
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def answering(clair: Clair) -> Callable[..., Clair]:
    """Return a function that makes the receiver answer with these notifications."""

    def answer(*rows: dict[str, Any], **options: Any) -> Clair:
        clair.docker.healthy(*EVERYTHING)
        clair.docker.on(LIST, json.dumps(document(*rows, **options)))
        clair.docker.on(LIST + ".* --counts", json.dumps(counted(*rows, **options)))
        return clair

    return answer


def test_each_image_of_a_notification_has_a_line(answering: Callable[..., Clair]) -> None:
    other = finding(image="b:1", manifest="sha256:b")
    deliveries = [delivery(), delivery(manifest="sha256:b", state="waiting", tries=0)]
    findings = [finding(), finding("CVE-2", severity="Critical"), other]
    clair = answering(notification(findings=findings, deliveries=deliveries))

    result = clair("notifications")

    rows = [line.split() for line in result.out.splitlines()]
    assert rows == [
        ["RECEIVED", "STATE", "FINDINGS", "WORST", "IMAGE", "DELIVERIES"],
        ["2026-01-31T12:00:00Z", "delivered", "2", "Critical", "registry.example/app:1", "team", "delivered"],
        ["2026-01-31T12:00:00Z", "delivered", "1", "High", "b:1", "team", "waiting"],
    ]
    assert (result.code, result.err) == (0, "")


def test_each_finding_has_a_line_when_asked_for(answering: Callable[..., Clair]) -> None:
    result = answering(notification(findings=[finding(), finding("CVE-2")]))("notifications", "--by", "finding")

    names = [line.split()[4] for line in result.out.splitlines()]
    assert names == ["FINDING", "CVE-2099-0001", "CVE-2"]


def test_dead_letters_tell_their_reason_and_the_way_out(answering: Callable[..., Clair]) -> None:
    dead = notification(state="dead", deliveries=[delivery(state="dead", error="HTTP 500", tries=8)])

    result = answering(dead, notification("n2"))("notifications", "--state", "dead")

    assert len(result.out.splitlines()) == 2
    assert "team dead (HTTP 500; 8 tries)" in result.out
    assert result.err == "1 dead: ./clair notifications retry sends them again, drop gives them up\n"


def test_posts_that_were_refused_are_told(answering: Callable[..., Clair]) -> None:
    refused = [{"at": "2026-11-25T10:00:00Z", "status": 401, "reason": "no bearer token"}]

    result = answering(notification(), refused=refused)("notifications")

    assert (result.code, result.err) == (
        0,
        "posts were refused, the last: 2026-11-25T10:00:00Z 401 no bearer token\n",
    )


@pytest.mark.parametrize("by_variable", [True, False])
def test_one_notification_is_listed_by_its_id(answering: Callable[..., Clair], by_variable: bool) -> None:
    clair = answering(notification())

    result = clair("notifications", ID="n1") if by_variable else clair("notifications", "list", "n1")

    assert result.code == 0
    assert "--id=n1" in clair.docker.calls("exec")[0].line


def test_without_a_target_it_says_that_findings_are_only_stored(answering: Callable[..., Clair]) -> None:
    result = answering(notification(deliveries=[]), targets=())("notifications")

    assert result.err == "no target in config/receiver/settings.toml: findings are only stored\n"


def test_tests_are_marked(answering: Callable[..., Clair]) -> None:
    assert "delivered (test)" in answering(notification(test=True))("notifications").out


def test_control_codes_of_a_feed_do_not_reach_the_terminal(answering: Callable[..., Clair]) -> None:
    evil = notification(findings=[finding("CVE\x1b[2J", image="a\nb")])

    for grouping in ("image", "finding"):
        out = answering(evil)("notifications", BY=grouping).out
        assert "\x1b" not in out
        assert len(out.splitlines()) == 2


def test_json_is_the_receiver_s_document_filtered(answering: Callable[..., Clair]) -> None:
    clair = answering(notification(), notification("n2", state="fetched"))

    result = clair("notifications", JSON="1", STATE="fetched")

    assert json.loads(result.out) == document(notification("n2", state="fetched"))


def test_since_is_asked_of_the_receiver_and_kept_here(answering: Callable[..., Clair]) -> None:
    clair = answering(notification(), notification("old", received_at="2025-12-31T23:59:59Z"))

    result = clair("notifications", "--since", "2026-01-01", "--json")

    assert [row["id"] for row in json.loads(result.out)["notifications"]] == ["n1"]
    assert clair.docker.calls("--since 2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", datetime(2026, 1, 25, 12, tzinfo=UTC)),
        ("90m", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_since_is_a_date_or_an_age(text: str, moment: datetime) -> None:
    assert since_moment(text, NOW) == moment


def test_retry_sends_one_or_all_again(clair: Clair) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(RETRY, '{"retried": 2}\n')

    all_of_them, one = clair("notifications", "retry"), clair("notifications", "retry", "n1")

    assert (all_of_them.code, all_of_them.out, all_of_them.err) == (0, "", "sent again: 2\n")
    assert one.code == 0
    assert [call.args[-1] for call in clair.docker.calls("receiver retry")] == ["retry", "n1"]


def test_an_unknown_id_is_refused_in_the_receiver_s_words(clair: Clair) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(RETRY, stderr="id unknown, n9: nothing of it is dead\nHINT: ./clair notifications\n", code=2)

    result = clair("notifications", "retry", "n9")

    assert (result.code, result.err) == (2, "id unknown, n9: nothing of it is dead\nHINT: ./clair notifications\n")


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (
            "webhook",
            "no notifications here, clair: Clair posts them to https://hooks.example.com/clair",
        ),
        (
            "amqp",
            "no notifications here, clair: Clair publishes them to the exchange clair (routing key notifications) "
            "of amqps://broker.example.com:5671/vhost",
        ),
        (
            "stomp",
            "no notifications here, clair: Clair sends them to the destination notifications of "
            "broker.example.com:61613",
        ),
        ("no-notifier", "no notifications, clair: it has no notifier (notifier_delivery 'none')"),
    ],
)
def test_without_a_receiver_it_says_where_notifications_go(
    clair_of: Callable[[str], Clair], answers: str, sentence: str
) -> None:
    result = clair_of(answers)("notifications")

    assert (result.code, result.out, result.err.splitlines()[0]) == (2, "", sentence)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ((), "receiver not reached, clair: no container"),
        ((("receiver", "exited", "Exited (1)"),), "receiver not reached, clair: clair-receiver is exited"),
    ],
    ids=["absent", "stopped"],
)
def test_a_receiver_that_is_down_is_undecided(clair: Clair, rows: tuple[Any, ...], sentence: str) -> None:
    clair.docker.containers(*rows)

    result = clair("notifications")

    assert (result.code, result.err) == (3, f"{sentence}\nHINT: ./clair up\n")


@pytest.mark.parametrize("text", ["", "null", "[]", '{"notifications": [{}]}', '{"notifications": []}', "{"])
def test_an_answer_nobody_can_read_is_undecided(clair: Clair, text: str) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(LIST, text)

    result = clair("notifications")

    assert result.code == 3
    assert result.err.splitlines()[0] == "list unreadable, receiver: not the document that was expected"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--since", "soon"), "wrong use, clair notifications: --since 'soon' is no date and no age since 1970"),
        (("--by", "day"), "wrong use, clair notifications: argument --by: 'day' is none of image, finding"),
        (("retry", "--state", "dead"), "wrong use, clair notifications: retry takes an ID and no filter"),
        (("retry", ""), "wrong use, clair notifications: retry takes no empty ID"),
    ],
    ids=["since", "by", "retry with filter", "empty id"],
)
def test_wrong_use_is_one_line(clair: Clair, arguments: tuple[str, ...], sentence: str) -> None:
    result = clair("notifications", *arguments)

    assert (result.code, result.err.splitlines()[0]) == (2, sentence)


@pytest.mark.parametrize("text", ["999999d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0999-01-01"])
def test_since_out_of_all_time_is_wrong_use(clair: Clair, text: str) -> None:
    result = clair("notifications", "--since", text)

    assert (result.code, result.err) == (
        2,
        f"wrong use, clair notifications: --since '{text}' is no date and no age since 1970\n"
        "HINT: ./clair notifications --since 7d, or --since 2026-01-31\n",
    )


def test_dead_letters_are_dropped(clair: Clair) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(RETRY.replace("retry", "drop"), '{"dropped": 2}\n')

    result = clair("notifications", "drop", "n1")

    assert (result.code, result.out, result.err) == (0, "", "dropped: 2\n")
    assert clair.docker.calls("exec")[0].line.endswith("drop -- n1")


def test_id_that_looks_like_an_option_is_an_id(clair: Clair) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(RETRY, '{"retried": 1}\n')

    clair("notifications", "retry", "--", "-x")

    (call,) = clair.docker.calls("receiver retry")
    assert list(call.args[-3:]) == ["retry", "--", "-x"]


def test_docker_that_fails_by_itself_is_undecided(clair: Clair) -> None:
    clair.docker.healthy(*EVERYTHING)
    clair.docker.on(RETRY, stderr="Error response from daemon: container is restarting\n", code=1)

    assert clair("notifications", "retry").code == 3
