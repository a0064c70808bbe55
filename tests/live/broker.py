"""A message broker for the tests of direct deliveries: Debian's RabbitMQ, in a container of its own.

It knows one user besides its own, whose password needs escaping in a URL. What it holds is read by its management interface,
which shares no code with what delivers.
"""

from __future__ import annotations

import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.doubles.images.build import BROKER_IMAGE
from tests.live.samples import wait_until
from tests.live.support import Deployment, Engine, Images

__all__ = ["BROKER", "PASSWORD", "USER", "Broker", "started_broker"]

BROKER = "broker"
USER, PASSWORD = "clair", "p@ss:w/rd"
START_SECONDS = 60.0
_MANAGEMENT_PORT = 15672


@dataclass(frozen=True)
class Broker:
    """A broker that runs."""

    container: str
    management_url: str
    engine: Engine

    def call(self, method: str, *path: str, body: Any = None) -> Any:
        """Call the management interface; a path's parts are escaped. Raises urllib.error.HTTPError."""
        address = "/".join([self.management_url, "api", *(quote(part, safe="") for part in path)])
        token = base64.b64encode(b"guest:guest").decode()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(address, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_virtual_host(self, name: str) -> None:
        """Make a virtual host that the user may use."""
        self.call("PUT", "vhosts", name)
        for user in (USER, "guest"):
            self.call("PUT", "permissions", name, user, body={"configure": ".*", "write": ".*", "read": ".*"})

    def add_exchange(self, virtual_host: str, exchange: str, routing_key: str, queue: str) -> None:
        """Make a durable direct exchange and a durable queue bound to it."""
        self.call("PUT", "exchanges", virtual_host, exchange, body={"type": "direct", "durable": True})
        self.call("PUT", "queues", virtual_host, queue, body={"durable": True})
        self.call("POST", "bindings", virtual_host, "e", exchange, "q", queue, body={"routing_key": routing_key})

    def messages(self, virtual_host: str, queue: str) -> list[dict[str, Any]]:
        """Return the messages in a queue, which stay there; none if there is no such queue."""
        body = {"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"}
        try:
            found: list[dict[str, Any]] = self.call("POST", "queues", virtual_host, queue, "get", body=body)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        return found

    def address_in(self, deployment: Deployment) -> str:
        """Return the broker's IP address in the deployment's network that leads out."""
        template = f'{{{{(index .NetworkSettings.Networks "{deployment.name}_egress").IPAddress}}}}'
        return self.engine.docker("inspect", "--format", template, self.container).stdout.strip()

    def join(self, deployment: Deployment) -> None:
        """Be reachable for the notifier of a deployment, as `broker`."""
        self.engine.docker("network", "connect", "--alias", BROKER, f"{deployment.name}_egress", self.container)


@contextmanager
def started_broker(engine: Engine, images: Images) -> Iterator[Broker]:
    """Run a broker for the block."""
    images.ensure(BROKER_IMAGE)
    name = f"clairtest-broker-{secrets.token_hex(4)}"
    engine.docker("run", "--detach", "--name", name, "--publish", f"127.0.0.1::{_MANAGEMENT_PORT}", BROKER_IMAGE)
    try:
        port = engine.docker("port", name, f"{_MANAGEMENT_PORT}/tcp").stdout.split()[0]
        broker = Broker(name, f"http://{port}", engine)
        wait_until(lambda: _answers(broker), "the broker", START_SECONDS)
        broker.call("PUT", "users", USER, body={"password": PASSWORD, "tags": ""})
        yield broker
    finally:
        engine.docker("rm", "--force", "--volumes", name)


def _answers(broker: Broker) -> bool:
    try:
        broker.call("GET", "overview")
    except OSError:  # not up yet; an answer that is an error is one as well
        return False
    return True
