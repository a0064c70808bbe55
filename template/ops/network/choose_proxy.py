"""Which proxy a request takes: the deployment's, else the one of the environment, else none.

Reads `secrets/proxy-url` where it exists (a URL with credentials, which stands nowhere else). Environment overrides:
HTTPS_PROXY, HTTP_PROXY, NO_PROXY and their lower-case forms. Exceptions mean what they mean to Clair itself, a Go
program (golang.org/x/net/http/httpproxy): a name with its subdomains, an address, a CIDR block, `*`, each perhaps with
a port. Loopback never takes a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

from ..errors import Problem
from ..settings import Deployment

_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `login` is `user:password` or empty."""

    host: str
    port: int
    login: str = ""


@dataclass(frozen=True)
class ProxySettings:
    """The proxy of each scheme and what is exempt from both."""

    https: Optional[Proxy] = None
    http: Optional[Proxy] = None
    exceptions: tuple[str, ...] = ()


def parse_proxy(url: str, origin: str) -> Proxy:
    """Return the proxy of a URL such as `http://user:password@proxy.example:3128`.

    Raises Problem (2) that names `origin`, the place the URL came from, and never the URL, which may hold a password.
    """
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 3128
    except ValueError:
        host, port, parts = None, 0, urllib.parse.urlsplit("")
    if not host or parts.scheme != "http":
        raise Problem(
            f"proxy unusable, {origin}: not a URL of the form http://HOST:PORT", f"export {origin}=http://HOST:PORT"
        )
    login = (
        f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}" if parts.username else ""
    )
    return Proxy(host, port, login)


def environment_proxies(environment: Mapping[str, str]) -> ProxySettings:
    """Return the proxies the environment names. Raises Problem (2) if one cannot be read."""
    found: dict[str, Optional[Proxy]] = {}
    for scheme in ("https", "http"):
        name = f"{scheme.upper()}_PROXY"
        value = environment.get(name) or environment.get(name.lower()) or ""
        found[scheme] = parse_proxy(value, name) if value else None
    exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    return ProxySettings(found["https"], found["http"], _entries(exceptions))


def deployment_proxies(deployment: Deployment, environment: Mapping[str, str] = os.environ) -> ProxySettings:
    """Return the deployment's proxy for both schemes, or the environment's if the deployment has none.

    Raises Problem (2) if a proxy's URL cannot be read.
    """
    settings = deployment.facts.get("proxy") or {}
    url, origin = str(settings.get("url") or ""), "proxy_url"
    if (deployment.secrets / "proxy-url").exists():
        url, origin = deployment.secret("proxy-url").strip(), "secrets/proxy-url"
    if not url:
        return environment_proxies(environment)
    proxy = parse_proxy(url, origin)
    return ProxySettings(proxy, proxy, tuple(str(entry).strip().lower() for entry in settings.get("exceptions") or ()))


def proxy_for(scheme: str, host: str, port: int, settings: ProxySettings) -> Optional[Proxy]:
    """Return the proxy a request to `host` takes, or None for a direct connection."""
    proxy = settings.https if scheme == "https" else settings.http
    address = _address(host)
    if proxy is None or host == "localhost" or (address is not None and address.is_loopback):
        return None
    exempt = any(_matches(entry, host.lower().rstrip("."), port, address) for entry in settings.exceptions)
    return None if exempt else proxy


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip().lower() for entry in text.split(",") if entry.strip())


def _address(host: str) -> Optional[_Address]:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int, address: Optional[_Address]) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, separator, wanted_port = entry.rpartition(":")
    if separator and wanted_port.isdigit() and (":" not in name or name.startswith("[")):
        if int(wanted_port) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    entry = entry[1:] if entry.startswith("*.") else entry
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith("." + entry)
