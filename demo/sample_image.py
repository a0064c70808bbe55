"""Builds small OCI images from real package databases, without Docker.

Reads `demo/data/`: the files that dpkg and apk leave in an image of Debian 12 and Alpine 3.18. Writes OCI image layouts
(one folder per repository), which `demo/serve.py` serves as a registry, or pushes an image to any registry over HTTP.
The same arguments give the same bytes: times are fixed, files sorted, and the gzip header is written here.

Image layout: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
What Clair reads of an image: claircore v1.5.48, dpkg/scanner.go, apk/scanner.go, osrelease/scanner.go.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
import struct
import tarfile
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data"
CREATED = "2024-01-02T03:04:05Z"
MODIFIED_SECONDS = 1704164645  # CREATED as seconds since 1970

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
REFERENCE_NAME = "org.opencontainers.image.ref.name"

# What each distribution calls the architectures that images are made for.
DEBIAN_ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64", "ppc64le": "ppc64el", "s390x": "s390x"}
GNU_TRIPLETS = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "powerpc64le", "s390x": "s390x"}
ALPINE_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}

# Versions in `demo/data/`, and the ones of a later point release that the sample feed knows as fixed.
DEBIAN_UPDATES = {
    "12.4+deb12u4": "12.4+deb12u12",
    "12.2.0-14": "12.2.0-14+deb12u1",
    "2.36-9+deb12u3": "2.36-9+deb12u13",
    "5.4.1-0.2": "5.4.1-1",
    "3.0.11-1~deb12u2": "3.0.17-1~deb12u3",
}
ALPINE_UPDATES = {"1.36.1-r0": "1.36.1-r7", "3.1.1-r1": "3.1.8-r0", "3.18.2": "3.18.12"}

# A distribution that no Clair updater and no distribution scanner knows, on dpkg.
UNKNOWN_OS_RELEASE = 'PRETTY_NAME="Example Linux 1"\nNAME="Example Linux"\nVERSION_ID="1"\nID=examplelinux\n'
# A distribution that Clair knows, and for which the sample feed has nothing.
UBUNTU_OS_RELEASE = (
    'PRETTY_NAME="Ubuntu 22.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\nVERSION="22.04.3 LTS (Jammy Jellyfish)"\n'
    "VERSION_CODENAME=jammy\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=jammy\n"
)


@dataclass(frozen=True)
class Blob:
    """Bytes with a media type: a manifest, an index, an image's config or a layer."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal digest of the bytes."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        """Return the OCI descriptor of this blob; `extra` are further fields, such as `platform`."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **extra}


@dataclass(frozen=True)
class Image:
    """An image for one platform: its manifest, then config and layers in the manifest's order."""

    architecture: str
    manifest: Blob
    blobs: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        """Digest of the manifest: what a reference by digest names, and what Clair calls the manifest hash."""
        return self.manifest.digest

    @property
    def manifests(self) -> tuple[Blob, ...]:
        """The manifests that a registry must hold, the named one last."""
        return (self.manifest,)

    @property
    def platforms(self) -> dict[str, str]:
        """`linux/ARCHITECTURE` and the digest of its manifest."""
        return {f"linux/{self.architecture}": self.digest}


@dataclass(frozen=True)
class Index:
    """An image for several platforms: an image index over one image each."""

    manifest: Blob
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        """Digest of the index itself, which Clair never sees."""
        return self.manifest.digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Configs and layers of all images."""
        return tuple(blob for image in self.images for blob in image.blobs)

    @property
    def manifests(self) -> tuple[Blob, ...]:
        """The manifests that a registry must hold, the index last."""
        return (*(image.manifest for image in self.images), self.manifest)

    @property
    def platforms(self) -> dict[str, str]:
        """`linux/ARCHITECTURE` and the digest of its manifest, one per image."""
        return {platform: digest for image in self.images for platform, digest in image.platforms.items()}


Artifact = Image | Index


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _gzip(data: bytes) -> bytes:
    """Compress with a header of our own: `gzip` writes other bytes there from one Python to the next."""
    body = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    tail = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + body.compress(data) + body.flush() + tail


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o644 if kind == tarfile.REGTYPE else 0o755
    entry.mtime = MODIFIED_SECONDS
    return entry


def tar(files: Mapping[str, str], links: Mapping[str, str] | None = None) -> bytes:
    """Return a layer, not compressed: `files` (path and text), symbolic `links`, and the folders above them."""
    links = links or {}
    folders = {str(parent) for path in (*files, *links) for parent in Path(path).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted({*folders, *files, *links}):
            if path in links:
                entry = _entry(path, tarfile.SYMTYPE)
                entry.linkname = links[path]
                archive.addfile(entry)
            elif path in files:
                content = files[path].encode()
                entry = _entry(path, tarfile.REGTYPE)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                archive.addfile(_entry(path + "/", tarfile.DIRTYPE))
    return buffer.getvalue()


def image(layers: list[bytes], architecture: str = "amd64") -> Image:
    """Return an image of `layers` (tar archives as from `tar`), the lowest first."""
    config = {
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["/app/hello"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
        "history": [{"created": CREATED, "created_by": "demo.sample_image"} for _ in layers],
    }
    config_blob = Blob(CONFIG_TYPE, _json(config))
    layer_blobs = [Blob(LAYER_TYPE, _gzip(layer)) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config_blob.descriptor(),
        "layers": [blob.descriptor() for blob in layer_blobs],
    }
    return Image(architecture, Blob(MANIFEST_TYPE, _json(manifest)), (config_blob, *layer_blobs))


def index(*images: Image) -> Index:
    """Return an image index over `images`, one platform each."""
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            one.manifest.descriptor(platform={"architecture": one.architecture, "os": "linux"}) for one in images
        ],
    }
    return Index(Blob(INDEX_TYPE, _json(document)), images)


def _read(path: str, replacements: Mapping[str, str]) -> str:
    text = (DATA / path).read_text(encoding="utf-8")
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _application(name: str) -> bytes:
    """Return a second layer without packages: Clair must still find those of the layer below."""
    return tar({"app/hello": f"#!/bin/sh\necho 'hello from {name}'\n"})


def _debian_files(architecture: str, updated: bool) -> dict[str, str]:
    """Return what dpkg leaves in an image: the status file, and a list and checksums for each package.

    Files of `Multi-Arch: same` packages carry the architecture in their name, as dpkg writes them.
    """
    debian = DEBIAN_ARCHITECTURES[architecture]
    replacements = {"amd64": debian, "x86_64-linux-gnu": GNU_TRIPLETS[architecture] + "-linux-gnu"}
    replacements.update(DEBIAN_UPDATES if updated else {})
    status = _read("debian-12/status", replacements)
    shared = set(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Multi-Arch: same$", status, re.MULTILINE))
    files = {"var/lib/dpkg/status": status}
    for path in sorted((DATA / "debian-12" / "info").iterdir()):
        package = path.stem + (f":{debian}" if path.stem in shared else "")
        files[f"var/lib/dpkg/info/{package}{path.suffix}"] = _read(f"debian-12/info/{path.name}", replacements)
    return files


def debian_image(architecture: str = "amd64", updated: bool = False) -> Image:
    """Return an image of Debian 12; `updated` has every package that the sample feed knows a fix for."""
    files = _debian_files(architecture, updated)
    files["usr/lib/os-release"] = _read("debian-12/os-release", {})
    files["etc/debian_version"] = "12.12\n" if updated else "12.4\n"
    layer = tar(files, {"etc/os-release": "../usr/lib/os-release"})
    return image([layer, _application("debian")], architecture)


def alpine_image(architecture: str = "amd64", updated: bool = False) -> Image:
    """Return an image of Alpine 3.18; `updated` has every package that the sample feed knows a fix for."""
    alpine = ALPINE_ARCHITECTURES[architecture]
    replacements = {"x86_64": alpine, **(ALPINE_UPDATES if updated else {})}
    files = {
        "usr/lib/os-release": _read("alpine-3.18/os-release", replacements),
        "etc/alpine-release": _read("alpine-3.18/alpine-release", replacements),
        "etc/issue": _read("alpine-3.18/issue", {}),
        "etc/apk/arch": alpine + "\n",
        "etc/apk/repositories": _read("alpine-3.18/repositories", {}),
        "etc/apk/world": _read("alpine-3.18/world", {}),
        "lib/apk/db/installed": _read("alpine-3.18/installed", replacements),
    }
    layer = tar(files, {"etc/os-release": "../usr/lib/os-release"})
    return image([layer, _application("alpine")], architecture)


def multi_architecture_index() -> Index:
    """Return Debian 12 for amd64, which is updated, and for arm64, which is not.

    clairctl scans linux/amd64 of an index on every host, so it reports this one without the findings of arm64.
    """
    return index(debian_image("amd64", updated=True), debian_image("arm64", updated=False))


def arm64_only_index() -> Index:
    """Return an index without linux/amd64, which clairctl refuses."""
    return index(debian_image("arm64"))


def empty_image(architecture: str = "amd64") -> Image:
    """Return an image in which no scanner finds a package or a distribution, like one built from scratch."""
    return image([_application("scratch")], architecture)


def unknown_image(architecture: str = "amd64") -> Image:
    """Return an image whose packages Clair finds, but whose distribution it does not know."""
    files = {**_debian_files(architecture, updated=False), "etc/os-release": UNKNOWN_OS_RELEASE}
    return image([tar(files)], architecture)


def ubuntu_image(architecture: str = "amd64") -> Image:
    """Return an image of a distribution that Clair knows and that the sample feed does not cover."""
    files = {**_debian_files(architecture, updated=False), "etc/os-release": UBUNTU_OS_RELEASE}
    return image([tar(files)], architecture)


# Every sample: repository and tag, and how to build it for an architecture.
SAMPLES: dict[str, Callable[[str], Artifact]] = {
    "sample/debian:12": debian_image,
    "sample/debian:12-updated": lambda architecture: debian_image(architecture, updated=True),
    "sample/alpine:3.18": alpine_image,
    "sample/alpine:3.18-updated": lambda architecture: alpine_image(architecture, updated=True),
    "sample/multi:1": lambda architecture: multi_architecture_index(),
    "sample/arm64-only:1": lambda architecture: arm64_only_index(),
    "sample/empty:1": empty_image,
    "sample/unknown:1": unknown_image,
    "sample/ubuntu:22.04": ubuntu_image,
}


def write_layout(folder: Path, tags: Mapping[str, Artifact]) -> None:
    """Write one repository as an OCI image layout: `oci-layout`, `index.json` with one entry per tag, `blobs/`."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for artifact in tags.values():
        for blob in (*artifact.blobs, *artifact.manifests):
            (blobs / blob.digest.removeprefix("sha256:")).write_bytes(blob.data)
    entries = [one.manifest.descriptor(annotations={REFERENCE_NAME: tag}) for tag, one in tags.items()]
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    (folder / "index.json").write_bytes(_json(document))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def write_registry(folder: Path, architecture: str = "amd64") -> dict[str, Artifact]:
    """Write every sample under `folder/REPOSITORY` and return them by `repository:tag`.

    `architecture` is that of the samples for one platform; `multi` and `arm64-only` keep their own.
    """
    artifacts = {reference: build(architecture) for reference, build in SAMPLES.items()}
    repositories: dict[str, dict[str, Artifact]] = {}
    for reference, artifact in artifacts.items():
        repository, tag = reference.split(":")
        repositories.setdefault(repository, {})[tag] = artifact
    for repository, tags in repositories.items():
        write_layout(folder / repository, tags)
    return artifacts


def _send(method: str, url: str, headers: Mapping[str, str], data: bytes = b"") -> tuple[int, str]:
    """Send one request, never through a proxy; return the status and the Location header."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=30)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, data, dict(headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Location", "")
    finally:
        connection.close()


def push(artifact: Artifact, registry: str, repository: str, tag: str, headers: Mapping[str, str] | None = None) -> str:
    """Push to a registry that accepts it and return the digest; `registry` is a URL, such as `http://127.0.0.1:5000`.

    `headers` go with every request (`Authorization`). Raises RuntimeError with the registry's status if it refuses.
    The requests: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-a-blob-monolithically
    """
    headers = dict(headers or {})
    base = f"{registry.rstrip('/')}/v2/{repository}"
    for blob in artifact.blobs:
        if _send("HEAD", f"{base}/blobs/{blob.digest}", headers)[0] == HTTPStatus.OK:
            continue
        status, location = _send("POST", f"{base}/blobs/uploads/", headers)
        if status != HTTPStatus.ACCEPTED:
            raise RuntimeError(f"upload refused, {base}: status {status}")
        location = urllib.parse.urljoin(base, location)
        location += ("&" if "?" in location else "?") + "digest=" + urllib.parse.quote(blob.digest)
        status, _ = _send("PUT", location, {**headers, "Content-Type": "application/octet-stream"}, blob.data)
        if status != HTTPStatus.CREATED:
            raise RuntimeError(f"blob refused, {base} {blob.digest}: status {status}")
    for manifest in artifact.manifests:
        name = tag if manifest is artifact.manifest else manifest.digest
        typed = {**headers, "Content-Type": manifest.media_type}
        status, _ = _send("PUT", f"{base}/manifests/{name}", typed, manifest.data)
        if status != HTTPStatus.CREATED:
            raise RuntimeError(f"manifest refused, {base}:{name}: status {status}")
    return artifact.digest
