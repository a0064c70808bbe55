"""Reads a feed pack and takes nothing that is not exactly what `feeds-export` writes.

Every byte is accounted for: headers are compared with the ones the form has (form_pack), contents with their sha256. So a
pack that was cut short, changed, or made by another hand with members that lead elsewhere is refused before anything is
done with it. The sums find damage; they do not prove who made the pack.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import USAGE, Problem
from ..host.escape_text import printable
from ..host.read_json import Object, Unreadable, part, read_object
from .form_pack import BLOCK, END, FORMAT, KIND, MANIFEST, MEMBERS, SUMS, UPDATERS, member_header, padding, sums

CHUNK_BYTES = 1024 * 1024
# A manifest names a few hundred updaters.
SMALL_BYTES = 4 * 1024 * 1024
MOST_BYTES = 1 << 60
_RELEASE = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)
_KINDS = {b"1": "a hard link", b"2": "a link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


class Damaged(Exception):
    """The file is no whole feed pack; the message says why in a few words."""


@dataclass(frozen=True)
class Pack:
    """A pack whose every byte was read. `stream` stays open, so that what is imported is what was checked."""

    stream: BinaryIO
    manifest: Mapping[str, Any]
    start: int
    size: int
    sha256: str

    @property
    def release(self) -> str:
        """The Clair release whose feeds these are."""
        return str(self.manifest["clair_release"])

    @property
    def exported_at(self) -> float:
        """When the feeds were asked for, in seconds since 1970."""
        return _moment(self.manifest["exported_at"])

    def chunks(self) -> Iterator[bytes]:
        """Yield the feeds. Raises Damaged at their end if they are not what was checked."""
        total = hashlib.sha256()
        for chunk in _chunks(self.stream, self.start, self.size):
            total.update(chunk)
            yield chunk
        if total.hexdigest() != self.sha256:
            raise Damaged("it was changed while it was read")


def open_pack(path: str, progress: Callable[[float], None] = lambda share: None) -> Pack:
    """Return the pack in a file after reading all of it; `progress` is told the share that was read, 0 to 1.

    Raises Problem (2): no such file, or no whole pack.
    """
    if not path:
        raise Problem("wrong use, clair feeds-import: no file given", "./clair feeds-import feeds.tar")
    try:
        # Without a buffer: what is imported is read anew and compared with what was checked.
        stream = Path(path).open("rb", buffering=0)  # noqa: SIM115 - the pack keeps it
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problem(f"pack unreadable, {path}: {reason}", f"ls -l {path}", USAGE) from error
    try:
        return read_pack(stream, progress)
    except Damaged as damaged:
        stream.close()
        raise Problem(
            f"pack refused, {path}: {damaged}", "copy it again, or ./clair feeds-export where it came from", USAGE
        ) from damaged
    except OSError as error:
        stream.close()
        reason = (error.strerror or str(error)).lower()
        raise Problem(f"pack unreadable, {path}: {reason}", f"ls -l {path}", USAGE) from error


def read_pack(stream: BinaryIO, progress: Callable[[float], None] = lambda share: None) -> Pack:
    """Return the pack in a file that is open for reading. Raises Damaged, OSError."""
    length = stream.seek(0, os.SEEK_END)
    place = 0
    places: dict[str, tuple[int, int]] = {}
    for name in MEMBERS:
        size = _member_size(stream, place, length, name, places)
        places[name] = place + BLOCK, size
        place = _padded(stream, place + BLOCK, size, length)
    if _exactly(stream, place, len(END), length) != END:
        raise Damaged(f"after its last member it goes on with {_foreign(stream, place, length)}")
    if place + len(END) != length:
        raise Damaged(f"{length - place - len(END)} bytes follow its end")
    start, size = places[UPDATERS]
    digest = _sha256(stream, start, size, progress)
    content = _exactly(stream, *places[MANIFEST], length)
    if _exactly(stream, *places[SUMS], length) != sums(digest, hashlib.sha256(content).hexdigest()):
        raise Damaged("its content and its SHA256SUMS differ")
    return Pack(stream, _manifest(content, size, digest), start, size, digest)


def _member_size(stream: BinaryIO, place: int, length: int, name: str, before: Mapping[str, object]) -> int:
    """Return the size of the member whose header must be at `place`."""
    block = _exactly(stream, place, BLOCK, length)
    try:
        size = int(tarfile.nti(block[124:136]))  # type: ignore[attr-defined]
    except (tarfile.TarError, ValueError):
        size = -1
    if 0 <= size <= MOST_BYTES and block == member_header(name, size):
        if name != UPDATERS and size > SMALL_BYTES:
            raise Damaged(f"{name} is larger than {SMALL_BYTES // 1024 // 1024} MiB")
        return size
    raise Damaged(_complaint(block, name, before, place))


def _complaint(block: bytes, name: str, before: Mapping[str, object], place: int) -> str:
    """Return what is wrong with a header that is not the one the form has."""
    if place and not any(block):
        return f"{name} is missing"
    if block[257:262] != b"ustar":
        return "it is no feed pack" if place == 0 else f"the header of {name} is damaged"
    found = block[:100].split(b"\0")[0].decode("utf-8", "replace")
    shown = repr(printable(found, 80))
    if found.startswith("/") or ".." in found.split("/"):
        return f"its member {shown} leads out of its folder"
    if block[156:157] in _KINDS:
        return f"its member {shown} is {_KINDS[block[156:157]]}"
    if found in before:
        return f"its member {shown} stands in it twice"
    if found not in MEMBERS:
        return f"its member {shown} does not belong into a feed pack"
    return f"the header of {name} is damaged" if found == name else f"{name} is missing"


def _foreign(stream: BinaryIO, place: int, length: int) -> str:
    block = _exactly(stream, place, BLOCK, length)
    if block[257:262] != b"ustar":
        return "bytes that are no end"
    return f"another member, {printable(block[:100].split(bytes(1))[0].decode('utf-8', 'replace'), 80)!r}"


def _padded(stream: BinaryIO, start: int, size: int, length: int) -> int:
    """Return where the block after a member begins."""
    gap = padding(size)
    if any(_exactly(stream, start + size, gap, length)):
        raise Damaged("bytes that are not its own stand between its members")
    return start + size + gap


def _exactly(stream: BinaryIO, place: int, count: int, length: int) -> bytes:
    if place + count > length:
        raise Damaged(f"it ends after {length} bytes, before it is complete")
    stream.seek(place)
    found = stream.read(count)
    if len(found) != count:
        raise Damaged(f"it ends after {place + len(found)} bytes, before it is complete")
    return found


def _chunks(stream: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    for place in range(start, start + size, CHUNK_BYTES):
        yield _exactly(stream, place, min(CHUNK_BYTES, start + size - place), start + size)


def _sha256(stream: BinaryIO, start: int, size: int, progress: Callable[[float], None]) -> str:
    total, done = hashlib.sha256(), 0
    for chunk in _chunks(stream, start, size):
        total.update(chunk)
        done += len(chunk)
        progress(done / size)
    return total.hexdigest()


def _manifest(content: bytes, size: int, digest: str) -> Mapping[str, Any]:
    try:
        manifest = read_object(content)
        _check_manifest(manifest, size, digest)
    except (Unreadable, ValueError, OverflowError) as error:
        raise Damaged(f"its manifest is not readable: {error}") from error
    return manifest


def _check_manifest(manifest: Object, size: int, digest: str) -> None:
    """Raise Unreadable, ValueError or OverflowError if a field that is read later has not its type."""
    where = "the manifest"
    if manifest.get("kind") != KIND:
        raise Unreadable("it is none of a feed pack")
    if manifest.get("format") != FORMAT:
        raise Unreadable(f"format {printable(str(manifest.get('format')), 20)} is none that this deployment reads")
    if not _RELEASE.fullmatch(part(manifest, "clair_release", str, where)):
        raise Unreadable("clair_release is no release")
    _moment(part(manifest, "exported_at", str, where))
    for name in ("families", "sets"):
        if not all(isinstance(item, str) for item in part(manifest, name, list, where)):
            raise Unreadable(f"{name} holds something else than names")
    part(manifest, "enrichment", bool, where)
    if not all(isinstance(entry, dict) for entry in part(manifest, "updaters", dict, where).values()):
        raise Unreadable("updaters holds something else than objects")
    if part(manifest, "members", dict, where) != {UPDATERS: {"size": size, "sha256": digest}}:
        raise Unreadable("members are not the ones it has")


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("exported_at has no time zone")
    return moment.timestamp()
