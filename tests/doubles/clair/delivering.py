"""Deliver one notification to what the configuration names (notifier/webhook, notifier/amqp, notifier/stomp)."""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import urljoin

from . import http_client
from .amqp_client import AmqpConnection
from .broker_connection import BrokerProblem
from .config_loading import Config
from .log_lines import log
from .releases import Release
from .service_clients import Signer
from .stomp_client import StompConnection
from .tokens import NOTIFIER_ISSUER

_FAILED = "failed to deliver notification"


class DeliveryFailed(Exception):
    """The target did not take a notification; the text is the original's."""


class Deliverer(Protocol):
    """What delivers."""

    name: str

    def deliver(self, identifier: str) -> None:
        """Deliver the notification with this id. Raises DeliveryFailed."""


def make_deliverer(config: Config, release: Release) -> Deliverer:
    """Return the deliverer that a configuration asks for: webhook before AMQP before STOMP."""
    if config.get("notifier.webhook") is not None:
        return _WebhookDeliverer(config, release)
    if config.get("notifier.amqp") is not None:
        return _AmqpDeliverer(config.get("notifier.amqp"))
    return _StompDeliverer(config.get("notifier.stomp"), release)


class _WebhookDeliverer:
    def __init__(self, config: Config, release: Release) -> None:
        self.name = "webhook"
        self._settings = config.get("notifier.webhook")
        self._release = release
        self._signer = Signer(config, release, NOTIFIER_ISSUER)

    def deliver(self, identifier: str) -> None:
        target = self._settings.get("target", "")
        callback = urljoin(self._settings["callback"], identifier)
        log("info", "notifier/webhook/Deliverer.Deliver", "dispatching webhook", deliverer="webhook",
            notification_id=identifier, callback=callback, target=target)  # fmt: skip
        headers: dict[str, str | list[str]] = {
            "User-Agent": f"clair/{self._release.version}",
            "Accept-Encoding": "gzip",
        }
        if not self._release.since("4.6.0"):
            headers["User-Agent"] = "Go-http-client/1.1"
        for name, values in (self._settings.get("headers") or {}).items():
            headers[name] = [str(value) for value in values]
        headers["Content-Type"] = "application/json"
        headers.update(self._signer.headers(target))
        try:
            with http_client.request("POST", target, headers, iter([_body(callback, identifier)])) as response:
                status, reason = response.status, response.reason
                response.read()
        except (http_client.RequestFailed, OSError) as error:
            raise DeliveryFailed(f"{_FAILED}: {error}") from error
        if status != 200:
            raise DeliveryFailed(f"{_FAILED}: code: {status} status {status} {reason}")


class _AmqpDeliverer:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.name = f"amqp-{settings['exchange'].get('name', '')}"
        self._settings = settings

    def deliver(self, identifier: str) -> None:
        exchange = self._settings["exchange"]
        body = _broker_body(self._settings, identifier)
        for uri in self._settings["uris"]:
            message = "failed to connect to AMQP broker. attempting next broker"
            try:
                connection = AmqpConnection(uri, self._settings.get("tls"))
                message = "could not obtain initial AMQP channel for passive exchange declare. attempting next broker"
                if exchange.get("name"):
                    durable, deleted = bool(exchange.get("durability")), bool(exchange.get("auto_delete"))
                    connection.declare_passively(exchange["name"], exchange["type"], durable, deleted)
            except BrokerProblem:
                # The original keeps the broker's reason to itself, and writes the URL with its password.
                log("info", "notifier/amqp/failOver.Connection", message, deliverer=self.name,
                    notification_id=identifier, broker=uri)  # fmt: skip
                continue
            try:
                key = self._settings["routing_key"]
                connection.publish(exchange.get("name", ""), key, body, "application/json", "clairV4-notifier")
            except BrokerProblem as problem:
                raise DeliveryFailed(f"{_FAILED}: {problem}") from problem
            finally:
                connection.close()
            return
        raise DeliveryFailed(f"{_FAILED}: all failover URIs failed to connect")


class _StompDeliverer:
    def __init__(self, settings: dict[str, Any], release: Release) -> None:
        self.name = f"stomp-{settings.get('destination', '')}"
        self._settings = settings
        self._names_host = release.since("4.7.0")

    def deliver(self, identifier: str) -> None:
        body = _broker_body(self._settings, identifier)
        for address in self._settings["uris"]:
            login, tls = self._settings.get("user"), self._settings.get("tls")
            try:
                connection = StompConnection(address, login, tls, names_host=self._names_host)
            except BrokerProblem as problem:
                log("debug", "notifier/stomp/failOver.Connection", "failed to dial broker, attempting next",
                    deliverer=self.name, notification_id=identifier, broker=address,
                    error=f"stomp connect handshake to broker @ {address} failed: {problem}")  # fmt: skip
                continue
            try:
                connection.send(self._settings.get("destination", ""), "application/json", body)
            except BrokerProblem as problem:
                raise DeliveryFailed(f"{_FAILED}: {problem}") from problem
            finally:
                connection.close()
            return
        raise DeliveryFailed(f"{_FAILED}: exhausted all brokers and unable to make connection")


def _broker_body(settings: dict[str, Any], identifier: str) -> bytes:
    if settings.get("direct"):
        raise DeliveryFailed(f"{_FAILED}: the test double sends no notifications themselves, only their callback")
    return _body(urljoin(settings["callback"], identifier), identifier)


def _body(callback: str, identifier: str) -> bytes:
    return json.dumps({"callback": callback, "notification_id": identifier}, separators=(",", ":")).encode()
