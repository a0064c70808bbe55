"""Read manifests from a registry the way go-containerregistry does for clairctl: references, plain HTTP hosts, credentials, errors."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from . import http_client
from .releases import Release

_ACCEPT = ",".join(
    (
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_REPOSITORY = re.compile(r"[a-z0-9_\-./]{2,255}")
_TAG = re.compile(r"[A-Za-z0-9_\-.]{1,128}")
_DIGEST = re.compile(r"[a-z0-9+._-]+:[0-9a-f]{32,}")


class RegistryProblem(Exception):
    """The registry did not give what was asked for; the text is go-containerregistry's."""


@dataclass(frozen=True)
class Reference:
    """A parsed image reference."""

    text: str
    registry: str
    repository: str
    identifier: str

    @property
    def scheme(self) -> str:
        """Plain HTTP for this machine, private addresses and `.local` names, else HTTPS."""
        host = self.registry.rpartition(":")[0] if re.search(r":\d+$", self.registry) else self.registry
        if host == "localhost" or host.endswith((".local", ".localhost")) or "localhost:" in self.registry:
            return "http"
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return "https"
        return "http" if address.is_loopback or (address.version == 4 and address.is_private) else "https"

    @property
    def base(self) -> str:
        """The registry's URL."""
        return f"{self.scheme}://{self.registry}"


def parse_reference(text: str) -> Reference:
    """Split a reference; no registry means Docker Hub, no tag means latest.

    Raises:
        RegistryProblem: it is no reference.
    """
    rest, at, digest = text.partition("@")
    identifier = digest
    if not at:
        head, colon, tag = rest.rpartition(":")
        if colon and "/" not in tag:
            rest, identifier = head, tag
        else:
            identifier = "latest"
    else:
        head, colon, tag = rest.rpartition(":")
        if colon and "/" not in tag:
            rest = head
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, remainder
    else:
        registry, repository = "index.docker.io", rest
    if registry in ("docker.io", "registry-1.docker.io"):
        registry = "index.docker.io"
    if registry == "index.docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    good_identifier = _DIGEST.fullmatch(identifier) if at else _TAG.fullmatch(identifier)
    if not _REPOSITORY.fullmatch(repository) or not good_identifier:
        raise RegistryProblem(f"could not parse reference: {text}")
    return Reference(text, registry, repository, identifier)


class RegistryClient:
    """One repository of one registry."""

    def __init__(self, reference: Reference, release: Release) -> None:
        self.reference = reference
        self._agent = f"clairctl/{release.version} go-containerregistry/v0"
        self._authorization = ""
        self._log_in()

    def manifest(self, identifier: str) -> tuple[dict[str, Any], str, str]:
        """Return a manifest, its digest and its media type.

        Raises:
            RegistryProblem: there is none.
        """
        url = f"{self.reference.base}/v2/{self.reference.repository}/manifests/{identifier}"
        with self._get(url, {"Accept": _ACCEPT}) as response:
            body = response.read()
            if response.status != 200:
                raise RegistryProblem(f"GET {url}: {_error_words(response.status, response.reason, body)}")
            media_type = response.headers.get("Content-Type", "")
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if ":" in identifier and identifier.startswith("sha256:") and identifier != digest:
            raise RegistryProblem(
                f'manifest digest: "{digest}" does not match requested digest: "{identifier}" for "{url}"'
            )
        document = json.loads(body)
        return document, digest, document.get("mediaType") or media_type

    def image(self) -> tuple[dict[str, Any], str]:
        """Return the image's manifest and digest; from an index it is always the one for linux/amd64.

        Raises:
            RegistryProblem: there is none.
        """
        document, digest, media_type = self.manifest(self.reference.identifier)
        if media_type not in _INDEXES and "manifests" not in document:
            return document, digest
        for child in document.get("manifests", []):
            platform = child.get("platform") or {}
            if platform.get("os", "linux") == "linux" and platform.get("architecture", "amd64") == "amd64":
                return self.manifest(child["digest"])[:2]
        raise RegistryProblem(f"no child with platform linux/amd64 in index {self.reference.text}")

    def layers(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """Return Clair's layers: where each blob finally is, with the headers to fetch it."""
        layers = []
        for layer in document.get("layers", []):
            url = f"{self.reference.base}/v2/{self.reference.repository}/blobs/{layer['digest']}"
            with self._get(url, {"Range": "bytes=0-0"}) as response:
                final = response.url
            headers = {"Authorization": [self._authorization]} if self._authorization and final == url else {}
            layers.append({"hash": layer["digest"], "uri": final, "headers": headers})
        return layers

    def _get(self, url: str, headers: dict[str, str]) -> http_client.Response:
        sent = {"User-Agent": self._agent, **headers}
        if self._authorization:
            sent["Authorization"] = self._authorization
        try:
            return http_client.request("GET", url, sent)
        except http_client.RequestFailed as error:
            words = str(error)
            if url.endswith("/v2/") and self.reference.scheme == "http":  # HTTPS is tried first, and fails likewise
                words = f"{words.replace('http://', 'https://', 1)}; {words}"
            raise RegistryProblem(words) from error

    def _log_in(self) -> None:
        with self._get(f"{self.reference.base}/v2/", {}) as response:
            status = response.status
            challenge = response.headers.get("WWW-Authenticate", "")
            body = response.read()
        if status == 200:
            return
        if status != 401 or not challenge:
            words = _error_words(status, "", body)
            raise RegistryProblem(f"GET {self.reference.base}/v2/: {words}")
        user, password = _credentials(self.reference.registry)
        if challenge.lower().startswith("basic"):
            if user:
                self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            return
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urlencode(
            {"scope": f"repository:{self.reference.repository}:pull", "service": parameters.get("service", "")}
        )
        headers = {}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        url = f"{parameters.get('realm', '')}?{query}"
        try:
            with http_client.request("GET", url, headers) as response:
                answer = response.read()
                if response.status != 200:
                    raise RegistryProblem(f"GET {url}: {_error_words(response.status, response.reason, answer)}")
        except http_client.RequestFailed as error:
            raise RegistryProblem(str(error)) from error
        document = json.loads(answer)
        self._authorization = f"Bearer {document.get('token') or document.get('access_token')}"


def _credentials(registry: str) -> tuple[str, str]:
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as handle:
            config = json.load(handle)
    except (OSError, ValueError):
        return "", ""
    key = "https://index.docker.io/v1/" if registry == "index.docker.io" else registry
    helper = (config.get("credHelpers") or {}).get(registry) or config.get("credsStore")
    if helper:
        try:
            done = subprocess.run([f"docker-credential-{helper}", "get"], input=key, capture_output=True, text=True,
                                  check=True)  # fmt: skip
            answer = json.loads(done.stdout)
            return answer.get("Username", ""), answer.get("Secret", "")
        except (OSError, subprocess.CalledProcessError, ValueError):
            return "", ""
    for name in (key, f"https://{registry}", f"http://{registry}"):
        entry = (config.get("auths") or {}).get(name)
        if entry:
            if entry.get("auth"):
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return user, password
            return entry.get("username", ""), entry.get("password", "")
    return "", ""


def _error_words(status: int, reason: str, body: bytes) -> str:
    try:
        errors = json.loads(body).get("errors") or []
    except (ValueError, AttributeError):
        errors = []
    texts = []
    for entry in errors:
        text = f"{entry.get('code', '')}: {entry.get('message', '')}"
        if entry.get("detail") is not None:
            text += f"; {_go_value(entry['detail'])}"
        texts.append(text)
    if len(texts) == 1:
        return texts[0]
    if texts:
        return "multiple errors returned: " + "; ".join(texts)
    return f"unexpected status code {status} {reason}".rstrip() + (
        f": {body.decode('utf-8', 'replace')}" if body else ""
    )


def _go_value(value: Any) -> str:
    """Write a JSON value the way Go's %v does."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
