"""Rendered deployment repositories, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

SERVICES = ("indexer", "matcher", "notifier")


@dataclass(frozen=True)
class Project:
    """A rendered repository; whoever gets one from a session fixture only reads it."""

    folder: Path

    def text(self, path: str) -> str:
        """Return the text of a rendered file."""
        return (self.folder / path).read_text(encoding="utf-8")

    def yaml(self, path: str) -> Any:
        """Return a rendered YAML file, parsed."""
        return yaml.safe_load(self.text(path))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """ops/deployment.json: what the commands know of this deployment."""
        parsed: dict[str, Any] = json.loads(self.text("ops/deployment.json"))
        return parsed

    @property
    def clair_services(self) -> list[str]:
        """The Clair services that have a config here."""
        return [name for name in SERVICES if (self.folder / "config" / name / "config.yaml").exists()]

    def config(self, service: str) -> dict[str, Any]:
        """Return the config of a Clair service."""
        parsed: dict[str, Any] = self.yaml(f"config/{service}/config.yaml")
        return parsed

    def files(self) -> dict[str, Path]:
        """Return every rendered file by its path in the repository, .git and compiled Python left out."""
        found = (path for path in self.folder.rglob("*") if path.is_file() or path.is_symlink())
        named = {path.relative_to(self.folder).as_posix(): path for path in found}
        skipped = (".git/", "__pycache__/")
        return {name: named[name] for name in sorted(named) if not any(part in f"/{name}" for part in skipped)}
