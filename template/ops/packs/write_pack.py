"""Writes a feed pack under a hidden name and renames it once it is whole and was read back.

The feeds come as they are made, so their size is written last. See form_pack for the form.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Optional

from ..errors import UNDECIDED, USAGE, Problem
from .check_zstd import Broken, check_zstd
from .form_pack import BLOCK, END, MANIFEST, MODE, SUMS, UPDATERS, encode_manifest, member_header, padding, sums


def check_target(path: str, command: str) -> Path:
    """Return where a pack goes. Raises Problem (2) if it cannot be written there: better before the work than after it."""
    if not path:
        raise Problem(f"wrong use, clair {command}: no file given", f"./clair {command} feeds.tar")
    target = Path(path)
    if target.is_dir():
        raise Problem(f"pack not writable, {path}: it is a folder", f"./clair {command} {target / 'feeds.tar'}")
    if target.exists() and not target.is_file():
        raise Problem(f"pack not writable, {path}: it is no file", f"./clair {command} feeds.tar")
    if not target.parent.is_dir():
        raise Problem(f"pack not writable, {path}: there is no folder {target.parent}", f"mkdir -p {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise Problem(f"pack not writable, {path}: permission denied", f"ls -ld {target.parent}")
    return target.resolve()


class PackWriter:
    """A pack that is being written; what is not finished is deleted when the block ends."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._temporary = target.with_name(f".{target.name}.new")
        self._stream: Optional[BinaryIO] = None
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> PackWriter:
        """Open the file. Raises Problem: it cannot be written (2), another export is writing it (3)."""
        try:
            # Not emptied before the lock: it may be another's.
            self._stream = os.fdopen(os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stream.truncate(0)
            self._stream.seek(BLOCK)
        except BlockingIOError as error:
            self._close()
            raise Problem(
                f"pack not written, {self._target}: another export is writing it", "./clair ps", UNDECIDED
            ) from error
        except OSError as error:
            self._close()
            raise self._failure(error) from error
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._stream is not None:
            self._temporary.unlink(missing_ok=True)
            self._close()

    def write(self, chunk: bytes) -> None:
        """Add to the feeds. Raises Problem (2) if the disk is full."""
        try:
            self._open.write(chunk)
        except OSError as error:
            raise self._failure(error) from error
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Complete the pack with a manifest, to which the size and sha256 of the feeds are added, and rename it.

        Raises Problem: what clairctl wrote is no whole zstd file (3), the disk is full (2).
        """
        try:
            check_zstd(self._open, BLOCK, self.size)
        except Broken as broken:
            raise Problem(
                f"feeds not exported, {self._target.name}: what clairctl wrote is damaged, {broken}",
                "./clair feeds-export --help",
                UNDECIDED,
            ) from broken
        digest = self._hash.hexdigest()
        content = encode_manifest({**manifest, "members": {UPDATERS: {"size": self.size, "sha256": digest}}})
        checks = sums(digest, hashlib.sha256(content).hexdigest())
        try:
            stream = self._open
            stream.seek(0)
            stream.write(member_header(UPDATERS, self.size))
            stream.seek(BLOCK + self.size)
            stream.write(bytes(padding(self.size)))
            for name, body in ((MANIFEST, content), (SUMS, checks)):
                stream.write(member_header(name, len(body)) + body + bytes(padding(len(body))))
            stream.write(END)
            stream.flush()
            os.fchmod(stream.fileno(), MODE)
            os.fsync(stream.fileno())
            self._temporary.replace(self._target)
        except OSError as error:
            raise self._failure(error) from error
        self._close()

    @property
    def _open(self) -> BinaryIO:
        if self._stream is None:
            raise ValueError("the pack is not open")
        return self._stream

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):  # a full disk, once more
                stream.close()

    def _failure(self, error: OSError) -> Problem:
        reason = (error.strerror or str(error)).lower()
        return Problem(f"pack not written, {self._target}: {reason}", f"df -h {self._target.parent}", USAGE)
