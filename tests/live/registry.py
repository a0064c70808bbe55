"""A registry in a container, for tests that push the images they scan: plain HTTP on a private address.

It publishes no port: this machine reaches it on Docker's default bridge, a deployment on the deployment's own network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import re
import secrets
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.doubles.images.build import REGISTRY_IMAGE
from tests.live.support import Deployment, Engine, Images

__all__ = ["REGISTRY_PASSWORD", "REGISTRY_USER", "Layer", "Registry", "start_registry"]

REGISTRY_PORT = 5000
START_SECONDS = 20.0

REGISTRY_USER = "clairtest"
REGISTRY_PASSWORD = "only-for-tests"
# bcrypt of REGISTRY_PASSWORD with the lowest cost: the registry reads nothing else, and Python cannot make one.
_HTPASSWD = f"{REGISTRY_USER}:$2b$04$abcdefghijklmnopqrstuuSOASZ5gFdIXxQU/MI4albXfVKBHc6R2\n"
_BASIC = base64.b64encode(f"{REGISTRY_USER}:{REGISTRY_PASSWORD}".encode()).decode()

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_NETWORKS = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"

# One layer of an image: path without a leading slash, and content.
Layer = Mapping[str, bytes]


@dataclass(frozen=True)
class Registry:
    """A running registry; `folder` is its own on this machine."""

    container: str
    engine: Engine
    folder: Path
    password_needed: bool

    @property
    def host_address(self) -> str:
        """`address:port` by which this machine reaches the registry: plain HTTP, a private address."""
        return f"{self._address_in('bridge')}:{REGISTRY_PORT}"

    def join(self, deployment: Deployment) -> str:
        """Connect the registry to the indexer's networks; return the `address:port` to use in names of images.

        Both the indexer and this machine reach it by that address. The deployment must have been started.
        """
        wanted = self._networks(deployment.container("indexer"))
        for network in set(wanted) - set(self._networks(self.container)):
            self.engine.docker("network", "connect", network, self.container)
        return f"{self._address_in(wanted[0])}:{REGISTRY_PORT}"

    def push(self, repository: str, layers: Sequence[Layer], tag: str = "latest", architecture: str = "amd64") -> str:
        """Push an image of `layers` for linux/`architecture`; return the digest of its manifest."""
        digest, content = self._push_manifest(repository, layers, architecture)
        self._request("PUT", f"/v2/{repository}/manifests/{tag}", content, _MANIFEST, expected=201)
        return digest

    def push_index(
        self, repository: str, platforms: Mapping[str, Sequence[Layer]], tag: str = "latest"
    ) -> dict[str, str]:
        """Push one image per architecture and their index; return the digests by architecture, and of `index`."""
        digests, descriptors = {}, []
        for architecture, layers in platforms.items():
            digest, content = self._push_manifest(repository, layers, architecture)
            self._request("PUT", f"/v2/{repository}/manifests/{digest}", content, _MANIFEST, expected=201)
            digests[architecture] = digest
            platform = {"os": "linux", "architecture": architecture}
            descriptors.append({"mediaType": _MANIFEST, "digest": digest, "size": len(content), "platform": platform})
        index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": descriptors})
        self._request("PUT", f"/v2/{repository}/manifests/{tag}", index, _INDEX, expected=201)
        return {**digests, "index": _digest(index)}

    def docker_config(self, address: str) -> Path:
        """Return a folder for DOCKER_CONFIG that holds the password for `address`, as `docker login` would leave it."""
        folder = self.folder / "docker-config"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": _BASIC}}}))
        return folder

    def stop(self) -> None:
        """Remove the container and what it stored."""
        self.engine.docker("rm", "--force", "--volumes", self.container, check=False)

    def _networks(self, container: str) -> list[str]:
        return self.engine.docker("inspect", "--format", _NETWORKS, container).stdout.split()

    def _address_in(self, network: str) -> str:
        template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
        return self.engine.docker("inspect", "--format", template, self.container).stdout.strip()

    def _push_manifest(self, repository: str, layers: Sequence[Layer], architecture: str) -> tuple[str, bytes]:
        """Upload the blobs of an image; return the digest and the bytes of its manifest, which is not uploaded yet."""
        packed = [_pack(layer) for layer in layers]
        config = _json({
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(blob)) for blob in packed]},
        })  # fmt: skip
        for blob in (*packed, config):
            self._upload(repository, blob)
        manifest = _json({
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": _LAYER, "digest": _digest(blob), "size": len(blob)} for blob in packed],
        })  # fmt: skip
        return _digest(manifest), manifest

    def _upload(self, repository: str, blob: bytes) -> None:
        started = self._request("POST", f"/v2/{repository}/blobs/uploads/", b"", "", expected=202)
        location = re.sub(r"^https?://[^/]+", "", started["location"])
        separator = "&" if "?" in location else "?"
        target = f"{location}{separator}digest={_digest(blob)}"
        self._request("PUT", target, blob, "application/octet-stream", expected=201)

    def _request(self, method: str, target: str, body: bytes, media_type: str, expected: int) -> dict[str, str]:
        headers = {"Content-Type": media_type} if media_type else {}
        if self.password_needed:
            headers["Authorization"] = f"Basic {_BASIC}"
        connection = http.client.HTTPConnection(self.host_address, timeout=20)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        assert answer.status == expected, f"{method} {target}: {answer.status} {text}"
        return {name.lower(): value for name, value in answer.getheaders()}


def start_registry(engine: Engine, images: Images, folder: Path, password_needed: bool = False) -> Registry:
    """Start an empty registry on Docker's default bridge and wait until it answers."""
    images.ensure(REGISTRY_IMAGE)
    flags: list[str] = []
    if password_needed:
        (folder / "htpasswd").write_text(_HTPASSWD)
        settings = {
            "REGISTRY_AUTH": "htpasswd",
            "REGISTRY_AUTH_HTPASSWD_REALM": "clairtest",
            "REGISTRY_AUTH_HTPASSWD_PATH": "/run/auth/htpasswd",
        }
        flags = [word for setting in settings.items() for word in ("--env", "=".join(setting))]
        flags += ["--volume", f"{folder}:/run/auth:ro"]
    name = f"clairtest-registry-{secrets.token_hex(4)}"
    engine.docker("run", "--detach", "--name", name, *flags, REGISTRY_IMAGE)
    registry = Registry(name, engine, folder, password_needed)
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            registry._request("GET", "/v2/", b"", "", expected=200)
            return registry
        except OSError as error:
            if time.monotonic() > limit:
                said = engine.docker("logs", name, check=False)
                registry.stop()
                raise AssertionError(f"registry did not start: {error}\n{said.stdout}{said.stderr}") from error
        time.sleep(0.1)


def _pack(layer: Layer) -> bytes:
    """Return `layer` as a gzipped tar file that is the same for the same content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(layer):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(layer[path]), 0o644
            archive.addfile(entry, io.BytesIO(layer[path]))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
