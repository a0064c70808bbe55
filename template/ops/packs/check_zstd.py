"""Whether a zstd file is whole, without unpacking it: every frame and block is where the one before says.

Pure but for reading. Python's standard library has no zstd before 3.14. What stands inside the blocks is for the sha256 of
the pack to tell. Format: RFC 8878, 3.1.
"""

from __future__ import annotations

from typing import BinaryIO

MAGIC = 0xFD2FB528
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_SIZE_BYTES = (0, 2, 4, 8)
_RLE, _RESERVED = 1, 3


class Broken(Exception):
    """The file is no whole zstd file; the message says why in a few words."""


def check_zstd(stream: BinaryIO, start: int, size: int) -> None:
    """Read the frames of the `size` bytes from `start` on. Raises Broken."""
    end = start + size
    place = start
    while place < end or place == start:
        place = _frame(stream, place, end)


def _frame(stream: BinaryIO, place: int, end: int) -> int:
    """Return where the frame at `place` ends."""
    magic = int.from_bytes(_read(stream, place, 4, end), "little")
    if magic in SKIPPABLE:
        return _within(place + 8 + int.from_bytes(_read(stream, place + 4, 4, end), "little"), end)
    if magic != MAGIC:
        raise Broken("it is not compressed with zstd")
    descriptor = _read(stream, place + 4, 1, end)[0]
    single, size_flag = bool(descriptor & 0x20), descriptor >> 6
    size_bytes = 1 if single and not size_flag else _SIZE_BYTES[size_flag]
    place += 5 + (0 if single else 1) + _DICTIONARY_BYTES[descriptor & 3] + size_bytes
    last = False
    while not last:
        header = int.from_bytes(_read(stream, place, 3, end), "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED:
            raise Broken("a block of it has no known kind")
        place = _within(place + 3 + (1 if kind == _RLE else size), end)
    return _within(place + (4 if descriptor & 4 else 0), end)


def _read(stream: BinaryIO, place: int, count: int, end: int) -> bytes:
    _within(place + count, end)
    stream.seek(place)
    found = stream.read(count)
    if len(found) != count:
        raise Broken("it ends before it is complete")
    return found


def _within(place: int, end: int) -> int:
    if place > end:
        raise Broken("it ends before it is complete")
    return place
