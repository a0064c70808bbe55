"""Which families the matcher's last run left out because it could not read the list of their feeds.

Pure. Such a family has no row in the database; only the matcher's log tells, and it does not name the set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from ..host.escape_text import printable
from .list_needed import asked_families
from .match_updaters import Ledger
from .read_runs import Run


def excluded_families(
    settings: Mapping[str, Any], catalogue: Mapping[str, Any], ledger: Ledger, run: Optional[Run]
) -> dict[str, str]:
    """Return which asked families the last run left out, with the reason.

    The matcher does not name the set. Most errors begin with it, others name a host of the feed; what is left belongs to
    the families without any row if there are as many of them.
    """
    if run is None:
        return {}
    found: dict[str, str] = {}
    unnamed = []
    for failure in run.failures:
        names = [name for name in asked_families(settings) if name not in found and _is_about(failure, name, catalogue)]
        if names:
            found[names[0]] = printable(failure, 200)
        else:
            unnamed.append(printable(failure, 200))
    silent = [
        name
        for name in asked_families(settings)
        if name not in found
        and (catalogue.get(name) or {}).get("sets")
        and not any(re.fullmatch(catalogue[name]["updaters"], updater) for updater in ledger.rows)
    ]
    if run.ended and len(silent) == len(unnamed):
        found.update(dict.fromkeys(silent, "; ".join(unnamed)))
    return found


def _is_about(failure: str, name: str, catalogue: Mapping[str, Any]) -> bool:
    family = catalogue.get(name) or {}
    if any(failure.startswith(f"{prefix}:") for prefix in (name, *(family.get("sets") or ()))):
        return True
    return any(f"//{host}/" in failure for host in family.get("egress") or ())
