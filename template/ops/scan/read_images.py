"""The list of images that a fleet is: one a line, `IMAGE [PLATFORM]`, `#` begins a comment.

Reads the operator's file (default `images.txt`); writes nothing. The whole list is read before the first scan, so that
a line nobody can read stops the command and not the fifth hour of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Problem
from ..host.escape_text import printable
from ..registries.parse_reference import Platform, Reference, parse_platform
from .scan_image import scannable

LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One image of the list and the platform it is scanned for."""

    reference: Reference
    platform: Platform

    @property
    def key(self) -> str:
        """What the image is known by from run to run."""
        return f"{self.reference} {self.platform}"


def read_images(path: Path, shown: str, architecture: str) -> list[Entry]:
    """Return the images of a list, each once, in its order; `shown` is the file's name in messages.

    Raises Problem (2) for a file that cannot be read, an empty list, and the first line that is no image.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LIMIT_BYTES or not path.is_file() else None
        text = None if content is None else content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise Problem(
            f"list of images missing, {shown}: no such file", f"echo docker.io/library/debian:12 >> {shown}"
        ) from error
    except OSError as error:
        raise Problem(
            f"list of images unreadable, {shown}: {(error.strerror or '').lower()}", f"ls -l {shown}"
        ) from error
    except UnicodeDecodeError as error:
        raise Problem(f"list of images unreadable, {shown}: it is not UTF-8 text", f"file {shown}") from error
    if text is None:
        raise Problem(f"list of images unreadable, {shown}: larger than {LIMIT_BYTES >> 20} MiB", f"ls -l {shown}")
    entries = list(dict.fromkeys(parse_images(text.splitlines(), shown, architecture)))
    if not entries:
        raise Problem(
            f"list of images empty, {shown}: no line holds an image", f"echo docker.io/library/debian:12 >> {shown}"
        )
    return entries


def parse_images(lines: Iterable[str], shown: str, architecture: str) -> Iterable[Entry]:
    """Yield the image of each line that holds one. Raises Problem (2) that names the line."""
    for number, line in enumerate(lines, 1):
        # An image's name holds no #.
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            yield _entry(words, architecture)
        except Problem as problem:
            raise Problem(
                f"list of images unreadable, {shown} line {number}: {problem.sentence}",
                problem.hint or f"sed -n {number}p {shown}",
            ) from problem


def _entry(words: Sequence[str], architecture: str) -> Entry:
    if len(words) > 2:
        raise Problem(f"not an image and a platform, {printable(' '.join(words))!r}: {len(words)} words")
    platform = parse_platform(words[1] if len(words) == 2 else f"linux/{architecture}")
    return Entry(scannable(words[0]), platform)
