"""Checks `config/receiver/settings.toml` before a start, by the receiver's own rules; without Docker.

Python below 3.11 reads no TOML: there the receiver says the same at its start, and does not start.
"""

from __future__ import annotations

import sys
from typing import List

from ..errors import USAGE
from ..settings import Deployment
from .findings import Finding


def receiver_findings(deployment: Deployment) -> List[Finding]:
    """Return what is wrong with the receiver's settings, with its place."""
    path = deployment.root / "config" / "receiver" / "settings.toml"
    if "receiver" not in deployment.facts["services"] or not path.exists():
        return []
    if path.is_dir():
        # What Docker makes of a file that is mounted and is not there.
        sentence = "receiver settings wrong, config/receiver/settings.toml: it is a folder"
        return [Finding(sentence, "rmdir config/receiver/settings.toml", code=USAGE)]
    if sys.version_info < (3, 11):
        return []
    from ..receiving.read_settings import BadSettings, read_settings

    try:
        read_settings(path, deployment.secrets)
    except BadSettings as error:
        sentence = str(error)
        # What concerns the whole file names it.
        place = "" if sentence.startswith("settings.toml") else "settings.toml: "
        return [
            Finding(
                f"receiver settings wrong, config/receiver/{place}{sentence}",
                # Nothing to see there if it is a key or its value.
                "ls -l secrets config/receiver" if "cannot be read" in sentence else "",
                code=USAGE,
            )
        ]
    return []
