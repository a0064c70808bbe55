"""Assembles `state/applied/`, all that containers mount, from the rendered files, the secrets and the operator's files.

A part is one folder that one or more services mount. A changed part is written to `state/applied.new/`, then renamed into
place; the old folder moves to `state/applied.old/` and stays until its containers are recreated, because a running
container keeps the folder it was started with. An unchanged part is not touched. `deployment.json` is swapped last: it
says which release is applied. Folders are 0755 and files 0444 below `state/` (0700), whatever the umask.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence

from .create_secrets import database_roles
from .errors import Problem
from .merge_config import config_folder, drop_ins, merge, merged_config, read_config
from .settings import Deployment
from .write_files import make_folder, read_tree, write_file, write_tree

CLAIR_SERVICES = ("indexer", "matcher", "notifier")
PARTS = ("database", *CLAIR_SERVICES, "ca", "traefik", "receiver", "tools")
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
# Read after the operator's drop-ins, so that no drop-in takes the key away.
_PSK_DROP_IN = "config.yaml.d/zz-psk.yaml"

Tree = Dict[str, bytes]


def build_parts(deployment: Deployment, names: Iterable[str] = PARTS) -> Dict[str, Tree]:
    """Return the content of parts as rendered now; reads files, writes nothing.

    Raises Problem (2) if a secret is missing or a config cannot be read.
    """
    services = deployment.facts["services"]
    parts: Dict[str, Tree] = {}
    for name in names:
        if name in CLAIR_SERVICES and name in services:
            parts[name] = _clair_part(deployment, name)
        elif name == "database" and deployment.bundled_database:
            parts[name] = {"superuser-password": deployment.secret("database-superuser").encode()}
        elif name == "ca":
            parts[name] = _files(deployment.root / "config" / "ca")
        elif name == "traefik":
            parts[name] = _traefik_part(deployment)
        elif name == "receiver" and name in services:
            parts[name] = _receiver_part(deployment)
        elif name == "tools":
            parts[name] = _tools_part(deployment)
    return parts


def top_files(deployment: Deployment) -> Tree:
    """Return the files at the top of the applied state as rendered now, without the overlay."""
    files = {"compose.yaml": "compose.yaml", "env": ".env", "deployment.json": "ops/deployment.json"}
    tree: Tree = {}
    for name, source in files.items():
        try:
            tree[name] = (deployment.root / source).read_bytes()
        except OSError as error:
            raise Problem(f"file missing, {source}: {error.strerror}", f"git checkout -- {source}") from error
    override = deployment.root / "compose.override.yaml"
    if override.is_file():
        tree["compose.override.yaml"] = override.read_bytes()
    return tree


def overlay(deployment: Deployment, parts: Dict[str, Tree]) -> Dict[str, Any]:
    """Return the Compose file that makes Compose recreate exactly the containers whose parts changed.

    It also carries the proxy's URL where that is a secret, because Clair takes a proxy from its environment only.
    """
    services: Dict[str, Any] = {}
    for name in deployment.facts["services"]:
        if name in _MOUNTS:
            services[name] = {"labels": {DIGEST_LABEL: digest(parts.get(part, {}) for part in _MOUNTS[name])}}
    proxy_url = deployment.secrets / "proxy-url"
    if proxy_url.is_file():
        proxy = deployment.facts.get("proxy", {})
        # `$` would start a variable of Compose.
        url = deployment.secret("proxy-url").replace("$", "$$")
        variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": ",".join(proxy.get("exceptions", []))}
        for name in proxy.get("services") or ["indexer", "matcher"]:
            services.setdefault(name, {})["environment"] = variables
    return {"services": services}


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


def _files(folder: Path) -> Tree:
    """Return the files directly in a folder that may be missing; hidden ones (.gitkeep) do not count."""
    if not folder.is_dir():
        return {}
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _secret_settings(deployment: Deployment, service: str) -> Dict[str, Any]:
    """Return what the rendered config leaves out because it is secret: the key, and a delivery's URL with a password."""
    settings: Dict[str, Any] = {"auth": {"psk": {"key": deployment.secret("psk")}}}
    delivery = deployment.facts.get("notifier_delivery")
    if (
        service == "notifier"
        and delivery in ("webhook", "amqp", "stomp")
        and (deployment.secrets / "notifier-target").is_file()
    ):
        target = deployment.secret("notifier-target")
        settings["notifier"] = {delivery: {"target": target} if delivery == "webhook" else {"uris": [target]}}
    return settings


def _clair_part(deployment: Deployment, service: str) -> Tree:
    folder = config_folder(deployment, service)
    tree = _files(folder)
    tree["pgpass"] = pgpass(deployment, [service])
    settings = _secret_settings(deployment, service)
    if deployment.facts["release"]["drop_ins"]:
        tree.update({f"config.yaml.d/{path.name}": path.read_bytes() for path in drop_ins(deployment, service)})
        tree[_PSK_DROP_IN] = _json(settings)
    else:
        # Clair <= 4.6 reads the main file only.
        tree["config.yaml"] = _json(merge(read_config(deployment, folder / "config.yaml"), settings))
    return tree


def _traefik_part(deployment: Deployment) -> Tree:
    tree = read_tree(deployment.root / "traefik")
    if deployment.facts["edge"]["tls"] == "files":
        for name in ("tls.crt", "tls.key"):
            tree[name] = (deployment.secret(name) + "\n").encode()
    return tree


def _receiver_part(deployment: Deployment) -> Tree:
    tree = _files(deployment.root / "config" / "receiver")
    tree["receiver.py"] = (deployment.root / "ops" / "receiver.py").read_bytes()
    tree["psk"] = deployment.secret("psk").encode()
    return tree


def _tools_part(deployment: Deployment) -> Tree:
    indexer, matcher = (merged_config(deployment, service) for service in ("indexer", "matcher"))
    config = {
        "indexer": {"connstring": indexer.get("indexer", {}).get("connstring", "")},
        "matcher": {key: matcher.get("matcher", {}).get(key, "") for key in ("connstring", "indexer_addr")},
        "auth": merge(indexer.get("auth", {}), {"psk": {"key": deployment.secret("psk")}}),
    }
    if "updaters" in matcher:
        # Export and import of feeds follow the matcher's own sets.
        config["updaters"] = matcher["updaters"]
    return {
        "config.yaml": _json(config),
        "pgpass": pgpass(deployment, database_roles(deployment)),
        "ca-bundle.pem": _ca_bundle(deployment),
    }


def _ca_bundle(deployment: Deployment) -> bytes:
    """Return the operator's CAs, and this host's where they decide on an external database (libpq takes one file)."""
    system = b""
    if not deployment.bundled_database:
        path = ssl.get_default_verify_paths().cafile
        system = Path(path).read_bytes() if path and os.access(path, os.R_OK) else b""
    own = _files(deployment.root / "config" / "ca")
    return b"".join(
        content if content.endswith(b"\n") else content + b"\n" for content in [*own.values(), system] if content
    )


def pgpass(deployment: Deployment, roles: Sequence[str]) -> bytes:
    """Return a password file of libpq for roles; any host, so that a drop-in may point at a pooler."""
    lines = []
    for role in roles:
        password = deployment.secret(f"database-{role}").replace("\\", "\\\\").replace(":", "\\:")
        lines.append(f"*:*:*:{role}:{password}\n")
    return "".join(lines).encode()
