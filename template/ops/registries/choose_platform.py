"""Which image of an index is for a platform, and whether a single image is.

Pure. Formats: OCI image index and manifest (image-spec v1.1.0), Docker manifest list and schema 2 (distribution
docs/content/spec/manifest-v2-2.md at v3.0.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ..errors import Problem
from ..host.escape_text import printable
from ..host.read_json import Object, Unreadable
from .parse_reference import Platform, is_digest, normalised_platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
# BuildKit stores build attestations as images of this kind beside the real ones.
REFERENCE_TYPE = "vnd.docker.reference.type"


@dataclass(frozen=True)
class IndexEntry:
    """One image of an index."""

    digest: str
    platform: Platform


@dataclass(frozen=True)
class ImageManifest:
    """What one image consists of: the digest of its configuration and those of its layers, lowest first."""

    config: str
    layers: tuple[str, ...]


def is_index(document: Object) -> bool:
    """Return True if a manifest lists images instead of layers."""
    return isinstance(document.get("manifests"), list) and "layers" not in document


def index_entries(document: Object) -> list[IndexEntry]:
    """Return the images of an index without its attestations. Raises Unreadable for an entry without a digest."""
    entries = []
    for item in document["manifests"]:
        if not isinstance(item, dict):
            raise Unreadable("an entry of the image index is not readable")
        platform, annotations = item.get("platform"), item.get("annotations")
        found = _platform(platform) if isinstance(platform, dict) else None
        if found is None or (isinstance(annotations, dict) and REFERENCE_TYPE in annotations):
            continue
        digest = str(item.get("digest"))
        if not is_digest(digest):
            raise Unreadable("an entry of the image index has no digest")
        entries.append(IndexEntry(digest, found))
    return entries


def choose_entry(entries: list[IndexEntry], wanted: Platform) -> Optional[IndexEntry]:
    """Return the image for `wanted`: the very platform, else the only one that differs in variant alone."""
    for entry in entries:
        if entry.platform == wanted:
            return entry
    if wanted.variant:
        return None
    family = [
        entry
        for entry in entries
        if (entry.platform.os, entry.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    return family[0] if len({entry.digest for entry in family}) == 1 else None


def no_platform(image: str, wanted: Platform, entries: list[IndexEntry]) -> Problem:
    """Return the refusal of an image that is not there for `wanted`: exit code 2, with the platforms there are."""
    there = sorted({str(entry.platform) for entry in entries})
    if not there:
        return Problem(
            f"no image for {wanted}, {image}: the index lists no platform", f"docker manifest inspect {image}"
        )
    return Problem(
        f"no image for {wanted}, {image}: there is {', '.join(there)}", f"./clair scan --platform {there[0]} {image}"
    )


def image_manifest(document: Object, image: str) -> ImageManifest:
    """Return the configuration and layers of a single image's manifest.

    Raises Problem (2) for what is no image (schema 1, a chart, a signature), Unreadable for a damaged manifest.
    """
    if document.get("schemaVersion") == 1:
        raise Problem(f"image not usable, {image}: its manifest is of the retired schema 1", f"docker pull {image}")
    config, layers = document.get("config"), document.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list):
        raise Unreadable("the manifest is neither an image nor an index")
    kind = str(config.get("mediaType") or "")
    if kind and kind not in IMAGE_CONFIGS:
        raise Problem(
            f"not a container image, {image}: it is an artifact of type {printable(kind)}",
            f"docker manifest inspect {image}",
        )
    if not layers:
        raise Problem(f"nothing to scan, {image}: the image has no layers", f"docker manifest inspect {image}")
    digests = [str(item.get("digest")) if isinstance(item, dict) else "" for item in (config, *layers)]
    if not all(map(is_digest, digests)):
        raise Unreadable("a layer of the manifest has no digest")
    return ImageManifest(digests[0], tuple(digests[1:]))


def config_platform(document: Object, image: str, wanted: Optional[Platform] = None) -> Platform:
    """Return the platform a single image was built for, if it is `wanted` (None: whatever it is).

    Raises Problem (2) if it is another one, or if the configuration does not say.
    """
    found = _platform(document)
    if found is None:
        raise Problem(
            f"no image for {wanted or 'any platform'}, {image}: its configuration names no platform",
            f"docker manifest inspect -v {image}",
        )
    if wanted is not None and choose_entry([IndexEntry("", found)], wanted) is None:
        raise no_platform(image, wanted, [IndexEntry("", found)])
    return found


def _platform(fields: dict[str, Any]) -> Optional[Platform]:
    """Return the platform of an index entry or configuration; None where it is missing or `unknown` (attestations)."""
    os, architecture, variant = (str(fields.get(name) or "") for name in ("os", "architecture", "variant"))
    if not os or not architecture or "unknown" in (os, architecture):
        return None
    return normalised_platform(printable(os), printable(architecture), printable(variant))
