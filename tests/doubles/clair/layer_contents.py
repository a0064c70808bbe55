"""A layer's files, read from its spooled tar: names, symbolic links followed, contents on demand (claircore pkg/tarfs)."""

from __future__ import annotations

import json
import posixpath
import tarfile
from typing import BinaryIO


class LayerFormatProblem(Exception):
    """The layer is no tar archive."""


class Layer:
    """Read-only view of one layer."""

    def __init__(self, spool: BinaryIO) -> None:
        """Read the archive's table of contents.

        Raises:
            LayerFormatProblem: the bytes are no tar archive.
        """
        self._members: dict[str, tarfile.TarInfo] = {}
        size = spool.seek(0, 2)
        spool.seek(0)
        if size == 0:
            return
        if size < tarfile.BLOCKSIZE:
            raise LayerFormatProblem("tarfs: error finding segments: unexpected EOF at 0: EOF")
        magic = spool.read(tarfile.BLOCKSIZE)[257:263]
        if magic not in (b"ustar\x00", b"ustar "):
            words = json.dumps(magic.decode("latin-1")).replace("\\u00", "\\x")
            raise LayerFormatProblem(f"tarfs: error finding segments: bad block at 0: got magic {words}")
        spool.seek(0)
        try:
            self._archive = tarfile.open(fileobj=spool, mode="r:")
            for member in self._archive:
                self._members[_clean(member.name)] = member
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise LayerFormatProblem(f"tarfs: error finding segments: {error}") from error

    def paths(self) -> list[str]:
        """Return every path in the layer."""
        return list(self._members)

    def is_directory(self, path: str) -> bool:
        """Say whether `path` is a directory, named or implied."""
        member = self._members.get(path)
        return member.isdir() if member else any(name.startswith(path + "/") for name in self._members)

    def read(self, path: str) -> bytes | None:
        """Return a file's contents, or None where there is none; links are followed within the layer."""
        member = self._resolve(path)
        if member is None or not (member.isfile() or member.islnk()):
            return None
        try:
            handle = self._archive.extractfile(member)
        except KeyError:
            return None
        return handle.read() if handle else None

    def _resolve(self, path: str) -> tarfile.TarInfo | None:
        for _ in range(20):
            done = ""
            for part in path.split("/"):
                done = posixpath.join(done, part)
                member = self._members.get(done)
                if member and member.issym():
                    target = posixpath.join(posixpath.dirname(done), member.linkname)
                    path = _clean(target + path[len(done) :])
                    break
            else:
                return self._members.get(path)
        return None


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
