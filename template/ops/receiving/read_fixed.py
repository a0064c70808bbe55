"""Reads which version fixes a vulnerability; the commands on the host read it by the same rule."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs


def fixed_version(text: Any) -> str:
    """Return the version of `fixed_in_version`, or an empty string.

    OSV's feeds hold a range in the form of a URL query: `fixed=1.2.3&introduced=0` (claircore updater/osv/osv.go).
    """
    if not isinstance(text, str):
        return ""
    if "=" in text:
        return ", ".join(parse_qs(text).get("fixed", []))
    return text.strip()
