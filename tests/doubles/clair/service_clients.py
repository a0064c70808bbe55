"""How the services talk to each other (httptransport/client): signed by host, JSON bodies, plain Go requests."""

from __future__ import annotations

import json
import posixpath
from typing import Any
from urllib.parse import quote, urlsplit

from . import http_client, tokens
from .config_loading import Config
from .releases import Release


class ServiceProblem(Exception):
    """Another service did not answer as it should; the text is Clair's."""


class Signer:
    """Signs requests to the hosts that the configuration names (4.6.0 and newer), or to all (before)."""

    def __init__(self, config: Config, release: Release, issuer: str) -> None:
        psk = config.get("auth.psk")
        self._key: bytes | None = psk["key"] if psk else None
        self._issuer = issuer
        self._all = not release.since("4.6.0")
        addresses = (
            config.get("notifier.webhook.target"), config.get("notifier.indexer_addr"),
            config.get("notifier.matcher_addr"), config.get("matcher.indexer_addr"),
        )  # fmt: skip
        self._hosts = {urlsplit(address).netloc for address in addresses if address}

    def add(self, address: str) -> None:
        """Sign for this address as well."""
        self._hosts.add(urlsplit(address).netloc)

    def headers(self, url: str) -> dict[str, str]:
        """Return the Authorization header for a request, or nothing."""
        if self._key is None or not (self._all or urlsplit(url).netloc in self._hosts):
            return {}
        return {"Authorization": "Bearer " + tokens.sign(self._key, self._issuer)}


class _Client:
    def __init__(self, address: str, signer: Signer, release: Release) -> None:
        self._address = address
        self._signer = signer
        self._agent = f"clair/{release.version}"

    def _url(self, path: str) -> str:
        parts = urlsplit(self._address)
        if not parts.netloc:  # `indexer:6060` is taken for a scheme, and fails here, not at start
            return f"{parts.scheme}:{path}" if parts.scheme else path
        base = parts.path if path.startswith("/") else ""
        return f"{parts.scheme}://{parts.netloc}{posixpath.join(base.rstrip('/') or '/', path.lstrip('/'))}"

    def _request(self, method: str, path: str, query: str = "", body: Any = None) -> http_client.Response:
        url = self._url(path) + (f"?{query}" if query else "")
        headers = {"User-Agent": self._agent, "Accept-Encoding": "gzip", **self._signer.headers(url)}
        pieces = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            pieces = iter([json.dumps(body, separators=(",", ":")).encode()])
        return http_client.request(method, url, headers, pieces)


class IndexerClient(_Client):
    """The indexer, seen from the matcher and the notifier."""

    def index_report(self, digest: str) -> dict[str, Any] | None:
        """Return a report, or None where the indexer has none.

        Raises:
            ServiceProblem: no usable answer.
        """
        try:
            with self._request("GET", f"/indexer/api/v1/index_report/{digest}") as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise ServiceProblem(f"unexpected status code: {response.status} {response.reason}".strip())
                return dict(json.loads(http_client.decoded(response)))
        except (http_client.RequestFailed, OSError, ValueError) as error:
            raise ServiceProblem(f"failed to do request: {error}") from error

    def affected_manifests(self, vulnerabilities: list[dict[str, Any]]) -> dict[str, Any]:
        """Return which manifests are affected.

        Raises:
            ServiceProblem: no usable answer.
        """
        path = "/indexer/api/v1/internal/affected_manifest/"
        try:
            with self._request("POST", path, body={"vulnerabilities": vulnerabilities}) as response:
                if response.status != 200:
                    raise ServiceProblem(f"unexpected status code: {response.status} {response.reason}".strip())
                return dict(json.loads(http_client.decoded(response)))
        except (http_client.RequestFailed, OSError, ValueError) as error:
            raise ServiceProblem(f"failed to do request: {error}") from error


class MatcherClient(_Client):
    """The matcher, seen from the notifier."""

    def update_operations(self, latest: bool) -> dict[str, list[dict[str, Any]]]:
        """Return the vulnerability operations by updater.

        Raises:
            ServiceProblem: no usable answer.
        """
        query = "kind=vulnerability" + ("&latest=true" if latest else "")
        return self._get("/matcher/api/v1/internal/update_operation", query)

    def update_diff(self, previous: str, current: str) -> dict[str, Any]:
        """Return what changed between two operations.

        Raises:
            ServiceProblem: no usable answer.
        """
        return self._get("/matcher/api/v1/internal/update_diff", f"cur={quote(current)}&prev={quote(previous)}")

    def _get(self, path: str, query: str) -> dict[str, Any]:
        try:
            with self._request("GET", path, query) as response:
                if response.status != 200:
                    raise ServiceProblem(f"unexpected status code: {response.status} {response.reason}".strip())
                return dict(json.loads(http_client.decoded(response)))
        except (http_client.RequestFailed, OSError, ValueError) as error:
            raise ServiceProblem(f"failed to do request: {error}") from error
