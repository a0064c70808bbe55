"""Builds what containers mount, in memory: one part per folder, from rendered files, secrets and the operator's files.

Reads `config/`, `traefik/`, `secrets/` and the files at the top; writes nothing. `apply_state` brings the result to
`state/applied/`.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence

from ..errors import Problem
from ..host.write_files import read_tree
from ..settings import Deployment
from .create_secrets import database_roles
from .merge_config import config_folder, drop_ins, merge, merged_config, read_config
from .read_target import secret_target

CLAIR_SERVICES = ("indexer", "matcher", "notifier")
PARTS = ("database", *CLAIR_SERVICES, "ca", "traefik", "receiver", "tools")
# Read after the operator's drop-ins, so that no drop-in takes the key away.
PSK_DROP_IN = "config.yaml.d/zz-psk.yaml"

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
    answers = deployment.root / ".copier-answers.yml"
    if answers.is_file():
        # For the backups: the answers that what is applied was rendered from.
        tree["copier-answers.yml"] = answers.read_bytes()
    return tree


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
    if service == "notifier" and (target := secret_target(deployment)):
        settings["notifier"] = target
    return settings


def _clair_part(deployment: Deployment, service: str) -> Tree:
    folder = config_folder(deployment, service)
    tree = _files(folder)
    tree["pgpass"] = pgpass(deployment, [service])
    settings = _secret_settings(deployment, service)
    if deployment.facts["release"]["drop_ins"]:
        tree.update({f"config.yaml.d/{path.name}": path.read_bytes() for path in drop_ins(deployment, service)})
        tree[PSK_DROP_IN] = _json(settings)
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
    for path in sorted((deployment.root / "ops" / "receiving").glob("*.py")):
        tree[f"receiver/{path.name}"] = path.read_bytes()
    tree["psk"] = deployment.secret("psk").encode()
    for name in _named_secrets(tree.get("settings.toml", b"").decode(errors="replace")):
        tree[f"secrets/{name}"] = deployment.secret(name).encode()
    own = _files(deployment.root / "config" / "ca")
    if own:
        tree["ca.pem"] = b"\n".join(own.values()) + b"\n"
    return tree


def _named_secrets(settings: str) -> Sequence[str]:
    """Return the files that settings.toml names; the receiver says what else is wrong with it (Python 3.9 reads no TOML)."""
    named = re.findall(r"""^\s*(?:url|key|password)_file\s*=\s*["']([^"'\n]+)["']""", settings, re.MULTILINE)
    plain = {name[len("secrets/") :] if name.startswith("secrets/") else name for name in named}
    return sorted(name for name in plain if "/" not in name and not name.startswith("."))


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
        "pgpass": pgpass(deployment, _tool_roles(deployment)),
        "ca-bundle.pem": _ca_bundle(deployment),
    }


def _tool_roles(deployment: Deployment) -> List[str]:
    """Return the roles that the tools connect as: a notifier that was taken out has left a database, which a way back loads."""
    roles = database_roles(deployment)
    left = [
        name for name in CLAIR_SERVICES if name not in roles and (deployment.secrets / f"database-{name}").is_file()
    ]
    return [*roles, *left]


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
