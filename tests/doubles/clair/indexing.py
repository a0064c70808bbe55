"""Index a manifest: fetch layers, scan them, combine what was found (claircore indexer/controller, linux/coalescer.go)."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import http_client, version_comparison
from .config_loading import Config
from .indexer_store import IndexerStore
from .layer_contents import Layer, LayerFormatProblem
from .layer_fetching import FetchProblem, fetch_layer
from .layer_scanners import Findings, ScanProblem, scan_layer
from .log_lines import log
from .releases import Release

_REPOSITORY_MAP = "repository-to-cpe.json"
_CONTAINER_MAP = "container-name-repos-map.json"
# Distributions for which Clair's affected_manifest has a matcher that finds something (docs/notifications.md; seen with 4.9.0).
_REPORTED = ("debian", "ubuntu", "amzn")
_SEVERITIES = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")


class IndexProblem(Exception):
    """Indexing failed; `status` is the HTTP status of the answer."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class Indexer:
    """Indexes manifests; one manifest at a time each."""

    def __init__(self, store: IndexerStore, config: Config, release: Release) -> None:
        self._store = store
        self._release = release
        self._airgap = bool(config.get("indexer.airgap"))
        self._mapping = _MappingFile(config, release, self._airgap)

    def index(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return the report of a manifest, indexing it if that is due.

        Raises:
            IndexProblem: a layer cannot be fetched or read.
        """
        digest = manifest["hash"]
        log("info", "libindex/Libindex.Index", "index request start", manifest=digest)
        with self._store.exclusive(digest):
            try:
                if self._store.manifest_is_scanned(digest):
                    log("info", _CONTROLLER, "manifest already scanned", manifest=digest, state="CheckManifest")
                    stored = self._store.report(digest)
                    if stored is not None:
                        return stored
                log("info", _CONTROLLER, "manifest to be scanned", manifest=digest, state="CheckManifest")
                self._store.persist_manifest(manifest)
                return self._scan(manifest)
            finally:
                log("info", "libindex/Libindex.Index", "index request done", manifest=digest)

    def _scan(self, manifest: dict[str, Any]) -> dict[str, Any]:
        report: dict[str, Any] = {
            "manifest_hash": manifest["hash"], "state": "CheckManifest", "packages": {}, "distributions": {},
            "repository": {}, "environments": {}, "success": False, "err": "",
        }  # fmt: skip
        try:
            self._scan_layers(manifest)
            self._coalesce(manifest, report)
        except IndexProblem as problem:
            report.update(state="IndexError", err=str(problem))
            log("error", _CONTROLLER, "error during scan", manifest=manifest["hash"], error=str(problem))
            self._store.set_report(report, finished=False)
            raise
        report.update(state="IndexFinished", success=True)
        self._store.set_report(report, finished=True)
        log("info", _CONTROLLER, "manifest successfully scanned", manifest=manifest["hash"], state="IndexFinished")
        return report

    def _scan_layers(self, manifest: dict[str, Any]) -> None:
        due: dict[str, dict[str, Any]] = {}
        for layer in manifest["layers"]:
            if layer["hash"] not in due and not self._store.layer_is_scanned(layer["hash"]):
                due[layer["hash"]] = layer
        log("info", _CONTROLLER, "layers fetch start", manifest=manifest["hash"], state="FetchLayers")
        spools = {}
        try:
            with ThreadPoolExecutor(max_workers=4) as pool:
                futures = {
                    digest: pool.submit(fetch_layer, layer, self._release, self._airgap)
                    for digest, layer in due.items()
                }
                problems = []
                for digest, future in futures.items():
                    try:
                        spools[digest] = future.result()
                    except FetchProblem as problem:
                        problems.append(self._fetch_words(digest, problem))
            if problems:
                raise IndexProblem(f"failed to fetch layers: {problems[0]}")
            for digest, spool in spools.items():
                self._store.store_layer(digest, self._scan_one(digest, spool))
        finally:
            for spool in spools.values():
                spool.close()

    def _scan_one(self, digest: str, spool: Any) -> Findings:
        if spool.seek(0, 2) == 0 and not self._release.since("4.7.0"):
            raise IndexProblem(f"failed to fetch layers: {self._fetch_words(digest, FetchProblem('EOF'))}")
        try:
            layer = Layer(spool)
        except LayerFormatProblem as problem:
            words = f"claircore: layer {digest}: unable to create fs.FS: {problem}"
            text = f"fetcher: encountered errors: {words}"
            if not self._release.since("4.7.0"):
                text = self._fetch_words(digest, FetchProblem(problem))
            raise IndexProblem(f"failed to fetch layers: {text}", 400) from problem
        try:
            self._mapping.check()
            return scan_layer(layer, self._release)
        except ScanProblem as problem:
            where = f'layer "{digest}": ' if self._release.since("4.7.3") else ""
            raise IndexProblem(f"failed to scan all layer contents: {where}{problem}") from problem

    def _fetch_words(self, digest: str, problem: FetchProblem) -> str:
        if self._release.since("4.9.0"):
            return f"fetcher: encountered errors: {problem}"
        if self._release.since("4.7.0"):
            return f"fetcher: encountered errors: error realizing layer {digest}: {problem}"
        return f"encountered error while fetching a layer: error realizing layer {digest}: {problem}"

    def _coalesce(self, manifest: dict[str, Any], report: dict[str, Any]) -> None:
        found = [(layer["hash"], *self._store.layer_findings(layer["hash"])) for layer in manifest["layers"]]
        for _, _, distributions in found:
            for distribution in distributions:
                report["distributions"][distribution["id"]] = _distribution_json(distribution)
        chosen: dict[str, list[dict[str, Any]]] = {}
        for _, packages, _ in reversed(found):
            newest: dict[str, list[dict[str, Any]]] = {}
            for package in packages:
                if package["database"] not in chosen:
                    newest.setdefault(package["database"], []).append(package)
            chosen.update(newest)
        for database, packages in chosen.items():
            for package in packages:
                position = next(
                    index for index, (_, there, _) in enumerate(found)
                    if any(other["id"] == package["id"] and other["database"] == database for other in there)
                )  # fmt: skip
                report["packages"][package["id"]] = self._package_json(package)
                report["environments"].setdefault(package["id"], []).append(
                    {
                        "package_db": database,
                        "introduced_in": found[position][0],
                        "distribution_id": _distribution_at(found, position),
                        "repository_ids": None,
                    }
                )

    def _package_json(self, package: dict[str, Any]) -> dict[str, Any]:
        result = {"id": package["id"], "name": package["name"], "version": package["version"]}
        if package["kind"]:
            result["kind"] = package["kind"]
        if "source" in package:
            result["source"] = self._package_json(package["source"])
        if self._release.since("4.9.0"):
            result["normalized_version"] = ""
        if package["module"]:
            result["module"] = package["module"]
        if package["arch"]:
            result["arch"] = package["arch"]
        if self._release.since("4.9.0"):
            result["cpe"] = ""
        return result

    def affected(self, vulnerabilities: list[dict[str, Any]]) -> dict[str, Any]:
        """Say which manifests hold a package that one of these vulnerabilities affects."""
        manifests: dict[str, list[str]] = {}
        by_id = {str(entry.get("id", "")): self._complete(entry) for entry in vulnerabilities}
        for identifier, entry in by_id.items():
            distribution = entry.get("distribution") or {}
            did = distribution.get("did") or ""
            distribution_id = self._store.distribution_id(distribution) if did in _REPORTED else None
            if distribution_id is None:
                continue
            hashes: set[str] = set()
            for package_id, version in self._store.packages_named((entry.get("package") or {}).get("name", "")):
                if version_comparison.is_vulnerable(did, version, entry.get("fixed_in_version", ""), self._release):
                    hashes.update(self._store.manifests_with(package_id, distribution_id))
            for digest in hashes:
                manifests.setdefault(digest, []).append(identifier)
        for identifiers in manifests.values():
            identifiers.sort(key=lambda one: -_severity_rank(by_id[one]))
        return {"vulnerabilities": by_id, "vulnerable_manifests": manifests}

    def _complete(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Fill in what Clair's own type writes for an absent field."""
        result: dict[str, Any] = {name: entry.get(name) or "" for name in ("id", "updater", "name", "description")}
        result["issued"] = entry.get("issued") or "0001-01-01T00:00:00Z"
        result.update({name: entry.get(name) or "" for name in ("links", "severity")})
        result["normalized_severity"] = entry.get("normalized_severity") or "Unknown"
        for name in ("package", "distribution", "repository"):
            if entry.get(name) is not None:
                result[name] = dict(entry[name])
        if self._release.since("4.9.0"):
            for name in ("package", "repository"):
                if name in result:
                    result[name].setdefault("cpe", "")
            if "package" in result:
                result["package"].setdefault("normalized_version", "")
        result["fixed_in_version"] = entry.get("fixed_in_version") or ""
        return result


_CONTROLLER = "indexer/controller/Controller.Index"


def _severity_rank(entry: dict[str, Any]) -> int:
    severity = entry.get("normalized_severity", "Unknown")
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else 0


def _distribution_json(distribution: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "did", "name", "version", "version_code_name", "version_id", "arch", "cpe", "pretty_name")
    return {name: distribution[name] for name in names}


def _distribution_at(found: list[Any], position: int) -> str:
    """The distribution of the layer, or of the nearest one below, or of the nearest above."""
    for _, _, distributions in [*reversed(found[: position + 1]), *found[position + 1 :]]:
        if distributions:
            return str(distributions[0]["id"])
    return ""


class _MappingFile:
    """Red Hat's two mapping files, without which some releases cannot scan anything (verified: 500 with no way out)."""

    def __init__(self, config: Config, release: Release, airgap: bool) -> None:
        self._release = release
        self._airgap = airgap
        self._missing = False
        self._tried = 0.0
        repository = config.get("indexer.scanner.repo", {}).get("rhel-repository-scanner") or {}
        container = config.get("indexer.scanner.package", {}).get("rhel_containerscanner") or {}
        self._timeout_seconds = float(repository.get("timeout") or 10e9) / 1e9
        self._disabled = False
        self._url = repository.get("repo2cpe_mapping_url") or ""
        path = repository.get("repo2cpe_mapping_file") or ""
        if path:
            try:
                with open(path, "rb") as handle:
                    json.load(handle)
            except (OSError, ValueError) as error:  # Clair drops a scanner that cannot be configured
                log("error", "indexer.NewLayerScanner", "configuration failed", scanner="rhel-repository-scanner",
                    error=str(error))  # fmt: skip
                self._disabled = True
        elif not self._url:
            self._url = self._default_url(_REPOSITORY_MAP)
        self._missing = not path
        if self._url:
            self._fetch()
        if not container.get("name2repos_mapping_file"):
            _try(
                container.get("name2repos_mapping_url") or self._default_url(_CONTAINER_MAP),
                self._timeout_seconds,
                airgap,
            )

    def _default_url(self, name: str) -> str:
        host = "security.access.redhat.com/data" if self._release.since("4.8.0") else "access.redhat.com/security/data"
        return f"https://{host}/metrics/{name}"

    def check(self) -> None:
        """Try again to have the file.

        Raises:
            ScanProblem: there is none.
        """
        if self._disabled or not self._missing or not self._release.since("4.6.0"):
            return
        if time.monotonic() - self._tried > 1:
            self._fetch()
        if self._missing:
            raise ScanProblem("rhel: unable to create a mappingFile object")

    def _fetch(self) -> None:
        if _try(self._url, self._timeout_seconds, self._airgap):
            self._missing = False
        self._tried = time.monotonic()


def _try(url: str, timeout_seconds: float, airgap: bool) -> bool:
    try:
        with http_client.request("GET", url, timeout_seconds=timeout_seconds, forbid_public=airgap) as response:
            return response.status == 200 and isinstance(json.loads(http_client.decoded(response)), dict)
    except (http_client.RequestFailed, OSError, ValueError) as error:
        log("error", "rhel/internal/common/Updater.Get", "error updating mapping file", error=str(error))
        return False
