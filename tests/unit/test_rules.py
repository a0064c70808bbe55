"""Every rule of extensions/rules.py: what it accepts, and what it refuses with which whole reason.

The refused lists hold the end of the sentence; the question and the value before it are tested with Copier (tests/render/test_bad_input.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from extensions.catalogue import Catalogue
from extensions.rules import RULES, release_of
from tests.support import facts
from tests.support.answers import complete

ACCEPTED: list[tuple[str, Any, dict[str, Any]]] = [
    ("deployment_name", "a", {}),
    ("deployment_name", "0-clair_2", {}),
    ("deployment_name", "a" * 40, {}),
    ("clair_version", "newest", {}),
    ("clair_version", "4.5.0", {}),
    ("clair_version", "v4.9.0", {}),
    ("architecture", "amd64", {"clair_version": "4.5.1"}),
    ("architecture", "ppc64le", {"clair_version": "4.6.0"}),
    ("architecture", "s390x", {"clair_version": "v4.7.0"}),
    ("image_mirror", "", {}),
    ("image_mirror", "localhost", {}),
    ("image_mirror", "registry:5000", {}),
    ("image_mirror", "reg.example.com/a/b-c__d/", {}),
    ("indexer_replicas", 1, {}),
    ("matcher_replicas", 16, {}),
    ("notifier_replicas", 16, {}),
    ("notifier_target", "http://hooks", {"notifier_delivery": "webhook"}),
    ("notifier_target", "https://[2001:db8::1]:8443/a%20b", {"notifier_delivery": "webhook"}),
    ("notifier_target", "amqps://broker.example.com/vhost", {"notifier_delivery": "amqp"}),
    ("notifier_target", "stomp://broker.example.com:61613", {"notifier_delivery": "stomp"}),
    ("database_host", "db", {}),
    ("database_host", "192.0.2.1", {}),
    ("database_host", "2001:db8::1", {}),
    ("database_port", 1, {}),
    ("database_port", 65535, {}),
    ("updater_families", ["photon"], {}),
    ("updater_families", ["osv"], {"clair_version": "4.7.0"}),
    ("updater_families", ["osv", "alpine"], {"clair_version": "4.5.0"}),
    ("update_retention", 2, {}),
    ("update_retention", 100, {}),
    ("backup_keep", 1, {}),
    ("backup_keep", 1000, {}),
    ("edge_hostname", "clair.example.com", {}),
    ("edge_hostname", "clair", {}),
    ("edge_acme_email", "ops+clair@example.com", {}),
    ("edge_acme_server", "https://ca.example.com:9000/acme/acme/directory", {}),
    ("edge_address", "0.0.0.0", {}),
    ("edge_address", "::1", {}),
    ("edge_address", "2001:db8::1", {"edge_tls": "acme"}),
    ("edge_port", 1, {}),
    ("edge_port", 65535, {"edge_tls": "files"}),
    ("edge_port", 443, {"edge_tls": "acme"}),
    ("operations_port", 6062, {}),
    ("auth_issuers", [], {}),
    ("auth_issuers", ["clairctl", "Robot_1.a-b"], {}),
    ("proxy_url", "", {}),
    ("proxy_url", "https://proxy.example.com", {}),
    ("proxy_exceptions", [], {}),
    ("proxy_exceptions", [".example.com", "registry", "10.0.0.0/8", "192.0.2.1", "2001:db8::/32"], {}),
    ("tracing_endpoint", "", {"clair_version": "4.5.0"}),
    ("tracing_endpoint", "http://collector:4318/v1/traces", {"clair_version": "4.9.0"}),
]

PORT = "is no port: choose 1 to 65535."
NAME = "is no Compose project name: use lower-case letters, digits, - and _, and begin with a letter or digit."
MIRROR = "is no registry path: write it like reg.example.com/mirror."
NO_REGISTRY = (
    "names no registry host (Docker would take it for a folder of Docker Hub): write it like reg.example.com/mirror."
)
REPLICAS = "is out of range: choose 1 to 16."
RETENTION = "is out of range: choose 2 to 100."
BACKUPS = "is out of range: choose 1 to 1000."
HOST = "is no host name: write it like clair.example.com, without scheme, port or path."
EMAIL = "is no e-mail address: write it like ops@example.com."
IN_TARGET = "carries a user or a query, and answers are kept in git: leave them out here and put the full URL into secrets/notifier-target."
IN_PROXY = "carries a user or a query, and answers are kept in git: leave them out here and put the full URL into secrets/proxy-url."
WEBHOOK = "is no http or https URL: write it like https://hooks.example.com/clair."
NO_WEBHOOK = "is no URL: write it like https://hooks.example.com/clair."
NO_PROXY = "is no URL: write it like http://proxy.example.com:3128."
ADDRESS = "is no IP address: write it like 127.0.0.1, 0.0.0.0 or ::1, without brackets."
NO_LISTENER = "is no address a service can listen on: write it like 127.0.0.1, 0.0.0.0 or ::1."
EXCEPTION = "which is no host, domain, address or network: write [registry.example.com, 10.0.0.0/8]."
OLDEST, NEWEST = facts.releases()[0], facts.releases()[-1]
VERSIONS = f"choose newest or a release from {OLDEST} to {NEWEST}"
UNKNOWN = f"is not known to this version of the template: {VERSIONS}, or run copier update if it is newer."
QUOTE = f"{VERSIONS}, and quote a value like '4.10', which YAML reads as 4.1."
NO_COLLECTOR = "is no URL: write it like http://collector.example.com:4318."

REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("deployment_name", "", {}, NAME),
    ("deployment_name", "Clair", {}, NAME),
    ("deployment_name", "my clair", {}, NAME),
    ("deployment_name", "-clair", {}, NAME),
    ("deployment_name", "clair\n", {}, NAME),
    ("deployment_name", "a" * 41, {}, "is too long: use at most 40 characters."),
    ("clair_version", "", {}, f"is empty: {VERSIONS}."),
    ("clair_version", "4.99.0", {}, UNKNOWN),
    ("clair_version", "vnewest", {}, UNKNOWN),
    ("clair_version", "4.1", {}, f"is no full release number: {QUOTE}"),
    ("clair_version", "v4.9", {}, f"is no full release number (there is 4.9.0): {QUOTE}"),
    ("clair_version", "4.7", {}, f"is no full release number (there is 4.7.0, 4.7.1, 4.7.2, 4.7.3, 4.7.4): {QUOTE}"),
    ("clair_version", "latest", {}, f"is not supported, it is a moving tag and no release: {VERSIONS}."),
    (
        "clair_version",
        "2.1.0",
        {},
        f"is not supported, Clair 1 to 3 are another product with another API and database: {VERSIONS}.",
    ),
    (
        "clair_version",
        "v4.9.0-rc.1",
        {},
        f"is not supported, it is a pre-release, made to be tested and then replaced: {VERSIONS}.",
    ),
    (
        "clair_version",
        "4.0.0",
        {},
        "is not supported, its image exists for amd64 only and its matcher opens no port until the first load of all feeds has"
        f" ended: {VERSIONS}.",
    ),
    (
        "clair_version",
        "4.2.0",
        {},
        f"is not supported, its image exists for amd64 only (arm64 begins with 4.3.0): {VERSIONS}.",
    ),
    (
        "clair_version",
        "4.3.6",
        {},
        "is not supported, it has no way to delete a manifest (that begins with 4.5.0) and its settings are not checked at all:"
        f" {VERSIONS}.",
    ),
    (
        "clair_version",
        "4.4.4",
        {},
        "is not supported, its images were published with an expiry of 14 days by mistake (quay/clair issue 1554) and may be gone:"
        f" {VERSIONS}.",
    ),
    (
        "architecture",
        "s390x",
        {"clair_version": "4.6.1"},
        "has no image of Clair 4.6.1: choose amd64, arm64, ppc64le or clair_version 4.7.0 or newer.",
    ),
    (
        "architecture",
        "ppc64le",
        {"clair_version": "v4.5.1"},
        "has no image of Clair 4.5.1: choose amd64, arm64 or clair_version 4.6.0 or newer.",
    ),
    ("architecture", "riscv64", {}, f"has no image of Clair {NEWEST}: choose amd64, arm64, ppc64le, s390x."),
    ("image_mirror", "https://reg.example.com", {}, "has a scheme: write it like reg.example.com/mirror."),
    (
        "image_mirror",
        "user:secret@reg.example.com",
        {},
        "carries a user or a query: give only host and path, and log in with docker login.",
    ),
    ("image_mirror", "Reg.example.com", {}, MIRROR),
    ("image_mirror", "reg.example.com//a", {}, MIRROR),
    ("image_mirror", "reg.example.com/a b", {}, MIRROR),
    ("image_mirror", "reg.example.com:٣", {}, MIRROR),
    ("image_mirror", "reg.example.com:70000/a", {}, PORT),
    ("image_mirror", "mirror/clair", {}, NO_REGISTRY),
    ("indexer_replicas", 0, {}, REPLICAS),
    ("matcher_replicas", 17, {}, REPLICAS),
    ("notifier_replicas", -1, {}, REPLICAS),
    (
        "notifier_target",
        "",
        {"notifier_delivery": "webhook"},
        "is empty, and notifier_delivery 'webhook' needs a target: write it like https://hooks.example.com/clair.",
    ),
    (
        "notifier_target",
        "",
        {"notifier_delivery": "amqp"},
        "is empty, and notifier_delivery 'amqp' needs a target: write it like amqp://broker.example.com:5672/vhost.",
    ),
    ("notifier_target", "https://user:secret@hooks.example.com/", {"notifier_delivery": "webhook"}, IN_TARGET),
    ("notifier_target", "https://hooks.example.com/?key=secret", {"notifier_delivery": "webhook"}, IN_TARGET),
    ("notifier_target", "https://hooks.example.com/#secret", {"notifier_delivery": "webhook"}, IN_TARGET),
    ("notifier_target", "https://user:sec/ret@hooks.example.com/", {"notifier_delivery": "webhook"}, IN_TARGET),
    ("notifier_target", "amqp://broker.example.com", {"notifier_delivery": "webhook"}, WEBHOOK),
    ("notifier_target", "hooks.example.com", {"notifier_delivery": "webhook"}, WEBHOOK),
    ("notifier_target", "https://", {"notifier_delivery": "webhook"}, WEBHOOK),
    ("notifier_target", "https://[::1", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    ("notifier_target", "https://hooks.example.com:0/", {"notifier_delivery": "webhook"}, PORT),
    ("notifier_target", "https://hooks.example.com:/", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    ("notifier_target", "https://hooks.example.com:99999/", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    ("notifier_target", "https://hooks.example.com/\nmore: yaml", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    ("notifier_target", " https://hooks.example.com/", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    ("notifier_target", "https://hooks.example.com/{{ name }}", {"notifier_delivery": "webhook"}, NO_WEBHOOK),
    (
        "notifier_target",
        "http://broker.example.com",
        {"notifier_delivery": "stomp"},
        "is no stomp URL: write it like stomp://broker.example.com:61613.",
    ),
    (
        "notifier_target",
        "stomp://broker.example.com",
        {"notifier_delivery": "stomp"},
        "is no URL: write it like stomp://broker.example.com:61613.",
    ),
    (
        "notifier_target",
        "stomp://broker.example.com:61613/queue",
        {"notifier_delivery": "stomp"},
        "is no URL: write it like stomp://broker.example.com:61613.",
    ),
    ("database_host", "", {}, "is empty: give the host of the external PostgreSQL, such as db.example.com."),
    ("database_host", "db.example.com:5432", {}, HOST),
    ("database_host", "db user=postgres", {}, HOST),
    ("database_host", "::1%eth0 user=postgres", {}, HOST),
    ("database_host", "300.1.1.1", {}, HOST),
    ("database_port", 0, {}, PORT),
    ("database_port", 65536, {}, PORT),
    (
        "updater_families",
        ["osv"],
        {"clair_version": "4.6.1"},
        "has no feed in Clair 4.6.1: choose another family as well, or a newer clair_version.",
    ),
    ("updater_families", [], {}, "is empty, and without a feed no image can be judged: choose at least one family."),
    ("update_retention", 1, {}, RETENTION),
    ("update_retention", 101, {}, RETENTION),
    ("backup_keep", 0, {}, BACKUPS),
    ("backup_keep", 1001, {}, BACKUPS),
    ("edge_hostname", "", {}, "is empty: give the name clients use, such as clair.example.com."),
    ("edge_hostname", "https://clair.example.com", {}, HOST),
    ("edge_hostname", "192.0.2.1", {}, HOST),
    ("edge_hostname", "clair_1.example.com", {}, HOST),
    ("edge_hostname", "a" * 64, {}, HOST),
    (
        "edge_acme_email",
        "",
        {},
        "is empty: give an address for the certificate authority's notices, such as ops@example.com.",
    ),
    ("edge_acme_email", "ops", {}, EMAIL),
    ("edge_acme_email", "ops@example.com\n", {}, EMAIL),
    (
        "edge_acme_server",
        "http://ca.example.com/directory",
        {},
        "is no https URL: write it like https://acme-v02.api.letsencrypt.org/directory.",
    ),
    (
        "edge_acme_server",
        "https://user@ca.example.com/directory",
        {},
        "carries a user or a query, and answers are kept in git: write it like https://acme-v02.api.letsencrypt.org/directory.",
    ),
    ("edge_address", "", {}, ADDRESS),
    ("edge_address", "localhost", {}, ADDRESS),
    ("edge_address", "[::1]", {}, ADDRESS),
    ("edge_address", "224.0.0.1", {}, NO_LISTENER),
    ("edge_address", "fe80::1%eth0", {}, NO_LISTENER),
    (
        "edge_address",
        "127.0.0.1",
        {"edge_tls": "acme"},
        "cannot go with edge_tls 'acme', whose authority connects from outside: choose 0.0.0.0 or a public address.",
    ),
    ("edge_port", 0, {}, PORT),
    ("edge_port", 65536, {"edge_tls": "acme"}, PORT),
    (
        "edge_port",
        8443,
        {"edge_tls": "acme"},
        "cannot go with edge_tls 'acme', which is validated on port 443 only: set edge_port to 443.",
    ),
    ("operations_port", 70000, {}, PORT),
    ("operations_port", 6060, {"edge_port": 6060}, "is edge_port as well: choose another port for one of them."),
    ("auth_issuers", ["a b"], {}, "holds 'a b', which is no issuer: use letters, digits, dot, - and _."),
    (
        "auth_issuers",
        ["ok", "x" * 65],
        {},
        f"holds '{'x' * 65}', which is no issuer: use letters, digits, dot, - and _.",
    ),
    ("proxy_url", "http://user:secret@proxy.example.com", {}, IN_PROXY),
    ("proxy_url", "user:secret@proxy.example.com:3128", {}, IN_PROXY),
    (
        "proxy_url",
        "socks5://proxy.example.com",
        {},
        "is no http or https URL: write it like http://proxy.example.com:3128.",
    ),
    ("proxy_url", "http://proxy.example.com:\t3128", {}, NO_PROXY),
    ("proxy_url", "http://[2001:db8::1];:3128", {}, NO_PROXY),
    ("proxy_exceptions", ["10.0.0.0/33"], {}, f"holds '10.0.0.0/33', {EXCEPTION}"),
    ("proxy_exceptions", ["*.example.com"], {}, f"holds '*.example.com', {EXCEPTION}"),
    ("proxy_exceptions", ["::1%a\nb"], {}, rf"holds '::1%a\nb', {EXCEPTION}"),
    (
        "tracing_endpoint",
        "http://collector.example.com",
        {"clair_version": "4.8.0"},
        "does nothing with Clair 4.8.0: choose clair_version 4.9.0 or newer, or leave it empty.",
    ),
    (
        "tracing_endpoint",
        "grpc://collector.example.com",
        {},
        "is no http or https URL: write it like http://collector.example.com:4318.",
    ),
    ("tracing_endpoint", "http://collector.example.com:", {}, NO_COLLECTOR),
]


def case_id(case: tuple[Any, ...]) -> str:
    """Return `question=value`, with the other answers that make the case."""
    question, value, others = case[:3]
    text = "".join(char if char.isascii() and char.isprintable() else "?" for char in str(value))
    return ",".join([f"{question}={text[:40]}", *(f"{name}={other}" for name, other in others.items())])


@pytest.mark.parametrize("case", ACCEPTED, ids=case_id)
def test_rule_accepts(catalogue: Catalogue, case: tuple[str, Any, dict[str, Any]]) -> None:
    question, value, others = case

    reason = RULES[question](value, complete(catalogue, others), catalogue)

    assert reason is None


@pytest.mark.parametrize("case", REFUSED, ids=case_id)
def test_rule_refuses_with_the_way_out(catalogue: Catalogue, case: tuple[str, Any, dict[str, Any], str]) -> None:
    question, value, others, sentence = case

    reason = RULES[question](value, complete(catalogue, others), catalogue)

    assert reason == sentence


@pytest.mark.parametrize("cases", [ACCEPTED, REFUSED], ids=["accepted", "refused"])
def test_every_rule_has_a_case(cases: list[tuple[Any, ...]]) -> None:
    assert {case[0] for case in cases} == set(RULES)


def test_every_catalogued_release_is_accepted_with_and_without_v(catalogue: Catalogue) -> None:
    refused = [
        version
        for release in catalogue.releases
        for version in (release, f"v{release}")
        if RULES["clair_version"](version, {}, catalogue)
    ]

    assert refused == []


def test_newest_means_the_newest_release(catalogue: Catalogue) -> None:
    assert release_of("newest", catalogue) == catalogue.releases[-1]
