"""What the scans of several images find out about registries once.

Pure but for the clock.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Optional

# Tokens live for a minute at least (distribution docs/content/spec/auth/token.md at v3.0.0).
LAYER_SECONDS = 30.0
# Of thousands of images the latest are enough: neighbours in a list have layers in common.
MOST_LAYERS = 500


@dataclass(frozen=True)
class Layer:
    """A layer and how the indexer can fetch it. The headers may hold a token: never printed, never stored."""

    digest: str
    uri: str
    headers: dict[str, list[str]] = field(repr=False)


@dataclass
class Found:
    """Whether a host speaks TLS, and where layers are; for use by several threads.

    The address of a layer is good for as long as its token and its signature; it is kept for LAYER_SECONDS.
    """

    schemes: dict[str, str] = field(default_factory=dict)
    _layers: dict[tuple[str, str], tuple[float, Layer]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def layer(self, repository: str, digest: str) -> Optional[Layer]:
        """Return where a layer of a repository was lately, or None."""
        located_at, layer = self._layers.get((repository, digest), (0.0, None))
        return layer if time.monotonic() - located_at < LAYER_SECONDS else None

    def remember(self, repository: str, layer: Layer) -> None:
        """Keep where a layer of a repository is; the oldest go first."""
        with self._lock:
            self._layers[repository, layer.digest] = (time.monotonic(), layer)
            while len(self._layers) > MOST_LAYERS:
                del self._layers[next(iter(self._layers))]

    def forget(self, repository: str) -> None:
        """Forget where the layers of a repository were."""
        with self._lock:
            for key in [key for key in self._layers if key[0] == repository]:
                del self._layers[key]
