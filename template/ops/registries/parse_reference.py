"""Image references as Docker reads them, and platforms as images name them.

Pure: reads and writes nothing. Rules: distribution/reference `ParseNormalizedNamed` (v0.6.0) for names,
containerd/platforms `Normalize` (v1.0.0) for platforms, go-containerregistry pkg/name/registry.go (v0.20.7, what
clairctl 4.9.0 links) for where plain HTTP may be used.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Optional, Union

from ..errors import Problem
from ..host.escape_text import printable

HUB = "docker.io"
HUB_API_HOST = "registry-1.docker.io"
NAME_LIMIT = 255
# The networks go-containerregistry takes for private; IPv6 has none there.
PRIVATE_NETWORKS = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
HEX_LENGTHS = {"sha256": 64, "sha512": 128}

_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")
_PLATFORM = re.compile(r"[a-z0-9_]+/[a-z0-9_]+(?:/[a-z0-9_.]+)?")


@dataclass(frozen=True)
class Reference:
    """An image's full name: registry host (with port), repository, tag or digest (`reference`)."""

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """The name without tag and digest, such as `docker.io/library/debian`."""
        return f"{self.domain}/{self.path}"

    @property
    def reference(self) -> str:
        """What the registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    @property
    def host(self) -> str:
        """The host (and port) the registry's API is at."""
        return HUB_API_HOST if self.domain == HUB else self.domain

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Return the reference `text` means to Docker. Raises Problem (2) that says what is wrong with it."""

    def refuse(reason: str) -> Problem:
        return Problem(
            f"not an image name, {printable(text, 300)!r}: {reason}", "./clair scan docker.io/library/debian:12"
        )

    if not text or text != text.strip():
        raise refuse("it is empty" if not text.strip() else "there is space around it")
    if "://" in text:
        raise refuse("an image name has no scheme such as https://")
    if re.fullmatch(r"[a-f0-9]{64}", text):
        raise refuse("64 hexadecimal digits are the id of an image in the local Docker, which no registry knows")
    name, _, digest = text.partition("@")
    if "@" in text and not is_digest(digest):
        raise refuse("what follows @ is no sha256 or sha512 digest")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain = HUB if first == "index.docker.io" else first
    else:
        domain, rest = HUB, name
    path, colon, tag = rest.partition(":")
    if domain == HUB and "/" not in path:
        path = f"library/{path}"
    if not _DOMAIN.fullmatch(domain):
        raise refuse(f"{printable(domain)!r} is no registry host")
    if path != path.lower():
        raise refuse("the repository's name must be in lower case")
    if not _PATH.fullmatch(path):
        raise refuse(f"{printable(path)!r} is no repository name")
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise refuse(f"the name is longer than {NAME_LIMIT} characters")
    if colon and not _TAG.fullmatch(tag):
        raise refuse(f"{printable(tag)!r} is no tag")
    return Reference(domain, path, tag or ("" if digest else "latest"), digest)


def is_digest(text: str) -> bool:
    """Return True for a digest Clair accepts: sha256 or sha512 with all of its lower-case hexadecimal digits."""
    match = _DIGEST.fullmatch(text)
    return match is not None and len(match.group(2)) == HEX_LENGTHS[match.group(1)]


def host_name(host: str) -> str:
    """Return a host without its port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Return True if `host` means the machine itself to whoever connects to it."""
    name = host_name(host).lower()
    address = _ip(name)
    return (
        name == "localhost"
        or name.endswith(".localhost")
        or (address is not None and (address.is_loopback or address.is_unspecified))
    )


def allows_plain_http(host: str) -> bool:
    """Return True where clairctl, too, would speak plain HTTP: loopback, private addresses, names ending in .local."""
    address = _ip(host_name(host))
    private = isinstance(address, ipaddress.IPv4Address) and any(address in network for network in PRIVATE_NETWORKS)
    return private or is_loopback(host) or host_name(host).lower().endswith(".local")


@dataclass(frozen=True)
class Platform:
    """Operating system, architecture and, where an architecture has several, variant."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def parse_platform(text: str) -> Platform:
    """Return the platform of a text such as `linux/arm64` or `linux/arm/v7`. Raises Problem (2) if it is none."""
    if not _PLATFORM.fullmatch(text):
        raise Problem(
            f"not a platform, {printable(text)!r}: the form is linux/arm64 or linux/arm/v7",
            "./clair scan --platform linux/amd64",
        )
    os, architecture, *variant = text.split("/")
    return normalised_platform(os, architecture, variant[0] if variant else "")


def normalised_platform(os: str, architecture: str, variant: str) -> Platform:
    """Return a platform with the names that several programs spell differently made one."""
    os = {"macos": "darwin"}.get(os.lower(), os.lower())
    architecture, variant = architecture.lower(), variant.lower()
    if architecture in ("x86_64", "x86-64", "amd64"):
        return Platform(os, "amd64", "" if variant == "v1" else variant)
    if architecture in ("aarch64", "arm64"):
        return Platform(os, "arm64", "" if variant in ("8", "v8") else variant)
    if architecture in ("armhf", "armel", "arm"):
        variant = {"armhf": "v7", "armel": "v6"}.get(architecture, variant) or "v7"
        return Platform(os, "arm", variant if variant.startswith("v") else f"v{variant}")
    return Platform(os, architecture, variant)


def _ip(text: str) -> Optional[Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
