"""`secrets/notifier-target`: what of Clair's config it becomes, and what is refused without showing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ops.errors import Problem
from ops.state.read_target import target_settings

from tests.ops.lifecycle.conftest import Clair


@pytest.mark.parametrize(
    ("delivery", "url", "settings"),
    [
        ("webhook", "https://hooks.example/in?token=x", {"target": "https://hooks.example/in?token=x"}),
        ("amqp", "amqp://u:p%40@mq.example:5672/v", {"uris": ["amqp://u:p%40@mq.example:5672/v"]}),
        ("stomp", "stomp://mq.example:61613", {"uris": ["mq.example:61613"]}),
        ("stomp", "stomp://u:p%3A@[::1]:61613/", {"uris": ["[::1]:61613"], "user": {"login": "u", "passcode": "p:"}}),
    ],
    ids=["webhook", "amqp", "stomp", "stomp with login"],
)
def test_a_target_becomes_the_keys_of_its_delivery(delivery: str, url: str, settings: dict[str, Any]) -> None:
    assert target_settings(delivery, url) == settings


@pytest.mark.parametrize(
    ("delivery", "url"),
    [
        ("webhook", "amqp://u:word@mq.example"),
        ("amqp", "https://u:word@hooks.example"),
        ("amqp", "amqp://u:word@"),
        ("stomp", "u:word@mq.example:61613"),
        ("stomp", "stomp://u:word@mq.example"),
        ("stomp", "stomp://u:word@mq.example:61613/vhost"),
        ("stomp", "stomp://u:word@mq.example:port"),
        ("webhook", "https://hooks.example/word\nhttps://hooks.example/"),
    ],
)
def test_another_target_is_refused_and_not_shown(delivery: str, url: str) -> None:
    with pytest.raises(Problem) as caught:
        target_settings(delivery, url)

    assert caught.value.code == 2
    assert caught.value.sentence.startswith("secret refused, secrets/notifier-target: no ")
    assert "word" not in caught.value.sentence + caught.value.hint


def test_check_reports_a_target_of_another_kind(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("stomp")
    clair("secrets")
    clair.write("secrets/notifier-target", "amqp://u:word@mq.example/\n")

    result = clair("check", "--offline")

    assert result.code == 1
    assert "secret refused, secrets/notifier-target: no stomp URL" in result.out + result.err
    assert "word" not in (result.out + result.err).replace("PASSWORD", "")
