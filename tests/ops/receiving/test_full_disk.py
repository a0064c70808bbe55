"""A disk that is full to its last byte: what is not stored is answered 503, and goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.receiving.conftest import Notifier, Receiver, Sink, finding, wait_until


@pytest.fixture
def small_disk(idle: Receiver) -> Iterator[Path]:
    """A file system of 2 MiB for the database."""
    folder = idle.folder / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of a small size needs root and the right to mount")
    idle.extra["RECEIVER_DATABASE"] = str(folder / "receiver.db")
    yield folder
    idle.kill()
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a file system to its last byte; return what fills it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    return ballast


def test_disk_that_is_full_is_503_and_nothing_is_lost(
    idle: Receiver, notifier: Notifier, sink: Sink, small_disk: Path
) -> None:
    idle.target("hook", "webhook", sink.url)
    sink.status = 503
    idle.start()
    before = notifier.add(finding("CVE-before"))
    idle.notify(before)
    wait_until(lambda: sink.got)

    ballast = fill(small_disk)
    identities = [notifier.add(finding(f"CVE-{number}")) for number in range(20)]
    answers = [idle.post(idle.body(identity))[0] for identity in identities]
    health = idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[0]
    sink.status = 200
    # What cannot be written down is waited for, and goes on when there is room.
    ballast.unlink()
    for identity, answer in zip(identities, answers, strict=True):
        # As Clair does with what was not answered by 200.
        if answer != 200:
            idle.notify(identity)

    assert 503 in answers
    assert health == 503
    wait_until(lambda: {row["state"] for row in idle.list()["notifications"]} == {"delivered"}, 30)
    names = [
        one["vulnerability"]
        for got in {got.headers["idempotency-key"]: got for got in sink.got}.values()
        for one in got.document["findings"]
    ]
    assert sorted(names) == sorted(["CVE-before", *(f"CVE-{number}" for number in range(20))])
