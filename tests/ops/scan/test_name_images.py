"""What a scan tells the receiver: each name once, readable for its container, and never in the way of a verdict."""

from __future__ import annotations

import os
from pathlib import Path

from ops.settings import Deployment
from ops.state.name_images import IMAGE_NAMES, ImageNames

DIGEST = "sha256:" + "a" * 64


def told(root: Path) -> Path:
    """Return the file of a deployment with a receiver."""
    folder = root / "state/applied/receiver"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / IMAGE_NAMES


def test_a_name_is_told_once_also_by_another_command(tmp_path: Path) -> None:
    file = told(tmp_path)
    for _ in range(2):
        names = ImageNames(Deployment({}, tmp_path))
        names.tell(DIGEST, "docker.io/library/debian:12")
        names.tell(DIGEST, "docker.io/library/debian:12")

    assert file.read_text(encoding="utf-8") == f"{DIGEST}\tdocker.io/library/debian:12\n"


def test_the_container_can_read_it_under_any_umask(tmp_path: Path) -> None:
    file, before = told(tmp_path), os.umask(0o077)
    try:
        ImageNames(Deployment({}, tmp_path)).tell(DIGEST, "a")
    finally:
        os.umask(before)

    assert file.stat().st_mode & 0o777 == 0o644


def test_without_a_receiver_nothing_is_written(tmp_path: Path) -> None:
    ImageNames(Deployment({}, tmp_path)).tell(DIGEST, "a")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_scan(tmp_path: Path) -> None:
    told(tmp_path).mkdir()

    ImageNames(Deployment({}, tmp_path)).tell(DIGEST, "a")
