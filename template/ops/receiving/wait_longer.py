"""How long to wait after a failure: exponential, with some chance, at most an hour."""

from __future__ import annotations

import os
import random

LONGEST_SECONDS = 3600.0
# 24 tries: about 17 hours.
DEFAULT_TRIES = 24
FETCH_TRIES = 24


def wait_seconds(tries: int) -> float:
    """Return the seconds until the next try after so many failed ones: 5, 10, 20, ... 3600, each less up to a fifth."""
    first = float(os.environ.get("RECEIVER_RETRY_SECONDS", "5"))
    return float(min(LONGEST_SECONDS, first * 2 ** min(tries - 1, 30)) * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
