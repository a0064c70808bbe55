"""The faults of a feed pack: a group of docs/faults.md."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.packs.form_pack import UPDATERS

from tests.support.faults import Fault

from .conftest import ZSTD

AGAIN = "copy it again, or ./clair feeds-export where it came from"


@dataclass(frozen=True)
class Packs:
    """A folder in which `write` puts a whole pack, with changes of its manifest."""

    write: Callable[..., Path]

    def change(self, place: int) -> None:
        """Change one byte of a pack."""
        path = self.write()
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(bytes(content))

    def cut(self, length: int) -> None:
        """Cut a pack short."""
        path = self.write()
        path.write_bytes(path.read_bytes()[:length])

    def tar(self, name: str, kind: bytes = tarfile.REGTYPE) -> None:
        """Write a tar file of one member that is no feed pack."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.type = (len(ZSTD) if kind == tarfile.REGTYPE else 0), 0o644, kind
            entry.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            archive.addfile(entry, io.BytesIO(ZSTD))
        self.write().write_bytes(buffer.getvalue())


FAULTS: list[Fault] = [
    Fault("the pack is not there", "", lambda packs: None, "pack unreadable, PACK: no such file or directory", "ls -l PACK", 2),
    Fault("the pack is cut short", "", lambda packs: packs.cut(700),
          "pack refused, PACK: it ends after 700 bytes, before it is complete", AGAIN, 2),
    Fault("one byte of the pack is changed", "", lambda packs: packs.change(515),
          "pack refused, PACK: its content and its SHA256SUMS differ", AGAIN, 2),
    Fault("a pack of 4.8.0 for 4.9.0", "", lambda packs: packs.write(clair_release="4.8.0"),
          "pack refused, PACK: it is of Clair 4.8.0, this deployment runs 4.9.0",
          "./clair feeds-export where this deployment is rendered with clair_version 4.9.0", 2),
    Fault("a member of the pack leads out of its folder", "", lambda packs: packs.tar(f"../{UPDATERS}"),
          f"pack refused, PACK: its member '../{UPDATERS}' leads out of its folder", AGAIN, 2),
    Fault("a member of the pack is a link", "", lambda packs: packs.tar(UPDATERS, tarfile.SYMTYPE),
          f"pack refused, PACK: its member '{UPDATERS}' is a link", AGAIN, 2),
    Fault("the file is no pack", "", lambda packs: packs.write().write_bytes(b"x" * 4096),
          "pack refused, PACK: it is no feed pack", AGAIN, 2),
]  # fmt: skip
