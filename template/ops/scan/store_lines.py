"""Files of lines, each a few words and a JSON document, that are read by their place and replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Optional

from ..errors import Problem


class Place(NamedTuple):
    """Where a line's document stands in a file, in bytes."""

    offset: int
    length: int


def open_lines(path: Path) -> Optional[BinaryIO]:
    """Return a file open for reading, or None if it is not there."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def read_lines(file: Optional[BinaryIO], words: int) -> Iterator[tuple[list[str], Place]]:
    """Yield the words before the document of each line, parted by tabs, and the document's place.

    It ends at the first line that is not whole: a cut leaves one at the end, a power failure may leave zeros.
    """
    offset = 0
    for line in file or ():
        head = line.split(b"\t", words)
        if len(head) <= words or not line.endswith(b"}\n") or b"\0" in line:
            return
        length = len(head.pop())
        yield [word.decode("utf-8", "replace") for word in head], Place(offset + len(line) - length, length - 1)
        offset += len(line)


def replace_file(path: Path, lines: Iterable[bytes], temporary: Path) -> None:
    """Write lines to a file (0644) under another name, then rename it. Raises Problem (2) if the disk refuses it."""
    try:
        with temporary.open("wb") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> Problem:
    """Return the failure to write a file."""
    return Problem(f"results not written, {path.name}: {(error.strerror or str(error)).lower()}", "df -h .")
