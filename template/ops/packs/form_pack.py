"""The form of a feed pack: what its parts are called, and the exact bytes around them.

Pure. A pack is a tar file of three members in this order: the file that `clairctl export-updaters -z` wrote, what is known
of it, and the sha256 of both (`sha256sum -c` reads it). Nothing of a header is free, so that a changed byte is seen.
"""

from __future__ import annotations

import json
import tarfile
from typing import Any

FORMAT = 1
KIND = "clair-feed-pack"
UPDATERS, MANIFEST, SUMS = "updaters.zst", "manifest.json", "SHA256SUMS"
MEMBERS = (UPDATERS, MANIFEST, SUMS)
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
MODE = 0o644


def member_header(name: str, size: int) -> bytes:
    """Return the tar header of a member; the same for the same name and size."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, MODE
    # GNU's form, for a member above 8 GiB; below that it is read by every tar.
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> int:
    """Return how many zero bytes follow a member of `size` bytes."""
    return -size % BLOCK


def sums(updaters: str, manifest: str) -> bytes:
    """Return the content of SHA256SUMS for two sha256 as hexadecimal digits."""
    return f"{updaters}  {UPDATERS}\n{manifest}  {MANIFEST}\n".encode("ascii")


def encode_manifest(manifest: dict[str, Any]) -> bytes:
    """Return a manifest as it stands in a pack."""
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("ascii")
