"""Learns what images are called from the file that scans add to: a line `DIGEST tab NAME` each, of an image the newest last."""

from __future__ import annotations

from pathlib import Path

from .list_notifications import name_images
from .open_store import Store


class Names:
    """The file; `learn` reads it again once it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = (0, 0)

    def learn(self, store: Store) -> None:
        """Bring new names into the database. Raises sqlite3.Error."""
        try:
            facts = self._path.stat()
            if (facts.st_mtime_ns, facts.st_size) == self._seen:
                return
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            # Nothing was scanned yet.
            return
        lines = (line.split("\t") for line in text.splitlines())
        pairs = [(line[0], line[1]) for line in lines if len(line) == 2 and all(line)]
        # Each pair once, at its last place.
        name_images(store, reversed(list(dict.fromkeys(reversed(pairs)))))
        self._seen = (facts.st_mtime_ns, facts.st_size)
