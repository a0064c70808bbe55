"""`./clair notify-test` in a running deployment: the whole path, every place where it can stop, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.broker import BROKER, started_broker
from tests.live.conftest import DeploymentFactory
from tests.live.hook import HOST_ENTRY, Hook, started_hook
from tests.live.samples import FAMILIES, clair, no_traceback, psk, wait_until
from tests.live.support import Deployment, Engine, Images

OTHER_KEY = "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgISE="
STOP_SECONDS = 60.0


def faster(deployment: Deployment, **services: Any) -> None:
    """Let a minute be three seconds for the double's notifier; the real one takes no notice."""
    override = {"services": {"notifier": {"environment": {"CLAIR_DOUBLE_TIME_FACTOR": "20"}}, **services}}
    (deployment.root / "compose.override.yaml").write_text(yaml.safe_dump(override), encoding="utf-8")


def notify_test(deployment: Deployment, *options: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Run the command; return exit code, result and detail of each stage by its name, and the first line after them."""
    done = clair(deployment, "notify-test", "--json", *options, check=False)
    no_traceback(done)
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    stages = {one["name"]: (one["result"], one["detail"]) for one in document["stages"]}
    sentences = [line for line in done.stderr.splitlines() if line.startswith("notification not ")]
    return done.returncode, stages, "".join(sentences)


def left_over(deployment: Deployment) -> list[str]:
    """Return the containers, networks and files of tests that are there."""
    found = []
    for listing in (("ps", "--all", "--format", "{{.Names}}"), ("network", "ls", "--format", "{{.Name}}")):
        found += deployment.engine.docker(*listing, "--filter", f"label=clair.scratch={deployment.name}").stdout.split()
    names = deployment.engine.docker("ps", "--all", "--format", "{{.Names}}").stdout.split()
    found += [name for name in names if name == f"{deployment.name}-notify-test"]
    return found + [
        path.name for path in (deployment.root / "state").iterdir() if path.is_dir() and "notify" in path.name
    ]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    """Return the receiver's only target."""
    with started_hook() as started:
        yield started


@pytest.fixture(scope="module")
def running(shared_deployment: DeploymentFactory, hook: Hook) -> Deployment:
    """Return a deployment whose receiver sends to the hook."""
    made = shared_deployment(updater_families=FAMILIES)
    faster(made, receiver={"extra_hosts": [HOST_ENTRY]})
    settings = made.root / "config" / "receiver" / "settings.toml"
    settings.parent.mkdir(exist_ok=True)
    # Nobody would hear of a test if filters held for it: its finding has no severity.
    settings.write_text(
        f'[[target]]\nname = "team"\ntype = "webhook"\nurl = "{hook.url}/in"\nseverity = "critical"\n', encoding="utf-8"
    )
    clair(made, "up")
    return made


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test with the shared deployment after which something of the throwaway notifier is there."""
    yield
    if "running" in request.fixturenames:
        assert left_over(request.getfixturevalue("running")) == []


def test_a_notification_arrives_at_the_target_and_is_marked(running: Deployment, hook: Hook) -> None:
    receipts = running.psql("notifier", "SELECT count(*) FROM receipt")
    before = len(hook.posts)

    code, stages, sentence = notify_test(running)

    assert (code, sentence) == (0, "")
    assert list(stages) == [
        *("receiver ready", "notifier started", "notification made", "receiver answered 200"),
        *("fetched", "stored", "delivered to team"),
    ]
    assert {result for result, _ in stages.values()} == {"ok"}
    assert len(hook.posts) == before + 1
    listed = json.loads(clair(running, "notifications", "--json").stdout)["notifications"]
    newest = listed[0]
    assert (newest["id"], newest["test"]) == (stages["notification made"][1], True)
    assert [one["vulnerability"] for one in newest["findings"]] == ["test-vulnerability"]
    # The real notifier knows nothing of it.
    assert running.psql("notifier", "SELECT count(*) FROM receipt") == receipts


def test_a_target_that_refuses_is_named(running: Deployment, hook: Hook) -> None:
    hook.status = 500
    try:
        code, stages, sentence = notify_test(running)
    finally:
        hook.status = 200

    assert code == 1
    assert stages["stored"][0] == "ok"
    assert stages["delivered to team"][0] == "failed"
    assert "500" in sentence


def test_a_notifier_with_another_key_is_told_by_the_receiver_s_reason(running: Deployment) -> None:
    with replaced(running.root / "state" / "applied" / "notifier" / "config.yaml.d" / "zz-psk.yaml") as path:
        path.write_text(json.dumps({"auth": {"psk": {"key": OTHER_KEY}}}), encoding="utf-8")

        code, stages, sentence = notify_test(running)

    assert psk(running)
    assert code == 1
    assert stages["receiver answered 200"][0] == "failed"
    assert "401" in sentence
    assert "signature" in sentence


def test_a_notifier_that_cannot_start_is_told_by_its_log(running: Deployment) -> None:
    with replaced(running.root / "state" / "applied" / "notifier" / "config.yaml.d" / "zz-psk.yaml") as path:
        path.write_text(json.dumps({"notifier": {"bar": 1}}), encoding="utf-8")

        code, stages, sentence = notify_test(running)

    assert code == 1
    assert stages["notifier started"][0] == "failed"
    assert "unknown field" in sentence


def test_a_receiver_that_is_down_is_told_at_once(running: Deployment) -> None:
    running.engine.docker("stop", running.container("receiver"))
    try:
        code, stages, sentence = notify_test(running)
    finally:
        clair(running, "up")

    assert code == 1
    assert list(stages) == ["receiver ready"]
    assert sentence.endswith(f"receiver ready: receiver not reached, {running.name}: {running.name}-receiver is exited")


def test_without_the_time_it_is_undecided(running: Deployment) -> None:
    code, stages, _ = notify_test(running, "--timeout", "3")

    assert code == 3
    assert "unknown" in {result for result, _ in stages.values()}


@contextmanager
def begun(deployment: Deployment) -> Iterator[subprocess.Popen[str]]:
    """Run a notify-test until its notifier is there, then give it to the block."""
    process = subprocess.Popen(
        ["./clair", "notify-test"],
        cwd=deployment.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "ALLOW_SMALL": "1"},
    )
    try:
        wait_until(lambda: f"{deployment.name}-notify-test" in left_over(deployment), "its notifier", STOP_SECONDS)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_removes_everything(running: Deployment) -> None:
    with begun(running) as process:
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=STOP_SECONDS) == 130


def test_what_a_killed_run_left_is_removed_by_the_next(running: Deployment) -> None:
    with begun(running) as process:
        process.kill()
        process.wait()
    assert left_over(running) != []

    code, _, sentence = notify_test(running)

    assert (code, sentence) == (0, "")


def test_the_oldest_release_s_notification_arrives(deployment: DeploymentFactory) -> None:
    older = deployment(updater_families=FAMILIES, clair_version="4.5.1")
    faster(older)
    clair(older, "up")

    code, stages, _ = notify_test(older)

    assert code == 0
    assert "no target" in stages["delivered"][1]


def test_a_broker_is_tried_and_its_refusal_told(deployment: DeploymentFactory, engine: Engine, images: Images) -> None:
    made = deployment(updater_families=FAMILIES, notifier_delivery="amqp", notifier_target=f"amqp://{BROKER}:5672/")
    faster(made)
    clair(made, "up")
    with started_broker(engine, images) as broker:
        broker.join(made)
        refused = notify_test(made)
        broker.add_exchange("/", "clair", "notifications", "queue")
        taken = notify_test(made)
        messages = broker.messages("/", "queue")

    assert refused[0] == 1
    assert refused[1]["message published"] == ("failed", "the broker has no such exchange, or its user may not use it")
    assert taken[0] == 0
    assert json.loads(messages[0]["payload"])["notification_id"] == taken[1]["notification made"][1]
    assert left_over(made) == []


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Let a file that may not be written be rewritten in the block; it is as before afterwards."""
    content, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    try:
        yield path
    finally:
        path.write_bytes(content)
        path.chmod(mode)
