"""Learns what images are called from the file that scans add to: a line `DIGEST tab NAME` each, the last one counts."""

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
        pairs = (line.split("\t") for line in text.splitlines())
        name_images(store, {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and all(pair)})
        self._seen = (facts.st_mtime_ns, facts.st_size)
