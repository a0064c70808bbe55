"""What the commands know of this deployment: the rendered answers and facts, and where files are.

Reads `ops/deployment.json` (what is rendered) or `state/applied/deployment.json` (what runs); writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Problem

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Deployment:
    """The answers and facts of one deployment, as rendered or as applied.

    `facts` is the parsed deployment.json. `root` is the folder of the rendered repository.
    """

    facts: dict[str, Any]
    root: Path

    @property
    def name(self) -> str:
        """Compose project name; prefix of containers, volumes and networks."""
        return str(self.facts["deployment_name"])

    @property
    def release(self) -> str:
        """Clair release without a leading v, such as `4.9.0`."""
        return str(self.facts["clair_release"])

    @property
    def architecture(self) -> str:
        """Architecture of the images: amd64, arm64, ppc64le or s390x."""
        return str(self.facts["architecture"])

    @property
    def bundled_database(self) -> bool:
        """True if this deployment runs its own PostgreSQL."""
        return bool(self.facts["database"]["mode"] == "bundled")

    @property
    def secrets(self) -> Path:
        """Folder of the secret files (0700)."""
        return self.root / "secrets"

    @property
    def state(self) -> Path:
        """Folder of everything made on this machine that is not a secret's source."""
        return self.root / "state"

    @property
    def applied(self) -> Path:
        """Folder that the containers mount; written by up, database, traefik and services."""
        return self.state / "applied"

    def secret(self, name: str) -> str:
        """Return the content of `secrets/NAME` without the newline at its end.

        Raises Problem (2) if the file is missing or cannot be read.
        """
        path = self.secrets / name
        try:
            return path.read_text(encoding="utf-8").rstrip("\n")
        except FileNotFoundError as error:
            raise Problem(f"secret missing, secrets/{name}: no such file", "make secrets") from error
        except OSError as error:
            raise Problem(f"secret unreadable, secrets/{name}: {error.strerror}", "ls -l secrets") from error


def load_deployment(root: Path = ROOT, applied: bool = True) -> Deployment:
    """Return the applied deployment, or the rendered one if nothing is applied yet or `applied` is false.

    Raises Problem (2) if the file cannot be read as JSON, which conflict markers of an update cause.
    """
    path = root / "state" / "applied" / "deployment.json"
    if not applied or not path.exists():
        path = root / "ops" / "deployment.json"
    try:
        return Deployment(json.loads(path.read_text(encoding="utf-8")), root)
    except (OSError, ValueError) as error:
        raise Problem(
            f"settings unreadable, {path.relative_to(root)}: {error}",
            "git diff -- ops/deployment.json; git checkout --theirs -- ops/deployment.json",
        ) from error
