"""Assembles `state/applied/`, all that containers mount, from the rendered files, the secrets and the operator's files.

A part is one folder that one or more services mount. A changed part is written to `state/applied.new/`, then renamed into
place; the old folder moves to `state/applied.old/` and stays until its containers are recreated, because a running
container keeps the folder it was started with. An unchanged part is not touched. `deployment.json` is swapped last: it
says which release is applied. Folders are 0755 and files 0444 below `state/` (0700), whatever the umask.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from typing import Any, Dict, Iterable, List, Sequence

from .build_parts import PARTS, Tree, build_parts, top_files
from .settings import Deployment
from .write_files import make_folder, read_tree, write_file, write_tree

DIGEST_LABEL = "clair.config-digest"
# Which parts a change of which recreates a container. Not clair-database: PostgreSQL reads its part only when it makes a
# new data folder, so a new superuser password must not restart it.
_MOUNTS = {
    "indexer": ("indexer", "ca"),
    "matcher": ("matcher", "ca"),
    "notifier": ("notifier", "ca"),
    "traefik": ("traefik",),
    "receiver": ("receiver",),
}


def overlay(deployment: Deployment, parts: Dict[str, Tree]) -> Dict[str, Any]:
    """Return the Compose file that makes Compose recreate exactly the containers whose parts changed.

    It also carries the proxy's URL where that is a secret, because Clair takes a proxy from its environment only.
    """
    services: Dict[str, Any] = {}
    for name in deployment.facts["services"]:
        if name in _MOUNTS:
            content = digest(parts.get(part, {}) for part in _MOUNTS[name])
            folders = [_folder_number(deployment, part) for part in _MOUNTS[name]]
            services[name] = {"labels": {DIGEST_LABEL: "-".join([content, *folders])}}
    proxy_url = deployment.secrets / "proxy-url"
    if proxy_url.is_file():
        proxy = deployment.facts.get("proxy", {})
        # `$` would start a variable of Compose.
        url = deployment.secret("proxy-url").replace("$", "$$")
        variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": ",".join(proxy.get("exceptions", []))}
        # clairctl goes out for `feeds-export`.
        for name in [*(proxy.get("services") or ["indexer", "matcher"]), "clairctl"]:
            services.setdefault(name, {})["environment"] = variables
    return {"services": services}


def _folder_number(deployment: Deployment, part: str) -> str:
    """Return the inode of a part's folder; a container keeps the folder it was started with, whatever is in a new one.

    So it is recreated as well where `state/` was lost, or where a change was undone after a start that failed.
    """
    try:
        return str((deployment.applied / part).stat().st_ino)
    except FileNotFoundError:
        return "none"


def digest(trees: Iterable[Tree]) -> str:
    """Return the sha256 of the names and contents of files."""
    total = hashlib.sha256()
    for tree in trees:
        for name, content in sorted(tree.items()):
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
        total.update(b"\0")
    return total.hexdigest()


def apply_state(deployment: Deployment, names: Sequence[str] = PARTS) -> List[str]:
    """Bring parts and the top files of `state/applied/` to what is rendered; return the names of what changed.

    The lock must be held. Raises Problem (2) as `build_parts` does, then nothing has changed.
    """
    return swap_in(deployment, build_parts(deployment, names), top_files(deployment))


def swap_in(deployment: Deployment, parts: Dict[str, Tree], top: Tree) -> List[str]:
    """Write and swap in the parts and top files that differ from `state/applied/`; return the names of what changed.

    Safe to run again after it was cut short at any point.
    """
    applied, state = deployment.applied, deployment.state
    make_folder(state, 0o700)
    make_folder(applied, 0o755)
    _finish_interrupted(deployment)
    changed = [
        name for name, tree in parts.items() if not (applied / name).is_dir() or read_tree(applied / name) != tree
    ]
    for name in changed:
        write_tree(state / "applied.new" / name, parts[name])
    for name in changed:
        if (applied / name).is_dir():
            make_folder(state / "applied.old", 0o755)
            (applied / name).rename(state / "applied.old" / f"{name}.{time.time_ns()}")
        (state / "applied.new" / name).rename(applied / name)
    everything = {name: parts[name] if name in parts else read_tree(applied / name) for name in PARTS}
    top = {**top, "overlay.json": json.dumps(overlay(deployment, everything), indent=1, sort_keys=True).encode()}
    for name in sorted(top, key=lambda name: name == "deployment.json"):
        path = applied / name
        if not path.is_file() or path.read_bytes() != top[name]:
            write_file(path, top[name], 0o444)
            changed.append(name)
    if "compose.override.yaml" not in top and (applied / "compose.override.yaml").exists():
        (applied / "compose.override.yaml").unlink()
        changed.append("compose.override.yaml")
    shutil.rmtree(state / "applied.new", ignore_errors=True)
    return changed


def drop_old_parts(deployment: Deployment) -> None:
    """Delete the folders that containers mounted before they were recreated."""
    shutil.rmtree(deployment.state / "applied.old", ignore_errors=True)


def _finish_interrupted(deployment: Deployment) -> None:
    """Bring back a part that was moved away by a command that ended before the new one was in place."""
    shutil.rmtree(deployment.state / "applied.new", ignore_errors=True)
    old = deployment.state / "applied.old"
    for path in sorted(old.iterdir(), reverse=True) if old.is_dir() else []:
        part = path.name.partition(".")[0]
        if not (deployment.applied / part).exists():
            path.rename(deployment.applied / part)
