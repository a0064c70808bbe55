"""Values for most questions, and which of their combinations no rule refuses: the rules themselves decide."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from extensions.catalogue import load_catalogue
from extensions.rules import RULES
from tests.support import facts
from tests.support.answers import complete
from tests.support.places import DATA

CATALOGUE = load_catalogue(DATA)

# Releases between which something in the catalogue changes that templates look at; test_releases.py renders every one.
CHANGES = ("strict_config", "stop_signal", "pool", "java_api_setting", "tracing", "platforms", "config_keys")
NOTABLE = [
    version
    for before, version in itertools.pairwise(["", *facts.releases()])
    if not before or any(facts.release(before)[key] != facts.release(version)[key] for key in CHANGES)
]

# What each question may be answered with here.
VALUES: dict[str, list[Any]] = {
    "clair_version": ["newest", *NOTABLE],
    "architecture": facts.architectures(),
    "image_mirror": ["", "mirror.example.com:5000/all"],
    "deployment_name": ["clair", "123"],
    "deployment_size": ["small", "medium", "large"],
    "indexer_replicas": [1, 16],
    "matcher_replicas": [1, 2],
    "notifier_delivery": ["bundled", "webhook", "amqp", "stomp", "none"],
    "notifier_replicas": [1, 3],
    "database_mode": ["bundled", "external"],
    "database_version": CATALOGUE.database_majors,
    "updater_families": [CATALOGUE.default_families, ["photon"], ["osv", "rhel"]],
    "enrichment_enabled": [True, False],
    "feeds_offline": [True, False],
    "edge_tls": ["off", "files", "acme"],
    "edge_address": ["127.0.0.1", "0.0.0.0", "::1", "::"],
    "edge_port": [443, 8443],
    "quay_enabled": [True, False],
    "auth_issuers": [[], ["robot"]],
    "proxy_url": ["", "http://proxy.example.com:3128"],
    "tracing_endpoint": ["", "https://collector.example.com"],
}
TARGETS = {
    "webhook": "https://hooks.example.com/clair",
    "amqp": "amqp://broker.example.com/vhost",
    "stomp": "stomp://broker.example.com:61613",
}


def with_dependents(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with what its answers make necessary, and without what they make pointless."""
    row = dict(answers)
    delivery = row["notifier_delivery"]
    if delivery in TARGETS:
        row["notifier_target"] = TARGETS[delivery]
    if delivery == "none":
        row.pop("notifier_replicas", None)
    if row["database_mode"] == "external":
        row.pop("database_version", None)
        row["database_host"] = "db.example.com"
    if row["edge_tls"] != "off":
        row["edge_hostname"] = "clair.example.com"
    if row["edge_tls"] == "acme":
        row["edge_acme_email"] = "ops@example.com"
    return row


def is_possible(values: Sequence[Any]) -> bool:
    """True if no rule refuses the answers that a row has so far."""
    row = dict(zip(VALUES, values, strict=False))
    answers = complete(CATALOGUE, {"edge_address": "0.0.0.0", "edge_port": 443, **row})
    return not any(RULES[name](answers[name], answers, CATALOGUE) for name in row if name in RULES)
