"""How much faster than Clair's the intervals pass, as a test may ask."""

from __future__ import annotations

import os

TIME_FACTOR = float(os.environ.get("CLAIR_DOUBLE_TIME_FACTOR") or 1.0)
