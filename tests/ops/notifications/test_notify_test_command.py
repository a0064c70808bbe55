"""`./clair notify-test`: every stage, and every place where a notification can stop. Docker and Clair are replaced here."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ops.errors import Problem
from ops.host.state_lock import hold_lock
from ops.notifications import send_notification, start_test_notifier, tell_stages
from ops.notifications.start_test_notifier import compose_model, intervals, masked, refusal

from tests.ops.lifecycle.conftest import Clair
from tests.ops.notifications.documents import delivery, document, notification

ID = "a3eb65b5-f61f-43e0-80ca-3c8b0af101fb"


def failed(error: str, *before: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the end of a notifier's log after a delivery that failed."""
    tick = {"level": "error", "component": "notifier/Delivery.Deliver", "message": "encountered error on tick"}
    return [*before, {**tick, "error": error}]


@dataclass
class World:
    """What the replaced parts do: a path on which everything works, until a test changes it."""

    starts: bool = True
    statuses: list[str] = field(default_factory=lambda: ["created", "delivered"])
    failures: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=lambda: [notification(ID, test=True)])
    receiver: Problem | None = None
    calls: list[list[str]] = field(default_factory=list)
    removed: int = 0
    ended: int = 0
    interrupt: bool = False
    container: str = "clair-notify-test"

    def runs(self) -> bool:
        if self.interrupt:
            raise KeyboardInterrupt
        return self.starts

    def is_ready(self) -> bool:
        return True

    def notifications(self) -> dict[str, str]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {ID: status} if status else {}

    def make_no_more(self) -> None:
        self.ended += 1

    def log(self) -> list[dict[str, Any]]:
        return self.failures

    def call_receiver(self, deployment: Any, arguments: list[str], timeout_seconds: float) -> str:
        self.calls.append(arguments)
        if self.receiver:
            raise self.receiver
        return ""


@dataclass
class Outcome:
    """How a run ended."""

    code: int
    sentence: str
    stages: dict[str, str]
    out: str


@pytest.fixture
def run(
    clair_of: Callable[[str], Clair], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Outcome]]:
    """Return a function that runs the command with --json and returns its outcome."""

    def call(world: World, *arguments: str, answers: str = "defaults") -> Outcome:
        clair = clair_of(answers)
        applied = clair.folder / "state" / "applied" / "notifier"
        applied.mkdir(parents=True)
        (applied / "config.yaml").write_text("{}", encoding="utf-8")

        @contextmanager
        def removed_after(*_: Any) -> Iterator[World]:
            try:
                yield world
            finally:
                world.removed += 1

        replaced = {
            "load_deployment": lambda: clair.deployment,
            "scratch_server": removed_after,
            "throwaway_notifier": removed_after,
            "remove_leftover": lambda deployment: None,
            "log_reason": lambda container: "panic: no database",
            "call_receiver": world.call_receiver,
            "read_notifications": lambda *_: document(*world.rows),
        }
        for name, value in replaced.items():
            monkeypatch.setattr(send_notification, name, value)
        monkeypatch.setattr(tell_stages, "POLL_SECONDS", 0.01)
        code, sentence = 0, ""
        try:
            code = send_notification.main(["--json", *arguments])
        except Problem as problem:
            code, sentence = problem.code, problem.sentence
        out = capsys.readouterr().out
        written = json.loads(out)
        assert written["exit_code"] == code
        return Outcome(code, sentence, {one["name"]: one["result"] for one in written["stages"]}, out)

    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


def test_a_notification_that_arrives_is_told_stage_by_stage(run: Callable[..., Outcome]) -> None:
    world = World()

    outcome = run(world)

    assert (outcome.code, outcome.sentence) == (0, "")
    assert outcome.stages == {
        "receiver ready": "ok",
        "notifier started": "ok",
        "notification made": "ok",
        "receiver answered 200": "ok",
        "fetched": "ok",
        "stored": "ok",
        "delivered to team": "ok",
    }
    assert json.loads(outcome.out)["notification"] == ID
    assert world.ended == 1


@pytest.mark.parametrize("failures", [[], failed("refused")], ids=["arrived", "refused"])
def test_the_receiver_expects_a_test_only_while_there_is_one(
    run: Callable[..., Outcome], failures: list[dict[str, Any]]
) -> None:
    world = World(statuses=["created"] if failures else ["delivered"], failures=failures)

    run(world, "--timeout", "100")

    assert world.calls == [["expect-test", "160"], ["expect-test", "0"]]
    assert world.removed == 2


def test_without_targets_it_ends_where_findings_are_stored(run: Callable[..., Outcome]) -> None:
    outcome = run(World(rows=[notification(ID, deliveries=[])]))

    assert (outcome.code, list(outcome.stages)[-1]) == (0, "delivered")
    assert "no target in config/receiver/settings.toml" in outcome.out


@pytest.mark.parametrize(
    ("world", "stage", "reason"),
    [
        (
            lambda: World(receiver=Problem("receiver not reached, clair: no container", "./clair up", 3)),
            "receiver ready",
            "receiver not reached, clair: no container",
        ),
        (lambda: World(starts=False), "notifier started", "panic: no database"),
        (
            lambda: World(
                statuses=["created"], failures=failed("failed to deliver notification: code: 401 status 401")
            ),
            "receiver answered 200",
            "code: 401 status 401",
        ),
        (
            lambda: World(rows=[notification(ID, state="dead", fetched_at=None, findings=[], error="HTTP 401")]),
            "fetched",
            "HTTP 401",
        ),
    ],
    ids=["receiver down", "notifier cannot start", "wrong key", "callback refused"],
)
def test_it_says_where_the_notification_stopped(
    run: Callable[..., Outcome], world: Callable[[], World], stage: str, reason: str
) -> None:
    outcome = run(world())

    assert (outcome.code, outcome.sentence) == (1, f"notification not arrived, clair: {stage}: {reason}")
    assert [name for name, result in outcome.stages.items() if result == "failed"] == [stage]


def test_a_target_that_refuses_is_told_beside_one_that_takes_it(run: Callable[..., Outcome]) -> None:
    refused = delivery("mail", "waiting", error="SMTP 550 no such user")

    outcome = run(World(rows=[notification(ID, state="fetched", deliveries=[delivery(), refused])]))

    assert outcome.code == 1
    assert outcome.sentence == "notification not arrived, clair: delivered: mail: SMTP 550 no such user"
    assert outcome.stages["delivered to team"] == "ok"
    assert outcome.stages["delivered to mail"] == "failed"


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        (lambda: World(statuses=[""]), "notification made"),
        (lambda: World(statuses=["created"]), "receiver answered 200"),
        (lambda: World(rows=[]), "fetched"),
        (
            lambda: World(rows=[notification(ID, deliveries=[delivery(state="waiting", tries=0)])]),
            "delivered",
        ),
    ],
    ids=["not made", "not posted", "not fetched", "not tried"],
)
def test_what_does_not_happen_in_time_is_undecided(
    run: Callable[..., Outcome], world: Callable[[], World], stage: str
) -> None:
    outcome = run(world(), "--timeout", "0.2")

    assert outcome.code == 3
    assert outcome.sentence == f"notification not seen to arrive, clair: {stage}: not within 0.2 s"
    assert outcome.stages[stage] == "unknown"


@pytest.mark.parametrize(
    ("answers", "stage"),
    [("webhook", "webhook answered 200"), ("amqp", "message published"), ("stomp", "broker took it")],
)
def test_a_direct_delivery_ends_at_its_target(run: Callable[..., Outcome], answers: str, stage: str) -> None:
    world = World()

    outcome = run(world, answers=answers)

    assert (outcome.code, list(outcome.stages)) == (0, ["notifier started", "notification made", stage])
    assert world.calls == []


def test_a_broker_s_refusal_is_told_without_its_password(run: Callable[..., Outcome]) -> None:
    declared = {
        "component": "notifier/amqp/failOver.Connection",
        "broker": "amqp://user:word@mq.example/",
        "message": "could not obtain initial AMQP channel for passive exchange declare. attempting next broker",
    }
    failures = failed("failed to deliver notification: all failover URIs failed to connect", declared)

    outcome = run(World(statuses=["created"], failures=failures), answers="amqp")

    assert outcome.code == 1
    assert outcome.sentence.endswith("message published: the broker has no such exchange, or its user may not use it")
    assert "word" not in outcome.out


def test_ctrl_c_removes_everything(run: Callable[..., Outcome]) -> None:
    world = World(interrupt=True)

    with pytest.raises(KeyboardInterrupt):
        run(world)

    assert world.removed == 2
    assert world.calls[-1] == ["expect-test", "0"]


def test_a_second_one_is_told_who_is_at_work(clair: Clair) -> None:
    (clair.folder / "state" / "applied" / "notifier").mkdir(parents=True)
    clair.write("state/applied/notifier/config.yaml", "{}")
    with hold_lock(clair.deployment, "notify-test", clair.folder / "state" / "notify-test.lock"):
        result = clair("notify-test")

    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("deployment busy, state/notify-test.lock: held by `notify-test`, pid ")


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ("no-notifier", "no notifier, clair: notifier_delivery is 'none'"),
        ("defaults", "nothing applied, clair: state/applied has no notifier"),
    ],
)
def test_without_a_notifier_nothing_is_started(clair_of: Callable[[str], Clair], answers: str, sentence: str) -> None:
    clair = clair_of(answers)

    result = clair("notify-test")

    assert (result.code, result.err.splitlines()[0]) == (2, sentence)
    assert clair.docker.calls() == []


def test_the_throwaway_notifier_is_the_applied_one_without_its_database() -> None:
    limits = {"limits": {"cpus": 1, "memory": "512"}}
    notifier = {
        "image": "clair:4.9.0",
        "container_name": "x-notifier",
        "depends_on": {"receiver": {}},
        "environment": {"CLAIR_MODE": "notifier"},
        "read_only": True,
        "cap_drop": ["ALL"],
        "networks": {"clair": None, "database": None, "notifications": None, "own": None},
        "volumes": [{"source": "/r/state/applied/notifier", "target": "/config"}, {"source": "/r/ca", "target": "/ca"}],
        "deploy": {"replicas": 3, "resources": limits},
    }
    networks = {name: {"name": f"x_{name}"} for name in ("clair", "database", "notifications", "own")}

    model = compose_model({"services": {"notifier": notifier}, "networks": networks}, "x", Path("/s"), "x-scratch")

    service = model["services"]["notifier-test"]
    assert sorted(service["networks"]) == ["notifications", "own", "scratch"]
    assert service["networks"]["notifications"] == {"aliases": ["notifier-test"]}
    assert {volume["target"]: volume["source"] for volume in service["volumes"]} == {"/config": "/s", "/ca": "/r/ca"}
    assert service["environment"] == {"CLAIR_MODE": "notifier", "NOTIFIER_TEST_MODE": "true"}
    assert (service["read_only"], service["cap_drop"], service["deploy"]) == (True, ["ALL"], {"resources": limits})
    assert {"container_name", "depends_on"} & set(service) == set()
    assert model["networks"]["scratch"] == {"external": True, "name": "x-scratch"}


def test_a_direct_delivery_keeps_its_callback() -> None:
    assert "webhook" not in start_test_notifier.test_settings(False, "db", 60)["notifier"]
    callback = start_test_notifier.test_settings(True, "db", 60)["notifier"]["webhook"]["callback"]
    assert callback == "http://notifier-test:6060/notifier/api/v1/notification/"


@pytest.mark.parametrize(("shortest_seconds", "expected"), [(1, (10, 12)), (60, (60, 62))])
def test_a_delivery_follows_the_first_poll_at_once(shortest_seconds: int, expected: tuple[int, int]) -> None:
    assert intervals(shortest_seconds) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Post "https://hooks.example/in?token=word": EOF', 'Post "https://hooks.example/in?***": EOF'),
        ("dial amqp://u:word@mq.example/", "dial amqp://***@mq.example/"),
        ("code: 500 status 500", "code: 500 status 500"),
    ],
)
def test_no_secret_of_a_url_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_stomp_broker_s_own_words_are_told() -> None:
    dialled = {
        "component": "notifier/stomp/failOver.Connection",
        "message": "failed to dial broker, attempting next",
        "error": "stomp connect handshake to broker @ mq:61613 failed: Bad CONNECT",
    }
    log = failed("failed to deliver notification: exhausted all brokers and unable to make connection", dialled)

    assert refusal(log) == "stomp connect handshake to broker @ mq:61613 failed: Bad CONNECT"


def test_another_error_than_a_delivery_s_is_no_refusal() -> None:
    other = {"level": "error", "component": "notifier/service/Notifier.Run", "message": "encountered error on tick"}

    assert refusal([other]) == ""
    assert refusal([]) == ""
