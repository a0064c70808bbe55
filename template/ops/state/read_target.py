"""Reads `secrets/notifier-target`, the whole URL of a direct delivery, and says what of Clair's config it becomes.

Clair takes URLs for a webhook and for AMQP, and for STOMP `host:port` and a login apart (config/notifier.go, the same from
v4.5.0 to v4.9.0). Writes nothing.
"""

from __future__ import annotations

from typing import Any, Dict
from urllib.parse import unquote, urlsplit

from ..errors import Problem
from ..settings import Deployment

SCHEMES = {"webhook": ("http", "https"), "amqp": ("amqp", "amqps"), "stomp": ("stomp",)}
EXAMPLES = {
    "webhook": "https://hooks.example.com/clair?token=TOKEN",
    "amqp": "amqp://USER:PASSWORD@broker.example.com:5672/VHOST",
    "stomp": "stomp://USER:PASSWORD@broker.example.com:61613",
}


def secret_target(deployment: Deployment) -> Dict[str, Any]:
    """Return the config that `secrets/notifier-target` adds below `notifier`; empty where it does not apply or is not there.

    Raises Problem (2) as `target_settings` does, or if the file cannot be read.
    """
    delivery = str(deployment.facts.get("notifier_delivery"))
    if delivery not in SCHEMES or not (deployment.secrets / "notifier-target").is_file():
        return {}
    return {delivery: target_settings(delivery, deployment.secret("notifier-target"))}


def target_settings(delivery: str, url: str) -> Dict[str, Any]:
    """Return the keys of `notifier.<delivery>` for a URL.

    Raises Problem (2) if it is no URL of that delivery; its text never holds the URL, which is a secret.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refused(delivery) from error
    if parts.scheme not in SCHEMES[delivery] or not host or any(character.isspace() for character in url):
        raise _refused(delivery)
    if delivery == "webhook":
        return {"target": url}
    if delivery == "amqp":
        return {"uris": [url]}
    if not port or parts.path.strip("/") or parts.query or parts.fragment:
        raise _refused(delivery)
    settings: Dict[str, Any] = {"uris": [parts.netloc.rpartition("@")[2]]}
    if parts.username is not None:
        settings["user"] = {"login": unquote(parts.username), "passcode": unquote(parts.password or "")}
    return settings


def _refused(delivery: str) -> Problem:
    wanted = " or ".join(SCHEMES[delivery])
    return Problem(
        f"secret refused, secrets/notifier-target: no {wanted} URL as notifier_delivery '{delivery}' needs",
        f"write it like {EXAMPLES[delivery]}",
    )
