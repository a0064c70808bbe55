"""Hands a manifest to the indexer only if its state changed since the manifest was indexed.

Talks to the indexer through the edge; writes nothing. One object serves the scans of a fleet, on several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from ..network.open_connection import Deadline
from ..network.retry_request import Notice
from ..registries.remember_layers import Layer
from .fetch_state import fetch_index
from .index_manifest import index_manifest
from .reach_edge import Edge
from .read_report import IndexReport


class IndexOnce:
    """Takes the place of index_manifest in run_scan.

    `state` is the indexer's now, `indexed` holds by digest the state in which a manifest was indexed. `check` is called
    before a manifest is handed over, and raises Problem where that would be in vain.
    """

    def __init__(self, state: str, indexed: Mapping[str, str], check: Callable[[], None]) -> None:
        self.state = state
        self.handed_over = 0
        self._indexed = dict(indexed)
        self._check = check
        self._lock = threading.Lock()

    def __call__(
        self, edge: Edge, digest: str, locate: Callable[[], list[Layer]], deadline: Deadline, notice: Notice
    ) -> IndexReport:
        """Return the indexer's report of a manifest. Raises Problem as index_manifest does."""
        if self._indexed.get(digest) == self.state:
            report = fetch_index(edge, digest, self.state, deadline, notice)
            if report is not None:
                return report
        self._check()
        report = index_manifest(edge, digest, locate, deadline, notice)
        with self._lock:
            self.handed_over += 1
            if report.state == "IndexFinished" and report.success:
                # Two images of a list may be the same manifest.
                self._indexed[digest] = self.state
        return report
