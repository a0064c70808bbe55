"""What the notifier delivers straight to a webhook or a message broker arrives there, and its callback works at the edge.

The broker is a real one (Debian's RabbitMQ). Clair's test mode makes the notifications; every interval is cut by a variable
that only the double of Clair knows, so that with the real one these tests take a minute longer each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import jwt
import pytest
import yaml

from tests.live.broker import BROKER, PASSWORD, USER, Broker, started_broker
from tests.live.conftest import DeploymentFactory
from tests.live.hook import HOST_ENTRY, Hook, started_hook
from tests.live.samples import FAMILIES, clair, psk, request, token, wait_until
from tests.live.support import Deployment, Engine, Images

ARRIVE_SECONDS = 200.0
EXCHANGE, ROUTING_KEY, QUEUE = "clair", "notifications", "for-the-team"
FINDING = "test-vulnerability"
RELEASES = ("newest", "4.5.1")


@pytest.fixture(scope="module")
def broker(engine: Engine, images: Images) -> Iterator[Broker]:
    """Return a broker that runs for the tests of this module."""
    with started_broker(engine, images) as started:
        yield started


def use_test_mode(deployment: Deployment) -> None:
    """Let the notifier make and deliver a notification every minute; a minute is three seconds for the double."""
    override = {
        "services": {"notifier": {"environment": {"NOTIFIER_TEST_MODE": "1", "CLAIR_DOUBLE_TIME_FACTOR": "20"}}}
    }
    (deployment.root / "compose.override.yaml").write_text(yaml.safe_dump(override), encoding="utf-8")
    if deployment.facts["release"]["drop_ins"]:
        folder = deployment.root / "config" / "notifier" / "config.yaml.d"
        folder.mkdir(exist_ok=True)
        settings = {"notifier": {"poll_interval": "1m", "delivery_interval": "1m"}}
        (folder / "fast.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    else:
        path = deployment.root / "config" / "notifier" / "config.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("poll_interval: 5m", "poll_interval: 1m"), encoding="utf-8")


def started(deployment: DeploymentFactory, secret: str, **answers: Any) -> Deployment:
    """Return a running deployment whose target's URL is in `secrets/`."""
    running = deployment(updater_families=FAMILIES, **answers)
    use_test_mode(running)
    clair(running, "secrets")
    (running.root / "secrets" / "notifier-target").write_text(secret + "\n", encoding="utf-8")
    clair(running, "up")
    return running


def reported(deployment: Deployment, message: dict[str, Any]) -> set[str]:
    """Return the names that the notification of a delivered message reports, fetched as its reader would."""
    assert set(message) == {"callback", "notification_id"}
    address = urlsplit(message["callback"])
    assert f"{address.scheme}://{address.netloc}" == deployment.edge_url
    assert address.path.endswith(f"/{message['notification_id']}")
    headers = {"Authorization": f"Bearer {token(deployment)}"}
    status, _, body = request(deployment.edge_url, "GET", address.path, headers)
    assert status == 200
    return {one["vulnerability"]["name"] for one in json.loads(body)["notifications"]}


@pytest.mark.parametrize("clair_version", RELEASES)
def test_amqp_messages_arrive_once_the_exchange_is_there(
    deployment: DeploymentFactory, broker: Broker, clair_version: str
) -> None:
    virtual_host = f"vhost-{clair_version}"
    broker.add_virtual_host(virtual_host)
    running = started(
        deployment,
        f"amqp://{USER}:{quote(PASSWORD, safe='')}@{BROKER}:5672/{virtual_host}",
        clair_version=clair_version,
        notifier_delivery="amqp",
        notifier_target=f"amqp://{BROKER}:5672/{virtual_host}",
    )
    broker.join(running)

    # Clair declares the exchange passively: it never makes one.
    refused = "could not obtain initial AMQP channel for passive exchange declare"
    wait_until(lambda: refused in running.logs("notifier"), "the refusal of the broker", ARRIVE_SECONDS)
    broker.add_exchange(virtual_host, EXCHANGE, ROUTING_KEY, QUEUE)
    messages = wait_until(lambda: broker.messages(virtual_host, QUEUE), "a message", ARRIVE_SECONDS)

    assert messages[0]["exchange"] == EXCHANGE
    assert messages[0]["routing_key"] == ROUTING_KEY
    assert messages[0]["properties"] == {"app_id": "clairV4-notifier", "content_type": "application/json"}
    assert reported(running, json.loads(messages[0]["payload"])) == {FINDING}


@pytest.mark.parametrize("clair_version", RELEASES)
def test_stomp_messages_arrive_in_the_virtual_host_that_clair_names(
    deployment: DeploymentFactory, broker: Broker, clair_version: str
) -> None:
    running = started(
        deployment,
        f"stomp://{USER}:{quote(PASSWORD, safe='')}@{BROKER}:61613",
        clair_version=clair_version,
        notifier_delivery="stomp",
        notifier_target=f"stomp://{BROKER}:61613",
    )
    broker.join(running)
    # Clair 4.7 and newer name the host of the target, older ones its address.
    virtual_host = BROKER if clair_version == "newest" else broker.address_in(running)
    broker.add_virtual_host(virtual_host)

    messages = wait_until(lambda: broker.messages(virtual_host, "notifications"), "a message", ARRIVE_SECONDS)

    assert messages[0]["properties"]["content_type"] == "application/json"
    assert reported(running, json.loads(messages[0]["payload"])) == {FINDING}


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a webhook on this machine that answers 202 until its `status` is changed."""
    with started_hook(status=202) as started:
        yield started


def test_a_webhook_is_posted_to_until_it_answers_200(deployment: DeploymentFactory, hook: Hook) -> None:
    base = f"{hook.url}/clair"
    running = deployment(updater_families=FAMILIES, notifier_delivery="webhook", notifier_target=base)
    use_test_mode(running)
    override = yaml.safe_load((running.root / "compose.override.yaml").read_text(encoding="utf-8"))
    override["services"]["notifier"]["extra_hosts"] = [HOST_ENTRY]
    (running.root / "compose.override.yaml").write_text(yaml.safe_dump(override), encoding="utf-8")
    clair(running, "secrets")
    (running.root / "secrets" / "notifier-target").write_text(
        f"{base.replace('://', '://user:word@')}?token=word\n", encoding="utf-8"
    )
    clair(running, "up")

    # 202 is no success for Clair.
    wait_until(lambda: len(hook.posts) >= 2, "a second try", ARRIVE_SECONDS)
    statement = "SELECT count(*) FROM receipt WHERE status = 'delivered'"
    assert running.psql("notifier", statement) == [["0"]]
    hook.status = 200
    wait_until(lambda: running.psql("notifier", statement) != [["0"]], "a delivery", ARRIVE_SECONDS)

    post = hook.posts[-1]
    claims = jwt.decode(post.headers["Authorization"].removeprefix("Bearer "), psk(running), algorithms=["HS256"])
    assert post.path == "/clair?token=word"
    assert claims["iss"] == "clair-notifier"
    assert reported(running, json.loads(post.body)) == {FINDING}
