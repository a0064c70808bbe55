"""Puts beside the dumps what a person needs to bring the deployment back: answers, facts, Compose file, applied configs.

Only what holds no secret: passwords, keys and the operator's drop-ins stay out, and so does any file in which the content of a
file of `secrets/` stands (before Clair 4.7 that is each service's whole config).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

from ..host.write_files import make_folder, read_tree, write_file
from ..settings import Deployment
from .build_parts import CLAIR_SERVICES

ANSWERS = ".copier-answers.yml"
# Shorter ones would fit everywhere, and are none.
_SECRET_CHARACTERS = 8


def copy_state(deployment: Deployment, folder: Path) -> None:
    """Write the files into the folder of a backup. Raises Problem (2) if the disk is full."""
    for name, content in sorted(kept_files(deployment).items()):
        for parent in reversed(list(Path(name).parents)[:-1]):
            make_folder(folder / parent, 0o700)
        write_file(folder / name, content, 0o600)


def kept_files(deployment: Deployment) -> Dict[str, bytes]:
    """Return the files by their path in the backup."""
    applied = deployment.applied
    # Those that what is applied was rendered from; after `copier update` the rendered ones are of what is to come.
    answers = applied / "copier-answers.yml"
    found: Dict[str, bytes] = {}
    for name, path in (
        ("copier-answers.yml", answers if answers.is_file() else deployment.root / ANSWERS),
        ("deployment.json", applied / "deployment.json"),
        ("compose.yaml", applied / "compose.yaml"),
        *((f"applied-config/{service}/config.yaml", applied / service / "config.yaml") for service in CLAIR_SERVICES),
    ):
        if path.is_file():
            found[name] = path.read_bytes()
    for name, content in read_tree(applied / "traefik").items():
        if name.endswith(".yaml") and not name.endswith("maintenance.yaml"):
            found[f"applied-config/traefik/{name}"] = content
    secrets = _secrets(deployment)
    return {name: content for name, content in found.items() if not any(secret in content for secret in secrets)}


def _secrets(deployment: Deployment) -> List[bytes]:
    folder = deployment.secrets
    contents = (
        [path.read_bytes().strip() for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
    )
    return [content for content in contents if len(content) >= _SECRET_CHARACTERS]
