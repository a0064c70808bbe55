"""Tells the receiver what images are called: Clair reports digests, people know names.

Writes `image-names` into the receiver's applied folder, a line `DIGEST tab NAME` for each image that was scanned; the running
container reads it there. A verdict never waits for it or fails with it.
"""

from __future__ import annotations

import os
import threading
from typing import Optional, Set

from ..settings import Deployment

IMAGE_NAMES = "image-names"


class ImageNames:
    """The names that were told so far; for use by several threads."""

    def __init__(self, deployment: Deployment) -> None:
        self._folder = deployment.applied / "receiver"
        self._lock = threading.Lock()
        self._known: Optional[Set[bytes]] = None

    def tell(self, digest: str, name: str) -> None:
        """Add an image's name, once. Without a receiver, or where its folder cannot be written, nothing happens."""
        if not self._folder.is_dir():
            return
        line = f"{digest}\t{name}\n".encode()
        path = self._folder / IMAGE_NAMES
        with self._lock:
            try:
                if self._known is None:
                    self._known = set(path.read_bytes().splitlines(keepends=True)) if path.is_file() else set()
                if line in self._known:
                    return
                # Whole lines, also where two commands write at once; readable for the container whatever the umask.
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try:
                    os.fchmod(descriptor, 0o644)
                    os.write(descriptor, line)
                finally:
                    os.close(descriptor)
                self._known.add(line)
            except OSError:
                # A folder of another user, or a full disk: the message then shows the digest.
                return
