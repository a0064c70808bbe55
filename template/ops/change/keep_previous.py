"""Keeps what was applied before a change: `state/previous/`, a copy of `state/applied/`, for the way back.

Written before the first part is swapped, under another name first, so that it is whole or not there.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Dict, List, Tuple

from ..errors import USAGE, Problem
from ..host.write_files import make_folder, read_tree, write_tree
from ..settings import Deployment
from ..state.apply_state import applied_tree, swap_in
from ..state.build_parts import PARTS, PSK_DROP_IN, Tree, pgpass

_TOP = "top"


def save_previous(deployment: Deployment) -> None:
    """Copy the applied parts and top files to `state/previous/`, in place of an older copy.

    Only while the applied state is still that of before the change.
    """
    new = deployment.state / "previous.new"
    shutil.rmtree(new, ignore_errors=True)
    make_folder(new, 0o700)
    for name in PARTS:
        if (deployment.applied / name).is_dir():
            write_tree(new / name, applied_tree(deployment, name))
    write_tree(new / _TOP, _top(deployment.applied))
    drop_previous(deployment)
    new.rename(_folder(deployment))


def previous(deployment: Deployment) -> Tuple[Dict[str, Tree], Tree]:
    """Return the parts and the top files that were saved. Raises Problem (2) if there are none."""
    folder = _folder(deployment)
    top = read_tree(folder / _TOP)
    if "deployment.json" not in top:
        raise Problem(f"nothing to return to, {deployment.name}: state/previous is missing", "./clair up", USAGE)
    return {name: read_tree(folder / name) for name in PARTS if (folder / name).is_dir()}, top


def previous_deployment(deployment: Deployment) -> Deployment:
    """Return the deployment as it was applied before the change. Raises Problem (2) as `previous` does."""
    return Deployment(json.loads(previous(deployment)[1]["deployment.json"]), deployment.root)


def return_to_previous(deployment: Deployment) -> List[str]:
    """Bring what was saved back into `state/applied/`; return the names of what changed.

    Containers have to be started after it. Safe to run again. Raises Problem (2) as `previous` does.
    """
    parts, top = previous(deployment)
    return swap_in(previous_deployment(deployment), with_secrets_of_now(deployment, parts), top)


def with_secrets_of_now(deployment: Deployment, parts: Dict[str, Tree]) -> Dict[str, Tree]:
    """Return saved parts with the secrets as they are now: one that was rotated since is the only one that works."""
    renewed = {name: dict(tree) for name, tree in parts.items()}
    for name, tree in renewed.items():
        if "pgpass" in tree:
            roles = [line.split(":")[3] for line in tree["pgpass"].decode().splitlines() if line.count(":") >= 4]
            tree["pgpass"] = pgpass(deployment, roles)
        for path in ("config.yaml", PSK_DROP_IN):
            if path in tree:
                tree[path] = _with_key(tree[path], deployment.secret("psk"))
        if name == "receiver" and "psk" in tree:
            tree["psk"] = deployment.secret("psk").encode()
            for path in [path for path in tree if path.startswith("secrets/")]:
                tree[path] = deployment.secret(path[len("secrets/") :]).encode()
        if name == "database" and "superuser-password" in tree:
            tree["superuser-password"] = deployment.secret("database-superuser").encode()
    return renewed


def _with_key(content: bytes, key: str) -> bytes:
    """Return a config of ours (JSON, where it holds the key) with this pre-shared key; any other file as it is."""
    try:
        document = json.loads(content)
        if document["auth"]["psk"]["key"] == key:
            return content
        document["auth"]["psk"]["key"] = key
    except (ValueError, KeyError, TypeError):
        # A config as the operator reads it: YAML, without a key.
        return content
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def drop_previous(deployment: Deployment) -> None:
    """Delete what was saved."""
    shutil.rmtree(_folder(deployment), ignore_errors=True)


def _folder(deployment: Deployment) -> Path:
    return deployment.state / "previous"


def _top(applied: Path) -> Tree:
    """Return the files at the top of the applied state but for the overlay, which is made anew for the folders of then."""
    return {
        path.name: path.read_bytes() for path in applied.iterdir() if path.is_file() and path.name != "overlay.json"
    }
