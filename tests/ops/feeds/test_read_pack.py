"""A feed pack is taken as it was written, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.errors import Problem
from ops.packs.check_zstd import Broken, check_zstd
from ops.packs.form_pack import END, MANIFEST, SUMS, UPDATERS, encode_manifest, member_header, padding, sums
from ops.packs.read_pack import Damaged, Pack, open_pack, read_pack
from ops.packs.write_pack import PackWriter, check_target

from .conftest import ZSTD, manifest

Write = Callable[..., Path]


def whole_pack(content: bytes = ZSTD, **changes: Any) -> bytes:
    """Return the bytes of a pack."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pack"
        with PackWriter(path) as writer:
            writer.write(content)
            writer.finish({**manifest(), **changes})
        return path.read_bytes()


def read(content: bytes) -> Pack:
    """Read a pack's bytes as a file."""
    pack = read_pack(io.BytesIO(content))
    assert b"".join(pack.chunks()) == content[pack.start : pack.start + pack.size]
    return pack


PACK = whole_pack()


def test_a_pack_is_read_as_it_was_written(pack: Write) -> None:
    found = open_pack(str(pack()))

    assert b"".join(found.chunks()) == ZSTD
    assert found.release == "4.9.0"
    assert found.manifest["families"] == ["alpine", "debian"]
    assert found.manifest["members"] == {UPDATERS: {"size": len(ZSTD), "sha256": hashlib.sha256(ZSTD).hexdigest()}}


def test_tar_and_sha256sum_read_a_pack(pack: Write, tmp_path: Path) -> None:
    path = pack()

    listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["tar", "xf", path, "-C", tmp_path], check=True)
    checked = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert listed == [UPDATERS, MANIFEST, SUMS]
    assert checked == f"{UPDATERS}: OK\n{MANIFEST}: OK\n"


def test_a_pack_can_be_read_by_everybody_and_nothing_is_left_beside_it(pack: Write) -> None:
    path = pack()

    assert path.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in path.parent.iterdir() if found.name.startswith(".")] == []


@given(place=st.integers(0, len(PACK) - 1), value=st.integers(1, 255))
def test_no_changed_byte_passes(place: int, value: int) -> None:
    content = bytearray(PACK)
    content[place] ^= value

    with pytest.raises(Damaged):
        read(bytes(content))


@given(place=st.integers(0, len(PACK) - 1))
def test_no_shortened_pack_passes(place: int) -> None:
    with pytest.raises(Damaged):
        read(PACK[:place])


@given(
    start=st.integers(0, len(PACK)),
    end=st.integers(0, len(PACK)),
    inserted=st.one_of(st.binary(max_size=1024), st.just(bytes(512)), st.just(PACK[:1024])),
)
def test_no_spliced_pack_passes(start: int, end: int, inserted: bytes) -> None:
    content = PACK[: min(start, end)] + inserted + PACK[max(start, end) :]
    if content != PACK:
        with pytest.raises(Damaged):
            read(content)


@given(content=st.binary(max_size=3000))
def test_no_other_file_passes(content: bytes) -> None:
    with pytest.raises(Damaged):
        read(content)


def sealed(document: Any) -> bytes:
    """Return a pack whose sums are right, around any manifest."""
    content = document if isinstance(document, bytes) else encode_manifest(document)
    checks = sums(hashlib.sha256(ZSTD).hexdigest(), hashlib.sha256(content).hexdigest())
    members = ((UPDATERS, ZSTD), (MANIFEST, content), (SUMS, checks))
    return b"".join(member_header(name, len(body)) + body + bytes(padding(len(body))) for name, body in members) + END


def complete_manifest() -> dict[str, Any]:
    members = {UPDATERS: {"size": len(ZSTD), "sha256": hashlib.sha256(ZSTD).hexdigest()}}
    return {**manifest(), "members": members}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(complete_manifest())), value=values)
def test_a_manifest_with_another_value_is_refused_or_usable(name: str, value: Any) -> None:
    try:
        found = read(sealed({**complete_manifest(), name: value}))
    except Damaged:
        return

    assert isinstance(found.release, str)
    assert isinstance(found.exported_at, float)
    assert all(isinstance(one, str) for one in [*found.manifest["families"], *found.manifest["sets"]])
    assert all(isinstance(entry, dict) for entry in found.manifest["updaters"].values())


@given(content=st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode())))
def test_no_other_manifest_passes(content: bytes) -> None:
    with pytest.raises(Damaged):
        read(sealed(content))


def tar(*members: tuple[str, bytes, bytes]) -> bytes:
    """Return a tar file of members given as name, content and kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content, kind in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.type = len(content), 0o644, kind
            entry.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FEEDS = (UPDATERS, ZSTD, tarfile.REGTYPE)
FILE = tarfile.REGTYPE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "it ends after 0 bytes, before it is complete", id="empty"),
        pytest.param(b"x" * 4096, "it is no feed pack", id="no-tar"),
        pytest.param(PACK[:700], "it ends after 700 bytes, before it is complete", id="cut-short"),
        pytest.param(PACK + b"\0", "1 bytes follow its end", id="longer"),
        pytest.param(PACK[:600] + b"x" + PACK[601:], "bytes that are not its own stand between its members", id="gap"),
        pytest.param(PACK[:515] + b"x" + PACK[516:], "its content and its SHA256SUMS differ", id="one-byte"),
        pytest.param(tar(("../updaters.zst", ZSTD, FILE)), "its member '../updaters.zst' leads out of its folder", id="parent"),
        pytest.param(tar(("/etc/cron.d/x", b"", FILE)), "its member '/etc/cron.d/x' leads out of its folder", id="absolute"),
        pytest.param(tar(FEEDS, ("a/../../x", b"", FILE)), "its member 'a/../../x' leads out of its folder", id="later-parent"),
        pytest.param(tar((UPDATERS, b"", tarfile.SYMTYPE)), "its member 'updaters.zst' is a link", id="link"),
        pytest.param(tar((UPDATERS, b"", tarfile.LNKTYPE)), "its member 'updaters.zst' is a hard link", id="hard-link"),
        pytest.param(tar((UPDATERS, b"", tarfile.CHRTYPE)), "its member 'updaters.zst' is a device", id="device"),
        pytest.param(tar((UPDATERS, b"", tarfile.DIRTYPE)), "its member 'updaters.zst/' is a folder", id="folder"),
        pytest.param(tar(FEEDS, FEEDS), "its member 'updaters.zst' stands in it twice", id="twice"),
        pytest.param(tar(("readme", b"", FILE)), "its member 'readme' does not belong into a feed pack", id="foreign"),
        pytest.param(tar(("a\x1b[2J", b"", FILE)), "its member 'a [2J' does not belong into a feed pack", id="control-characters"),
        pytest.param(tar((MANIFEST, b"{}", FILE)), "updaters.zst is missing", id="order"),
        pytest.param(tar(FEEDS), "manifest.json is missing", id="feeds-only"),
        pytest.param(
            PACK[: -len(END)] + tar(FEEDS), "after its last member it goes on with another member, 'updaters.zst'", id="fourth"
        ),
        pytest.param(sealed({**complete_manifest(), "kind": "x"}), "its manifest is not readable: it is none of a feed pack", id="kind"),
        pytest.param(
            sealed({**complete_manifest(), "format": 2}),
            "its manifest is not readable: format 2 is none that this deployment reads",
            id="format",
        ),
        pytest.param(
            sealed({**complete_manifest(), "exported_at": "yesterday"}),
            "its manifest is not readable: Invalid isoformat string: 'yesterday'",
            id="date",
        ),
        pytest.param(
            sealed({**complete_manifest(), "exported_at": "2026-11-25T00:00:00"}),
            "its manifest is not readable: exported_at has no time zone",
            id="zone",
        ),
        pytest.param(
            sealed({**complete_manifest(), "clair_release": "../4.9.0"}),
            "its manifest is not readable: clair_release is no release",
            id="release",
        ),
    ],
)  # fmt: skip
def test_a_refused_pack_says_why(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "feeds.tar"
    path.write_bytes(content)

    with pytest.raises(Problem) as found:
        open_pack(str(path))

    assert found.value.sentence == f"pack refused, {path}: {reason}"
    assert found.value.hint == "copy it again, or ./clair feeds-export where it came from"
    assert found.value.code == 2


def test_a_pack_that_changes_while_it_is_read_is_not_taken_for_whole(pack: Write) -> None:
    path = pack()
    found = open_pack(str(path))
    content = bytearray(path.read_bytes())
    content[found.start] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(Damaged, match="changed while it was read"):
        list(found.chunks())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "wrong use, clair feeds-import: no file given"),
        ("/nowhere/feeds.tar", "pack unreadable, /nowhere/feeds.tar: no such file or directory"),
        ("/", "pack unreadable, /: is a directory"),
    ],
)
def test_a_pack_that_cannot_be_opened(name: str, sentence: str) -> None:
    with pytest.raises(Problem) as found:
        open_pack(name)

    assert (found.value.sentence, found.value.code) == (sentence, 2)


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("", "wrong use, clair feeds-export: no file given", "./clair feeds-export feeds.tar"),
        ("/", "pack not writable, /: it is a folder", "./clair feeds-export /feeds.tar"),
        ("/dev/null", "pack not writable, /dev/null: it is no file", "./clair feeds-export feeds.tar"),
        (
            "/nowhere/feeds.tar",
            "pack not writable, /nowhere/feeds.tar: there is no folder /nowhere",
            "mkdir -p /nowhere",
        ),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(name: str, sentence: str, hint: str) -> None:
    with pytest.raises(Problem) as found:
        check_target(name, "feeds-export")

    assert (found.value.sentence, found.value.hint, found.value.code) == (sentence, hint, 2)


def test_what_is_not_finished_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PackWriter(tmp_path / "feeds.tar") as writer:
        writer.write(b"abc")
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []


def test_two_exports_to_one_file_do_not_mix(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "feeds.tar"):
        with pytest.raises(Problem) as found, PackWriter(tmp_path / "feeds.tar"):
            pass
        assert (tmp_path / ".feeds.tar.new").exists()

    assert found.value.sentence == f"pack not written, {tmp_path}/feeds.tar: another export is writing it"
    assert found.value.code == 3


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(28, "No space left on device")
    with pytest.raises(Problem) as found, PackWriter(tmp_path / "feeds.tar") as writer:
        monkeypatch.setattr(writer, "_stream", FullDisk(full))
        writer.write(b"abc")

    assert found.value.sentence == f"pack not written, {tmp_path}/feeds.tar: no space left on device"
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """A file that nothing more fits into."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def write(self, content: bytes) -> int:
        raise self._error

    def close(self) -> None:
        raise self._error


def frame(*blocks: bytes, checksum: bool = False) -> bytes:
    """Return a zstd frame of raw blocks, with a window and no size."""
    head = bytes.fromhex("28b52ffd") + bytes([4 if checksum else 0, 0])
    body = b""
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        body += (len(block) << 3 | last).to_bytes(3, "little") + block
    return head + body + (b"abcd" if checksum else b"")


RUN_LENGTH = bytes.fromhex("28b52ffd") + bytes([0, 0]) + (1000 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
SKIPPED = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"abc"
ZSTD_FILES = {
    "one-block": ZSTD,
    "blocks": frame(b"abc", b"", b"x" * 70000),
    "checksum": frame(b"abc", checksum=True),
    "run-length": RUN_LENGTH,
    "frames": ZSTD + SKIPPED + frame(b"x"),
}


@pytest.mark.parametrize("content", ZSTD_FILES.values(), ids=ZSTD_FILES)
def test_a_whole_zstd_file_is_whole_and_no_part_of_it_is(content: bytes) -> None:
    check_zstd(io.BytesIO(b"12345" + content + b"67"), 5, len(content))

    frames = [len(ZSTD), len(ZSTD + SKIPPED)] if content == ZSTD_FILES["frames"] else []
    for size in {*range(min(40, len(content))), len(content) - 1} - set(frames):
        with pytest.raises(Broken):
            check_zstd(io.BytesIO(content), 0, size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends before it is complete"),
        (b"\x1f\x8b gzip", "it is not compressed with zstd"),
        (ZSTD + b"more", "it is not compressed with zstd"),
        (ZSTD[:6] + (7).to_bytes(3, "little") + b"abc", "a block of it has no known kind"),
    ],
    ids=["empty", "gzip", "trailing", "kind"],
)
def test_a_file_that_is_no_zstd_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=f"^{reason}$"):
        check_zstd(io.BytesIO(content), 0, len(content))


def test_a_damaged_export_is_not_made_a_pack(tmp_path: Path) -> None:
    with pytest.raises(Problem) as found, PackWriter(tmp_path / "feeds.tar") as writer:
        writer.write(ZSTD[:-1])
        writer.finish(manifest())

    assert (
        found.value.sentence
        == "feeds not exported, feeds.tar: what clairctl wrote is damaged, it ends before it is complete"
    )
    assert list(tmp_path.iterdir()) == []
