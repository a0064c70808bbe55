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

from ..host.write_files import make_folder, read_tree, write_file, write_tree
from ..settings import Deployment
from .build_parts import PARTS, Tree, build_parts, top_files
from .name_images import IMAGE_NAMES

# The volume that holds the data, where a database-upgrade has made a new one (change/upgrade_database.py). No rendered file
# names it, so it stays whatever is rendered.
DATABASE_VOLUME = "database-volume"
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
# Part: a file that is written into the applied folder while its container runs (by change/freeze_edge.py, by scans); it is no
# part of what is rendered, and recreates nothing.
_IN_PLACE = {"traefik": "dynamic/maintenance.yaml", "receiver": IMAGE_NAMES}


def overlay(deployment: Deployment, parts: Dict[str, Tree], volume: str = "") -> Dict[str, Any]:
    """Return the Compose file that makes Compose recreate exactly the containers whose parts changed.

    It also carries the proxy's URL where that is a secret, because Clair takes a proxy from its environment only, and the
    name of the volume that holds the data where that is not Compose's own for `database`.
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
    volumes = {"volumes": {"database": {"name": volume}}} if volume and deployment.bundled_database else {}
    return {"services": services, **volumes}


def _folder_number(deployment: Deployment, part: str) -> str:
    """Return the inode of a part's folder; a container keeps the folder it was started with, whatever is in a new one.

    So it is recreated as well where `state/` was lost, or where a change was undone after a start that failed.
    """
    try:
        return str((deployment.applied / part).stat().st_ino)
    except FileNotFoundError:
        return "none"


def applied_tree(deployment: Deployment, part: str) -> Tree:
    """Return the files of an applied part, without what was put beside them while its container runs."""
    tree = read_tree(deployment.applied / part)
    tree.pop(_IN_PLACE.get(part, ""), None)
    return tree


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
        name for name, tree in parts.items() if not (applied / name).is_dir() or applied_tree(deployment, name) != tree
    ]
    for name in changed:
        write_tree(state / "applied.new" / name, {**parts[name], **_in_place(deployment, name)})
    for name in changed:
        if (applied / name).is_dir():
            make_folder(state / "applied.old", 0o755)
            (applied / name).rename(state / "applied.old" / f"{name}.{time.time_ns()}")
        (state / "applied.new" / name).rename(applied / name)
    everything = {name: parts[name] if name in parts else applied_tree(deployment, name) for name in PARTS}
    kept = applied / DATABASE_VOLUME
    volume = top.get(DATABASE_VOLUME, kept.read_bytes() if kept.is_file() else b"").decode().strip()
    content = json.dumps(overlay(deployment, everything, volume), indent=1, sort_keys=True)
    top = {**top, "overlay.json": content.encode()}
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


def _in_place(deployment: Deployment, part: str) -> Tree:
    """Return what was put into a part while its container runs: an edge that is closed to writes stays closed in a new folder."""
    name = _IN_PLACE.get(part, "")
    path = deployment.applied / part / name
    return {name: path.read_bytes()} if name and path.is_file() else {}


def _finish_interrupted(deployment: Deployment) -> None:
    """Bring back a part that was moved away by a command that ended before the new one was in place."""
    shutil.rmtree(deployment.state / "applied.new", ignore_errors=True)
    old = deployment.state / "applied.old"
    for path in sorted(old.iterdir(), reverse=True) if old.is_dir() else []:
        part = path.name.partition(".")[0]
        if not (deployment.applied / part).exists():
            path.rename(deployment.applied / part)
