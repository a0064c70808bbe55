"""The way to Clair: the edge's address, how it is trusted, and the token of each request.

Reads `secrets/psk`, and `secrets/tls.crt` and `config/ca/` where the edge speaks TLS; writes nothing. An edge made from
a deployment always has an address on this machine; `Edge` itself needs a URL and a key only, so that a pipeline
elsewhere can have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..network.choose_proxy import ProxySettings
from ..network.open_connection import Deadline, Trust, pem_files
from ..network.web import Answer, Client
from ..settings import Deployment
from . import bearer

# An edge that listens on every address is reached by loopback.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


@dataclass(frozen=True)
class Edge:
    """Where requests go (`url`, without a slash at its end), under whose key, over which connections.

    `connect_to` is an address to use in place of the URL's host.
    """

    url: str
    key: bytes = field(repr=False)
    issuer: str
    client: Client = field(repr=False)
    connect_to: Optional[tuple[str, int]] = None

    def request(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        signed: bool = True,
    ) -> Answer:
        """Send one request, with a fresh token unless not `signed`. Raises NoAnswer."""
        sent = {"Accept": "application/json", **(headers or {})}
        if signed:
            sent["Authorization"] = f"Bearer {bearer.token(self.key, self.issuer)}"
        return self.client.request(
            method, self.url + path, deadline, headers=sent, body=body, connect_to=self.connect_to
        )


def edge_url(deployment: Deployment) -> str:
    """Return the edge's URL as a client on this machine uses it, without a slash at its end."""
    settings = deployment.facts["edge"]
    port = int(settings["port"])
    if settings["tls"] == "off":
        address = _address(deployment)
        return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    return f"https://{settings['hostname']}" + ("" if port == 443 else f":{port}")


def deployment_edge(deployment: Deployment) -> Edge:
    """Return the edge of a deployment on this machine. Raises Problem (2) if the key is missing or unreadable."""
    settings = deployment.facts["edge"]
    certificate = deployment.secrets / "tls.crt"
    own = (certificate,) if settings["tls"] == "files" and certificate.is_file() else ()
    trust = Trust(pem_files(deployment.root / "config" / "ca"), own)
    key = bearer.decode_key(deployment.secret("psk"))
    # Never through a proxy: the edge is on this machine.
    client = Client(trust, ProxySettings())
    issuer = str(deployment.facts["auth"]["client_issuer"])
    return Edge(edge_url(deployment), key, issuer, client, (_address(deployment), int(settings["port"])))


def operations_edge(deployment: Deployment) -> Edge:
    """Return the entry point for operators, on this machine's loopback: it passes Clair's whole API, DELETE too."""
    settings = deployment.facts["edge"]
    url = f"http://{settings.get('operations_address', '127.0.0.1')}:{int(settings['operations_port'])}"
    key = bearer.decode_key(deployment.secret("psk"))
    return Edge(url, key, str(deployment.facts["auth"]["client_issuer"]), Client(Trust(), ProxySettings()))


def _address(deployment: Deployment) -> str:
    address = str(deployment.facts["edge"]["address"])
    return LOOPBACK.get(address, address).strip("[]")
