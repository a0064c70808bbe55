"""The indexer's data in PostgreSQL, in Clair's tables."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

from .layer_scanners import Findings, to_json
from .postgres_store import Connection, ConnectionFailed, Database, DatabaseError
from .releases import Release
from .scanner_versions import registered_scanners

_RECORD = (
    "name text, version text, arch text, source_name text, source_version text, source_kind text, package_db text, "
    "repository_hint text, scanner_id bigint"
)
_NUMBERED = (
    f"ROWS FROM (json_to_recordset($1::json) AS ({_RECORD})) WITH ORDINALITY AS numbered (name, version, arch, "
    "source_name, source_version, source_kind, package_db, repository_hint, scanner_id, place)"
)
_DISTRIBUTION_COLUMNS = ("name", "did", "version", "version_code_name", "version_id", "arch", "cpe", "pretty_name")


class IndexerStore:
    """Manifests, layers, what was found in them, and reports."""

    def __init__(self, database: Database, release: Release) -> None:
        self._database = database
        self._release = release
        self._scanner_ids: dict[tuple[str, str], int] = {}

    def register_scanners(self) -> None:
        """Insert the release's scanners.

        Raises:
            ValueError: the tables are not there.
            DatabaseError: a row is refused.
        """
        scanners = registered_scanners(self._release)
        with self._database.transaction() as connection:
            try:
                connection.query("SELECT id FROM scanner LIMIT 1")
            except DatabaseError as error:
                raise ValueError(f'failed getting id for scanner "{scanners[0][0]}": {error}') from error
            for name, version, kind in scanners:
                connection.query(
                    "INSERT INTO scanner (name, version, kind) SELECT $1, $2, $3 WHERE NOT EXISTS "
                    "(SELECT FROM scanner WHERE name = $1 AND version = $2 AND kind = $3) ON CONFLICT DO NOTHING",
                    [name, version, kind],
                )
            for name, version, kind in scanners:
                rows = connection.query(
                    "SELECT id FROM scanner WHERE name = $1 AND version = $2 AND kind = $3", [name, version, kind]
                )
                self._scanner_ids[(name, kind)] = int(rows[0][0])

    def exclusive(self, digest: str) -> AbstractContextManager[None]:
        """Hold the lock of a manifest, against other threads and other indexers."""
        return self._database.locked(digest)

    def manifest_is_scanned(self, digest: str) -> bool:
        """Say whether every current scanner has seen the manifest."""
        rows = self._database.query(
            "SELECT count(*) FROM scanned_manifest JOIN manifest ON manifest.id = manifest_id "
            "WHERE hash = $1 AND scanner_id = ANY ($2::bigint[])",
            [digest, self._all_scanners()],
        )
        return int(rows[0][0]) == len(self._scanner_ids)

    def report(self, digest: str) -> dict[str, Any] | None:
        """Return the stored report of a manifest, or None."""
        rows = self._database.query(
            "SELECT scan_result FROM indexreport JOIN manifest ON manifest.id = manifest_id WHERE hash = $1", [digest]
        )
        return _in_order(json.loads(rows[0][0])) if rows else None

    def persist_manifest(self, manifest: dict[str, Any]) -> None:
        """Insert the manifest, its layers and their order."""
        layers = [layer["hash"] for layer in manifest["layers"]]
        with self._database.transaction() as connection:
            connection.query("INSERT INTO manifest (hash) VALUES ($1) ON CONFLICT DO NOTHING", [manifest["hash"]])
            for position, layer in enumerate(layers):
                connection.query("INSERT INTO layer (hash) VALUES ($1) ON CONFLICT DO NOTHING", [layer])
                connection.query(
                    "INSERT INTO manifest_layer (i, manifest_id, layer_id) SELECT $1::bigint, manifest.id, layer.id "
                    "FROM manifest, layer WHERE manifest.hash = $2 AND layer.hash = $3 ON CONFLICT DO NOTHING",
                    [position, manifest["hash"], layer],
                )

    def layer_is_scanned(self, digest: str) -> bool:
        """Say whether every current scanner has seen the layer."""
        rows = self._database.query(
            "SELECT count(*) FROM scanned_layer JOIN layer ON layer.id = layer_id "
            "WHERE hash = $1 AND scanner_id = ANY ($2::bigint[])",
            [digest, self._all_scanners()],
        )
        return int(rows[0][0]) == len(self._scanner_ids)

    def store_layer(self, digest: str, findings: Findings) -> None:
        """Insert what was found in a layer and mark it scanned."""
        with self._database.transaction() as connection:
            (layer_id,) = connection.query("SELECT id FROM layer WHERE hash = $1", [digest])[0]
            self._store_packages(connection, layer_id, findings)
            for scanner, values in findings.distributions:
                columns = [values[name] for name in _DISTRIBUTION_COLUMNS]
                connection.query(
                    f"INSERT INTO dist ({', '.join(_DISTRIBUTION_COLUMNS)}) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                    columns,
                )
                connection.query(
                    "INSERT INTO dist_scanartifact (dist_id, scanner_id, layer_id) SELECT id, $9::bigint, $10::bigint "
                    f"FROM dist WHERE ({', '.join(_DISTRIBUTION_COLUMNS)}) = ($1, $2, $3, $4, $5, $6, $7, $8) "
                    "ON CONFLICT DO NOTHING",
                    [*columns, self._scanner_ids[(scanner, "distribution")], layer_id],
                )
            connection.query(
                "INSERT INTO scanned_layer (layer_id, scanner_id) SELECT $1::bigint, unnest($2::bigint[]) "
                "ON CONFLICT DO NOTHING",
                [layer_id, self._all_scanners()],
            )

    def _store_packages(self, connection: Connection, layer_id: str, findings: Findings) -> None:
        if not findings.packages:
            return
        records = [
            {
                **to_json(package),
                "package_db": package.database,
                "scanner_id": self._scanner_ids[(package.scanner, "package")],
            }
            for package in findings.packages
        ]
        text = json.dumps(records)
        # Source before binary, package by package: ids then come out in the order that Clair gives them.
        connection.query(
            "INSERT INTO package (name, kind, version, arch, norm_kind) SELECT name, kind, version, arch, $2 FROM ("
            f" SELECT place * 2 AS place, source_name, source_kind, source_version, '' FROM {_NUMBERED}"
            f" UNION ALL SELECT place * 2 + 1, name, 'binary', version, arch FROM {_NUMBERED}"
            ") AS found (place, name, kind, version, arch) WHERE NOT EXISTS (SELECT FROM package AS known"
            " WHERE (known.name, known.kind, known.version, known.module, known.arch)"
            " = (found.name, found.kind, found.version, '', found.arch)) ORDER BY place ON CONFLICT DO NOTHING",
            [text, "" if self._release.since("4.9.0") else None],
        )
        connection.query(
            "INSERT INTO package_scanartifact (package_id, source_id, scanner_id, package_db, repository_hint, layer_id) "
            "SELECT binaries.id, sources.id, record.scanner_id, record.package_db, record.repository_hint, $2::bigint "
            f"FROM json_to_recordset($1::json) AS record ({_RECORD}) "
            "JOIN package AS binaries ON binaries.name = record.name AND binaries.kind = 'binary' "
            "AND binaries.version = record.version AND binaries.module = '' AND binaries.arch = record.arch "
            "JOIN package AS sources ON sources.name = record.source_name AND sources.kind = record.source_kind "
            "AND sources.version = record.source_version AND sources.module = '' AND sources.arch = '' "
            "ON CONFLICT DO NOTHING",
            [text, layer_id],
        )

    def layer_findings(self, digest: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the packages and distributions stored for a layer, with their ids."""
        packages = self._database.query(
            "SELECT binaries.id, binaries.name, binaries.kind, binaries.version, binaries.module, binaries.arch, "
            "sources.id, sources.name, sources.kind, sources.version, sources.module, sources.arch, package_db "
            "FROM package_scanartifact JOIN layer ON layer.id = layer_id "
            "JOIN package AS binaries ON binaries.id = package_id JOIN package AS sources ON sources.id = source_id "
            "WHERE hash = $1 AND scanner_id = ANY ($2::bigint[]) ORDER BY binaries.id",
            [digest, self._all_scanners()],
        )
        distributions = self._database.query(
            f"SELECT id, {', '.join(_DISTRIBUTION_COLUMNS)} FROM dist WHERE id IN (SELECT dist_id FROM dist_scanartifact "
            "JOIN layer ON layer.id = layer_id WHERE hash = $1 AND scanner_id = ANY ($2::bigint[])) ORDER BY id",
            [digest, self._all_scanners()],
        )
        names = ("id", "name", "kind", "version", "module", "arch")
        return (
            [
                {**dict(zip(names, row[:6])), "source": dict(zip(names, row[6:12])), "database": row[12]}
                for row in packages
            ],
            [dict(zip(("id", *_DISTRIBUTION_COLUMNS), row)) for row in distributions],
        )

    def set_report(self, report: dict[str, Any], finished: bool) -> None:
        """Store a report; a finished one marks the manifest scanned and its packages findable."""
        with self._database.transaction() as connection:
            (manifest_id,) = connection.query("SELECT id FROM manifest WHERE hash = $1", [report["manifest_hash"]])[0]
            connection.query(
                "INSERT INTO indexreport (manifest_id, scan_result) VALUES ($1::bigint, $2::jsonb) "
                "ON CONFLICT (manifest_id) DO UPDATE SET scan_result = excluded.scan_result",
                [manifest_id, json.dumps(report)],
            )
            if not finished:
                return
            rows = []
            for package in report["packages"].values():
                for environment in report["environments"][package["id"]]:
                    distribution = environment["distribution_id"] or None
                    rows += [(package["id"], distribution), (package["source"]["id"], distribution)]
            connection.query(
                "INSERT INTO manifest_index (package_id, dist_id, manifest_id) "
                "SELECT DISTINCT package_id, dist_id, $2::bigint FROM json_to_recordset($1::json) "
                "AS record (package_id bigint, dist_id bigint) ON CONFLICT DO NOTHING",
                [json.dumps([{"package_id": package, "dist_id": dist} for package, dist in rows]), manifest_id],
            )
            connection.query(
                "INSERT INTO scanned_manifest (manifest_id, scanner_id) SELECT $1::bigint, unnest($2::bigint[]) "
                "ON CONFLICT DO NOTHING",
                [manifest_id, self._all_scanners()],
            )

    def delete_manifests(self, digests: list[str]) -> list[str]:
        """Delete manifests and the layers nobody else has; return those that were there.

        Raises:
            ConnectionFailed: there is no connection; 4.7.3 to 4.8.0 pass over that, as the original does.
        """
        deleted = []
        for digest in digests:
            try:
                if self._delete_manifest(digest):
                    deleted.append(digest)
            except ConnectionFailed as failure:
                if self._release.since("4.9.0"):
                    raise ConnectionFailed(f"{digest}: {failure}") from failure
                if not self._release.since("4.7.3"):
                    raise
        return deleted

    def _delete_manifest(self, digest: str) -> bool:
        with self._database.transaction() as connection:
            layers = connection.query(
                "SELECT layer_id FROM manifest_layer JOIN manifest ON manifest.id = manifest_id WHERE hash = $1",
                [digest],
            )
            known = bool(connection.query("DELETE FROM manifest WHERE hash = $1 RETURNING id", [digest]))
            connection.query(
                "DELETE FROM layer WHERE id = ANY ($1::bigint[]) "
                "AND NOT EXISTS (SELECT FROM manifest_layer WHERE layer_id = layer.id)",
                [_array(int(row[0]) for row in layers)],
            )
        return known

    def distribution_id(self, values: dict[str, Any]) -> str | None:
        """Return the id of the stored distribution that equals `values` in every field, or None."""
        rows = self._database.query(
            f"SELECT id FROM dist WHERE ({', '.join(_DISTRIBUTION_COLUMNS)}) = ($1, $2, $3, $4, $5, $6, $7, $8)",
            [values.get(name) or "" for name in _DISTRIBUTION_COLUMNS],
        )
        return rows[0][0] if rows else None

    def packages_named(self, name: str) -> list[tuple[str, str]]:
        """Return id and version of every stored package of this name.

        Raises:
            LookupError: 4.9.0 cannot read a package that an older release stored, whose kind of version is NULL.
        """
        rows = self._database.query("SELECT id, version, norm_kind FROM package WHERE name = $1", [name])
        if self._release.since("4.9.0") and any(row[2] is None for row in rows):
            raise LookupError(
                "failed to scan package: can't scan into dest[4] (col: norm_kind): cannot scan NULL into *string"
            )
        return [(row[0], row[1]) for row in rows]

    def manifests_with(self, package_id: str, distribution_id: str | None) -> list[str]:
        """Return the manifests that hold a package of a distribution."""
        rows = self._database.query(
            "SELECT hash FROM manifest_index JOIN manifest ON manifest.id = manifest_id "
            "WHERE package_id = $1::bigint AND dist_id IS NOT DISTINCT FROM $2::bigint AND repo_id IS NULL",
            [package_id, distribution_id],
        )
        return [row[0] for row in rows]

    def _all_scanners(self) -> str:
        return _array(self._scanner_ids.values())


_REPORT_ORDER = ("manifest_hash", "state", "packages", "distributions", "repository", "environments", "success", "err")
_PACKAGE_ORDER = ("id", "name", "version", "kind", "source", "normalized_version", "module", "arch", "cpe")
_ENVIRONMENT_ORDER = ("package_db", "introduced_in", "distribution_id", "repository_ids")


def _in_order(report: dict[str, Any]) -> dict[str, Any]:
    """Put a report's keys into Clair's order; PostgreSQL's jsonb keeps an order of its own."""
    ordered = _sorted(report, _REPORT_ORDER)
    for package in ordered["packages"].values():
        if "source" in package:
            package["source"] = _sorted(package["source"], _PACKAGE_ORDER)
    ordered["packages"] = {key: _sorted(value, _PACKAGE_ORDER) for key, value in ordered["packages"].items()}
    ordered["distributions"] = {
        key: _sorted(value, ("id", "did", *_DISTRIBUTION_COLUMNS)) for key, value in ordered["distributions"].items()
    }
    ordered["environments"] = {
        key: [_sorted(entry, _ENVIRONMENT_ORDER) for entry in value] for key, value in ordered["environments"].items()
    }
    return ordered


def _sorted(value: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    known = {name: value[name] for name in order if name in value}
    return {**known, **value}


def _array(numbers: Any) -> str:
    return "{" + ",".join(str(number) for number in numbers) + "}"
