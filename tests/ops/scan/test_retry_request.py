"""What is tried again, how often, and how long that takes."""

from __future__ import annotations

from email.message import Message

import pytest
from ops.network.open_connection import Deadline, NoAnswer
from ops.network.retry_request import retry_after_seconds, retry_request
from ops.network.web import Answer


def answer(status: int, **headers: str) -> Answer:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Answer(status, message)


class Service:
    """Answers in turn, the last answer for ever, and notes how long it was waited for."""

    def __init__(self, *outcomes: Answer | NoAnswer) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.waits: list[float] = []
        self.notices: list[str] = []

    def send(self) -> Answer:
        self.calls += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, NoAnswer):
            raise outcome
        return outcome

    def ask(self, seconds: float = 600, busy_attempts: int | None = None) -> int:
        found = retry_request(
            self.send,
            Deadline(seconds),
            "the indexer",
            notice=self.notices.append,
            busy_attempts=busy_attempts,
            sleep=self.waits.append,
        )
        return found.status


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_failure_is_waited_out(status: int) -> None:
    service = Service(answer(status), answer(status), answer(201))

    assert service.ask() == 201
    assert service.waits == [0.25, 0.5]


@pytest.mark.parametrize("status", [200, 202, 400, 401, 404, 500])
def test_an_answer_that_another_try_would_not_change_is_taken(status: int) -> None:
    service = Service(answer(status))

    assert (service.ask(), service.calls) == (status, 1)


@pytest.mark.parametrize(
    ("outcome", "calls"),
    [
        pytest.param(answer(502), 5, id="502"),
        pytest.param(NoAnswer("lost", "the connection was closed"), 5, id="lost"),
        pytest.param(NoAnswer("refused", "connection refused"), 3, id="refused"),
        pytest.param(NoAnswer("late", "no complete answer within 5 s"), 1, id="late"),
        pytest.param(NoAnswer("untrusted", "the certificate is not trusted"), 1, id="untrusted"),
    ],
)
def test_a_fault_is_given_up_in_seconds(outcome: Answer | NoAnswer, calls: int) -> None:
    service = Service(outcome)

    if isinstance(outcome, NoAnswer):
        with pytest.raises(NoAnswer, match=outcome.reason):
            service.ask()
    else:
        assert service.ask() == outcome.status

    assert service.calls == calls
    assert sum(service.waits) < 4


def test_a_busy_service_is_waited_for_as_long_as_there_is_time() -> None:
    service = Service(*[answer(429)] * 30, answer(201))

    assert service.ask() == 201
    assert max(service.waits) == 15


def test_busy_attempts_bound_the_waiting() -> None:
    service = Service(answer(429))

    assert (service.ask(busy_attempts=3), service.calls) == (429, 3)


def test_retry_after_is_kept_and_told() -> None:
    service = Service(answer(429, Retry_After="7"), answer(201))

    assert service.ask() == 201
    assert service.waits == [7.0]
    assert service.notices == ["the indexer answered 429, next try in 7 s"]


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    service = Service(answer(503, Retry_After="120"))

    assert (service.ask(seconds=60), service.waits) == (503, [])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("3", 3),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", 0),
        ("-3", 0),
    ],
)
def test_retry_after_holds_seconds_or_a_date(text: str, seconds: float) -> None:
    assert retry_after_seconds(text, now=40) == seconds
