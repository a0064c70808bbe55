"""Match an index report against the stored vulnerabilities (claircore internal/matcher, debian and alpine matchers)."""

from __future__ import annotations

from typing import Any

from . import version_comparison
from .config_loading import Config
from .matcher_store import MatcherStore, vulnerability_json
from .releases import Release

_ALL_MATCHERS = ("alpine-matcher", "debian-matcher", "ubuntu-matcher")
_FIXED = 24  # position of fixed_in_version in a row of id and VULNERABILITY_COLUMNS


class Matching:
    """Builds vulnerability reports."""

    def __init__(self, store: MatcherStore, config: Config, release: Release) -> None:
        self._store = store
        self._release = release
        names = config.get("matchers.names")
        self._enabled = [name for name in _ALL_MATCHERS if names is None or name in names]

    def report(self, index_report: dict[str, Any]) -> dict[str, Any]:
        """Return the vulnerability report of an index report."""
        vulnerabilities: dict[str, Any] = {}
        by_package: dict[str, list[str]] = {}
        for distribution_id, packages in self._packages_by_distribution(index_report).items():
            distribution = index_report["distributions"][distribution_id]
            conditions = self._conditions(distribution)
            if not conditions:
                continue
            names = sorted({pair for package in packages for pair in _names(package)})
            rows = self._store.find(names, conditions)
            by_name: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
            for row in rows:
                by_name.setdefault((row[8], row[12]), []).append(row)
            for package in packages:
                found = []
                for pair in dict.fromkeys(_names(package)):
                    for row in by_name.get(pair, []):
                        if version_comparison.is_vulnerable(
                            distribution["did"], package["version"], row[_FIXED] or "", self._release
                        ):
                            found.append(row)
                for row in found:
                    vulnerabilities[row[0]] = vulnerability_json(row, self._release)
                if found:
                    known = by_package.setdefault(package["id"], [])
                    known += [row[0] for row in found if row[0] not in known]
        return {
            "manifest_hash": index_report["manifest_hash"],
            "packages": index_report["packages"],
            "distributions": index_report["distributions"],
            "repository": index_report["repository"],
            "environments": index_report["environments"],
            "vulnerabilities": vulnerabilities,
            "package_vulnerabilities": by_package,
            "enrichments": {},
        }

    def _packages_by_distribution(self, index_report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        grouped: dict[str, list[dict[str, Any]]] = {}
        for identifier, package in index_report["packages"].items():
            for environment in index_report["environments"].get(identifier) or []:
                distribution_id = environment["distribution_id"]
                if distribution_id in index_report["distributions"]:
                    grouped.setdefault(distribution_id, []).append(package)
        return grouped

    def _conditions(self, distribution: dict[str, Any]) -> dict[str, str]:
        did, name = distribution["did"], distribution["name"]
        if "alpine-matcher" in self._enabled and (did == "alpine" or name == "Alpine Linux"):
            return {"dist_id": did, "dist_name": name, "dist_pretty_name": distribution["pretty_name"]}
        if "debian-matcher" in self._enabled and (did == "debian" or name == "Debian GNU/Linux"):
            return {"dist_id": did, "dist_name": name, "dist_version": distribution["version"]}
        if "ubuntu-matcher" in self._enabled and (did == "ubuntu" or name == "Ubuntu"):
            return {"dist_id": did, "dist_name": name, "dist_version": distribution["version"]}
        return {}


def _names(package: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [(package["name"], package.get("kind", ""))]
    source = package.get("source") or {}
    if source.get("name"):
        pairs.append((source["name"], source.get("kind", "")))
    return pairs
