"""Facts of data/: Clair releases, the images beside Clair, sizes, feed families and config keys.

No module of this folder imports a sibling at run time: during `copier update` the old and the new template run in one
process, and an ordinary import would hand the new one the old one's module. `gate.py` loads each from its own folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Catalogue", "load_catalogue", "read_yaml", "version_key"]


def version_key(version: str) -> tuple[int, ...]:
    """Return `4.10.1` as `(4, 10, 1)`, for comparing final releases."""
    return tuple(int(part) for part in version.split("."))


@dataclass(frozen=True)
class Catalogue:
    """The parsed files of data/, one attribute per file."""

    clair: Mapping[str, Any]
    components: Mapping[str, Any]
    sizes: Mapping[str, Any]
    families: Mapping[str, Any]
    config_keys: Mapping[str, Any]

    @property
    def releases(self) -> list[str]:
        """Every supported release, oldest first."""
        return sorted(self.clair["releases"], key=version_key)

    @property
    def newest(self) -> str:
        """The newest supported release: what `clair_version: newest` means."""
        return self.releases[-1]

    @property
    def architectures(self) -> list[str]:
        """Every architecture that some supported release has an image for, in the catalogue's order."""
        seen: dict[str, None] = {}
        for version in reversed(self.releases):
            seen.update(dict.fromkeys(self.clair["releases"][version]["platforms"]))
        return list(seen)

    @property
    def size_names(self) -> list[str]:
        """Every deployment_size, smallest first."""
        return list(self.sizes["sizes"])

    @property
    def database_majors(self) -> list[str]:
        """Every PostgreSQL major of the bundled database, oldest first."""
        return list(self.components["postgres"]["majors"])

    @property
    def family_names(self) -> list[str]:
        """Every feed family."""
        return sorted(self.families["families"])

    @property
    def enrichment_name(self) -> str:
        """The updater set that loads CVSS scores and no vulnerabilities."""
        return str(next(iter(self.families["enrichment"])))

    @property
    def default_families(self) -> list[str]:
        """The feed families that are loaded unless somebody chooses."""
        return [name for name in self.family_names if self.families["families"][name].get("default", True)]

    def family(self, name: str, version: str) -> dict[str, Any]:
        """Return what a feed family (or the enrichment) is in this release: its keys, overlaid by what later releases changed."""
        entry = {**self.families["families"], **self.families["enrichment"]}[name]
        resolved = {key: value for key, value in entry.items() if key not in ("releases", "default")}
        for change in entry["releases"]:
            if version_key(change["from"]) <= version_key(version):
                resolved.update({key: value for key, value in change.items() if key != "from"})
        return resolved

    def release(self, version: str) -> Mapping[str, Any]:
        """Return the facts of one supported release; raises KeyError for any other."""
        entry: Mapping[str, Any] = self.clair["releases"][version]
        return entry

    def release_number(self, version: str) -> int:
        """Return a number that grows with the release, whatever releases the catalogue holds: 4.9.0 gives 4009000."""
        major, minor, patch = version_key(version)
        return (major * 1000 + minor) * 1000 + patch

    def upgrade_steps(self, version: str) -> dict[str, Any]:
        """Return what an upgrade to this release may have to do beside migrations: admin steps before and after, repairs."""
        release = self.release(version)
        steps = self.clair["admin_steps"]
        admin = {
            when: [{"version": name, **steps[when][name]} for name in release["admin"][when]]
            for when in ("pre", "post")
        }
        repairs = [step for step in self.clair["repairs"] if release["schema"][step["service"]] >= step["schema"]]
        return {"admin": admin, "repairs": repairs}

    def refusal_reason(self, version: str) -> str | None:
        """Return why a version that is no supported release is refused, or None if nothing is known of it."""
        for entry in self.clair["refused"]:
            if re.fullmatch(entry["match"], version):
                return str(entry["reason"])
        return None

    def keys_of(self, version: str, service: str) -> list[str]:
        """Return the dotted config keys that `service` may hold in this release, sorted."""
        release = self.release(version)
        keys = set(self.config_keys["keysets"][release["config_keys"]])
        keys |= set(release.get("config_keys_added", []))
        keys -= set(release.get("config_keys_removed", []))
        sections = self.config_keys["sections"]
        return sorted(key for key in keys if service in sections[key.split(".")[0]])


def read_yaml(path: Path) -> Any:
    """Return a parsed YAML file; by libyaml where PyYAML has it, which takes a tenth of the time."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both are safe loaders


def load_catalogue(folder: Path) -> Catalogue:
    """Read the data files in `folder`; raises OSError or yaml.YAMLError if the template itself is damaged."""
    return Catalogue(
        clair=read_yaml(folder / "clair.yaml"),
        components=read_yaml(folder / "components.yaml"),
        sizes=read_yaml(folder / "sizes.yaml"),
        families=read_yaml(folder / "families.yaml"),
        config_keys=json.loads((folder / "clair-config-keys.json").read_text(encoding="utf-8")),
    )
