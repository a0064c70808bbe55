"""Rules: one function per question, named like it, that returns what is wrong with a value, or None.

A reason is the end of a sentence whose beginning is the question and the value: `is not supported: choose off, files or acme.`
A rule between two answers belongs to the question that is asked later, so that a terminal asks that one again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .catalogue import Catalogue

__all__ = ["RULES", "Rule", "release_of"]

Answers = Mapping[str, Any]
Rule = Callable[[Any, Answers, "Catalogue"], "str | None"]

NAME_LENGTH = 40  # leaves room for the longest suffix below the 63 characters of a DNS label
REPLICAS = range(1, 17)
PORTS = range(1, 65536)
RETENTION = range(2, 101)  # claircore keeps an update operation to compare the next one with
BACKUPS = range(1, 1001)
ACME_PORT = 443  # TLS-ALPN-01 is validated on port 443 (RFC 8737)

HOST_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"(?=.{{1,253}}$){HOST_LABEL}(\.{HOST_LABEL})*")
MIRROR = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:(?P<port>[0-9]{1,5}))?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/?")
EMAIL = re.compile(rf"[A-Za-z0-9._+-]{{1,64}}@{HOST_LABEL}(\.{HOST_LABEL})+")
ISSUER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TEXT = re.compile(r"[!-~]*")  # ASCII without spaces and control characters
NETLOC = re.compile(r"(\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(:[0-9]+)?")
URL_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")

TARGET_SCHEMES = {"webhook": ("http", "https"), "amqp": ("amqp", "amqps"), "stomp": ("stomp",)}
TARGET_EXAMPLES = {
    "webhook": "https://hooks.example.com/clair",
    "amqp": "amqp://broker.example.com:5672/vhost",
    "stomp": "stomp://broker.example.com:61613",
}


def release_of(clair_version: Any, catalogue: Catalogue) -> str:
    """Return the release that an answer to clair_version means: without a leading v, `newest` resolved."""
    return catalogue.newest if clair_version == "newest" else str(clair_version).removeprefix("v")


def deployment_name(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Compose's rule for project names, and short enough for every name made from it."""
    if len(value) > NAME_LENGTH:
        return f"is too long: use at most {NAME_LENGTH} characters."
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value):
        return "is no Compose project name: use lower-case letters, digits, - and _, and begin with a letter or digit."
    return None


def clair_version(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """A final release of the catalogue, or newest."""
    version = release_of(value, catalogue)
    if version in catalogue.clair["releases"]:
        return None
    way_out = f"choose newest or a release from {catalogue.releases[0]} to {catalogue.newest}"
    if not version:
        return f"is empty: {way_out}."
    if re.fullmatch(r"\d+\.\d+", version):
        minor = [known for known in catalogue.releases if known.startswith(version + ".")]
        names = f" (there is {', '.join(minor)})" if minor else ""
        return f"is no full release number{names}: {way_out}, and quote a value like '4.10', which YAML reads as 4.1."
    reason = catalogue.refusal_reason(version)
    if reason is None:
        return f"is not known to this version of the template: {way_out}, or run copier update if it is newer."
    return f"is not supported, {reason}: {way_out}."


def architecture(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """The release and every component need an image for it."""
    release = release_of(answers["clair_version"], catalogue)
    platforms = catalogue.release(release)["platforms"]
    if value not in platforms:
        return f"has no image of Clair {release}: choose {', '.join(platforms)}{_other_release(value, catalogue)}."
    for name, component in catalogue.components.items():
        if value not in component["platforms"]:
            return f"has no image of {name}: choose {', '.join(component['platforms'])}."
    return None


def _other_release(architecture: str, catalogue: Catalogue) -> str:
    """Return which releases have an image for this architecture, as the end of a way out; empty if none has."""
    having = [known for known in catalogue.releases if architecture in catalogue.release(known)["platforms"]]
    if not having:
        return ""
    if having[-1] == catalogue.newest:
        return f" or clair_version {having[0]} or newer"
    return f" or clair_version {having[0]}" + (f" to {having[-1]}" if len(having) > 1 else "")


def image_mirror(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Empty, or a registry host with an optional port and path, in Docker's own form."""
    if not value:
        return None
    if "@" in value or "?" in value:
        return "carries a user or a query: give only host and path, and log in with docker login."
    if "://" in value:
        return "has a scheme: write it like reg.example.com/mirror."
    match = MIRROR.fullmatch(value)
    if not match:
        return "is no registry path: write it like reg.example.com/mirror."
    if match["port"] and int(match["port"]) not in PORTS:
        return _port_reason()
    host = value.split("/", maxsplit=1)[0]
    if "." not in host and ":" not in host and host != "localhost":
        return "names no registry host (Docker would take it for a folder of Docker Hub): write it like reg.example.com/mirror."
    return None


def edge_hostname(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """The name in the certificate."""
    if not value:
        return "is empty: give the name clients use, such as clair.example.com."
    return _hostname_reason(value)


def edge_acme_email(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """The account of the certificate authority."""
    if not value:
        return "is empty: give an address for the certificate authority's notices, such as ops@example.com."
    if not EMAIL.fullmatch(value):
        return "is no e-mail address: write it like ops@example.com."
    return None


def edge_acme_server(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """The directory of the certificate authority."""
    return _url_reason(value, ("https",), "https://acme-v02.api.letsencrypt.org/directory")


def edge_address(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """An address of this host, or all of them."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return "is no IP address: write it like 127.0.0.1, 0.0.0.0 or ::1, without brackets."
    if address.is_multicast or "%" in value:
        return "is no address a service can listen on: write it like 127.0.0.1, 0.0.0.0 or ::1."
    if answers["edge_tls"] == "acme" and address.is_loopback:
        return (
            "cannot go with edge_tls 'acme', whose authority connects from outside: choose 0.0.0.0 or a public address."
        )
    return None


def edge_port(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """The port of the edge."""
    if value not in PORTS:
        return _port_reason()
    if answers["edge_tls"] == "acme" and value != ACME_PORT:
        return f"cannot go with edge_tls 'acme', which is validated on port {ACME_PORT} only: set edge_port to {ACME_PORT}."
    return None


def operations_port(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """The port of the operations entry point, on loopback."""
    if value not in PORTS:
        return _port_reason()
    if value == answers["edge_port"]:
        return "is edge_port as well: choose another port for one of them."
    return None


def database_host(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Where the external PostgreSQL answers."""
    if not value:
        return "is empty: give the host of the external PostgreSQL, such as db.example.com."
    return None if _is_address(value) else _hostname_reason(value)


def database_port(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """PostgreSQL's port."""
    return None if value in PORTS else _port_reason()


def replicas(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """How many containers of one service."""
    return None if value in REPLICAS else f"is out of range: choose {REPLICAS[0]} to {REPLICAS[-1]}."


def updater_families(value: list[str], answers: Answers, catalogue: Catalogue) -> str | None:
    """At least one feed, in this release."""
    if not value:
        return "is empty, and without a feed no image can be judged: choose at least one family."
    release = release_of(answers["clair_version"], catalogue)
    if not any(catalogue.family(name, release)["sets"] for name in value):
        return f"has no feed in Clair {release}: choose another family as well, or a newer clair_version."
    return None


def update_retention(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """Update operations that the matcher keeps per updater."""
    return None if value in RETENTION else f"is out of range: choose {RETENTION[0]} to {RETENTION[-1]}."


def backup_keep(value: int, answers: Answers, catalogue: Catalogue) -> str | None:
    """Backups that stay after a new one."""
    return None if value in BACKUPS else f"is out of range: choose {BACKUPS[0]} to {BACKUPS[-1]}."


def notifier_target(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Where webhook, amqp or stomp deliver to."""
    delivery = answers["notifier_delivery"]
    example = TARGET_EXAMPLES[delivery]
    if not value:
        return f"is empty, and notifier_delivery '{delivery}' needs a target: write it like {example}."
    reason = _url_reason(value, TARGET_SCHEMES[delivery], example, "secrets/notifier-target")
    if not reason and delivery == "stomp" and not re.fullmatch(r"stomp://[^/]+:[0-9]+/?", value):
        return f"is no URL: write it like {example}."  # Clair takes host and port, nothing more
    return reason


def auth_issuers(value: list[str], answers: Answers, catalogue: Catalogue) -> str | None:
    """Issuers of the tokens that clients sign."""
    for issuer in value:
        if not ISSUER.fullmatch(issuer):
            return f"holds '{_plain(issuer)}', which is no issuer: use letters, digits, dot, - and _."
    return None


def proxy_url(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Empty, or the proxy for what goes out."""
    return (
        _url_reason(value, ("http", "https"), "http://proxy.example.com:3128", "secrets/proxy-url") if value else None
    )


def proxy_exceptions(value: list[str], answers: Answers, catalogue: Catalogue) -> str | None:
    """Hosts, domains, addresses and networks that are reached without the proxy."""
    for item in value:
        if HOSTNAME.fullmatch(item.removeprefix(".")):
            continue
        if not _is_network(item):
            return f"holds '{_plain(item)}', which is no host, domain, address or network: write [registry.example.com, 10.0.0.0/8]."
    return None


def tracing_endpoint(value: str, answers: Answers, catalogue: Catalogue) -> str | None:
    """Empty, or the OTLP collector."""
    if not value:
        return None
    release = release_of(answers["clair_version"], catalogue)
    if not catalogue.release(release)["tracing"]:
        since = next(known for known in catalogue.releases if catalogue.release(known)["tracing"])
        return f"does nothing with Clair {release}: choose clair_version {since} or newer, or leave it empty."
    return _url_reason(value, ("http", "https"), "http://collector.example.com:4318")


def _url_reason(value: str, schemes: tuple[str, ...], example: str, secret_file: str = "") -> str | None:
    """Return what is wrong with a URL of one of `schemes`; a user part or a query names the file it belongs into."""
    form = f"write it like {example}."
    if "@" in value or "?" in value or "#" in value:
        if secret_file:
            return f"carries a user or a query, and answers are kept in git: leave them out here and put the full URL into {secret_file}."
        return f"carries a user or a query, and answers are kept in git: {form}"
    if not TEXT.fullmatch(value):  # urlsplit drops newlines and tabs without a word
        return f"is no URL: {form}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return f"is no URL: {form}"
    if parts.scheme not in schemes or not parts.hostname:
        return f"is no {' or '.join(schemes)} URL: {form}"
    if port is not None and port not in PORTS:
        return _port_reason()
    place = NETLOC.fullmatch(parts.netloc)
    if not place or not (_is_address(place["v6"]) if place["v6"] else HOSTNAME.fullmatch(place["host"])):
        return f"is no URL: {form}"
    if not URL_PATH.fullmatch(parts.path):
        return f"is no URL: {form}"
    return None


def _is_address(value: str) -> bool:
    """Return whether `value` is an IP address without a zone, which may hold any character."""
    try:
        return bool(ipaddress.ip_address(value)) and "%" not in value
    except ValueError:
        return False


def _is_network(value: str) -> bool:
    try:
        return bool(ipaddress.ip_network(value, strict=False)) and "%" not in value
    except ValueError:
        return False


def _hostname_reason(value: str) -> str | None:
    if not HOSTNAME.fullmatch(value) or value.replace(".", "").isdigit():
        return "is no host name: write it like clair.example.com, without scheme, port or path."
    return None


def _port_reason() -> str:
    return f"is no port: choose {PORTS[0]} to {PORTS[-1]}."


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)[:80]


RULES: Mapping[str, Rule] = {
    "deployment_name": deployment_name,
    "clair_version": clair_version,
    "architecture": architecture,
    "image_mirror": image_mirror,
    "edge_hostname": edge_hostname,
    "edge_acme_email": edge_acme_email,
    "edge_acme_server": edge_acme_server,
    "edge_address": edge_address,
    "edge_port": edge_port,
    "operations_port": operations_port,
    "database_host": database_host,
    "database_port": database_port,
    "indexer_replicas": replicas,
    "matcher_replicas": replicas,
    "notifier_replicas": replicas,
    "updater_families": updater_families,
    "update_retention": update_retention,
    "notifier_target": notifier_target,
    "auth_issuers": auth_issuers,
    "proxy_url": proxy_url,
    "proxy_exceptions": proxy_exceptions,
    "backup_keep": backup_keep,
    "tracing_endpoint": tracing_endpoint,
}
