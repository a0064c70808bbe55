"""Shows what is rendered but not applied: a unified diff from `state/applied/` to what `up` would put there (`diff`).

Reads both, writes nothing. Secrets are masked: a file that is nothing but a secret is only named, and keys and passwords
inside other files are replaced. Exit codes: 0 no difference; 1 some; 2 something cannot be read.
"""

from __future__ import annotations

import re
from difflib import unified_diff
from typing import Dict, List

from ..errors import NO
from ..host.read_arguments import Parser
from ..settings import Deployment, load_deployment
from .apply_state import applied_tree
from .build_parts import PARTS, build_parts, top_files

_SECRET_FILES = ("pgpass", "superuser-password", "psk", "tls.key", "zz-psk.yaml")
_MASK = "<secret>"


def differences(deployment: Deployment) -> List[str]:
    """Return the lines of the diff, masked; none if all is applied.

    Raises Problem (2) if a secret is missing or a file cannot be read.
    """
    before: Dict[str, bytes] = {}
    after = dict(top_files(deployment))
    for name in after:
        path = deployment.applied / name
        if path.is_file():
            before[name] = path.read_bytes()
    override = deployment.applied / "compose.override.yaml"
    if override.is_file():
        before[override.name] = override.read_bytes()
    for part in PARTS:
        before.update({f"{part}/{name}": content for name, content in applied_tree(deployment, part).items()})
    for part, tree in build_parts(deployment).items():
        after.update({f"{part}/{name}": content for name, content in tree.items()})
    lines: List[str] = []
    for name in sorted({*before, *after}):
        lines += file_difference(name, before.get(name), after.get(name))
    return lines


def file_difference(name: str, before: "bytes | None", after: "bytes | None") -> List[str]:
    """Return the diff of one file; None stands for a file that is not there."""
    if before == after:
        return []
    if name.rpartition("/")[2] in _SECRET_FILES or name.startswith("receiver/secrets/"):
        change = "new" if before is None else "removed" if after is None else "changed"
        return [f"secret {change}: {name}"]
    try:
        old, new = ((content or b"").decode("utf-8") for content in (before, after))
    except UnicodeDecodeError:
        return [f"binary file differs: {name}"]
    source = "/dev/null" if before is None else f"applied/{name}"
    target = "/dev/null" if after is None else f"rendered/{name}"
    lines = list(unified_diff(mask(old).splitlines(), mask(new).splitlines(), source, target, lineterm="", n=2))
    # Only what is masked differs.
    return lines or [f"secret changed: {name}"]


def mask(text: str) -> str:
    """Return text with the pre-shared key, and passwords in URLs and connection strings, replaced."""
    text = re.sub(r"""(["']?\bkey["']?\s*:\s*)("[^"]*"|'[^']*'|[A-Za-z0-9+/]{16,}=*)""", rf"\1{_MASK}", text)
    text = re.sub(r"(\w://[^\s/:@\"']*):[^\s/@\"']*@", rf"\1:{_MASK}@", text)
    return re.sub(r"(?i)(\bpassword\s*[=:]\s*)[^\s\"']+", rf"\1{_MASK}", text)


def main(argv: List[str]) -> int:
    """Run `diff`."""
    parser = Parser("diff", "Show what is rendered but not applied; exit 1 if there is a difference.")
    parser.parse_args(argv)
    lines = differences(load_deployment(applied=False))
    for line in lines:
        print(line)
    return NO if lines else 0
