"""The matcher's data in PostgreSQL, in Clair's tables."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from .postgres_store import Database
from .releases import Release
from .schema_matcher import VULNERABILITY_COLUMNS

Vulnerability = dict[str, Any]  # by the column names of the table `vuln`
_CHUNK = 5000
_HASHED = tuple(name for name in VULNERABILITY_COLUMNS if name != "updater")


class MatcherStore:
    """Update operations, vulnerabilities and the updaters' status."""

    def __init__(self, database: Database, release: Release) -> None:
        self._database = database
        self._release = release
        self._initialised = False
        self._refreshing = threading.Lock()

    def initialised(self) -> bool:
        """Say whether any vulnerability was ever stored; once it is true it stays true in this process."""
        if not self._initialised:
            self._initialised = self._database.query("SELECT EXISTS (SELECT FROM vuln)")[0][0] == "t"
        return self._initialised

    def latest_fingerprint(self, updater: str) -> str:
        """Return the fingerprint of the updater's newest operation, or an empty string."""
        rows = self._database.query(
            "SELECT fingerprint FROM update_operation WHERE updater = $1 ORDER BY id DESC LIMIT 1", [updater]
        )
        return rows[0][0] or "" if rows else ""

    def update_vulnerabilities(self, updater: str, fingerprint: str, vulnerabilities: Sequence[Vulnerability]) -> str:
        """Store one update operation with its vulnerabilities and return its ref."""
        columns = ", ".join(VULNERABILITY_COLUMNS)
        typed = ", ".join(f"{name} {'timestamptz' if name == 'issued' else 'text'}" for name in VULNERABILITY_COLUMNS)
        with self._database.transaction() as connection:
            operation, ref = connection.query(
                "INSERT INTO update_operation (updater, fingerprint, kind) VALUES ($1, $2, 'vulnerability') "
                "RETURNING id, ref",
                [updater, fingerprint],
            )[0]
            for start in range(0, len(vulnerabilities), _CHUNK):
                records = []
                for entry in vulnerabilities[start : start + _CHUNK]:
                    if not entry.get("package_name"):
                        continue
                    record = {name: entry.get(name) or "" for name in VULNERABILITY_COLUMNS}
                    record["issued"] = entry.get("issued") or "0001-01-01T00:00:00Z"
                    record["updater"] = updater
                    text = "\0".join(str(record[name]) for name in _HASHED)
                    records.append({**record, "digest": hashlib.md5(text.encode()).hexdigest()})
                parameters = [json.dumps(records)]
                # In the feed's order: reports list vulnerabilities by their ids.
                connection.query(
                    f"INSERT INTO vuln (hash_kind, hash, {columns}) SELECT 'md5', decode(digest, 'hex'), {columns} "
                    f"FROM ROWS FROM (json_to_recordset($1::json) AS (digest text, {typed})) "
                    f"WITH ORDINALITY AS record (digest, {columns}, place) "
                    "WHERE NOT EXISTS (SELECT FROM vuln AS known WHERE hash_kind = 'md5' AND hash = decode(digest, 'hex')) "
                    "ORDER BY place ON CONFLICT (hash_kind, hash) DO NOTHING",
                    parameters,
                )
                connection.query(
                    "INSERT INTO uo_vuln (uo, vuln) SELECT $2::bigint, vuln.id FROM json_to_recordset($1::json) "
                    "AS record (digest text) JOIN vuln ON hash_kind = 'md5' AND hash = decode(digest, 'hex') "
                    "ON CONFLICT DO NOTHING",
                    [*parameters, operation],
                )
        self.refresh_latest()
        return str(ref)

    def update_enrichments(self, updater: str, fingerprint: str, records: Sequence[dict[str, Any]]) -> str:
        """Store one enrichment operation (records: `tags`, `enrichment`) and return its ref."""
        with self._database.transaction() as connection:
            operation, ref = connection.query(
                "INSERT INTO update_operation (updater, fingerprint, kind) VALUES ($1, $2, 'enrichment') "
                "RETURNING id, ref",
                [updater, fingerprint],
            )[0]
            for start in range(0, len(records), _CHUNK):
                rows = []
                for record in records[start : start + _CHUNK]:
                    tags = sorted(record["tags"])
                    data = json.dumps(record["enrichment"], separators=(",", ":"))
                    digest = hashlib.md5("".join(f"{tag}\0" for tag in tags).encode() + data.encode()).hexdigest()
                    rows.append({"digest": digest, "tags": tags, "data": record["enrichment"]})
                parameters = [json.dumps(rows), updater]
                connection.query(
                    "INSERT INTO enrichment (hash_kind, hash, updater, tags, data) SELECT 'md5', decode(digest, 'hex'), "
                    "$2, ARRAY (SELECT json_array_elements_text(tags)), data FROM json_to_recordset($1::json) "
                    "AS record (digest text, tags json, data jsonb) ON CONFLICT DO NOTHING",
                    parameters,
                )
                connection.query(
                    "INSERT INTO uo_enrich (uo, enrich, updater, date) SELECT $3::bigint, enrichment.id, $2, now() "
                    "FROM json_to_recordset($1::json) AS record (digest text) JOIN enrichment ON hash_kind = 'md5' "
                    "AND hash = decode(digest, 'hex') ON CONFLICT DO NOTHING",
                    [*parameters, operation],
                )
        self.refresh_latest()
        return str(ref)

    def refresh_latest(self) -> None:
        """Bring the view of the newest operations up to date, where the schema has it.

        One after the other: the original does not wait, and two at once may leave the view without the newer operation, by
        chance. A test that wants that does it to the database itself.
        """
        with self._refreshing:
            self._refresh_latest()

    def _refresh_latest(self) -> None:
        if self._release.since("4.7.1"):
            self._database.query("REFRESH MATERIALIZED VIEW CONCURRENTLY latest_update_operations")
        elif self._release.since("4.7.0"):
            self._database.query("REFRESH MATERIALIZED VIEW latest_update_operations")

    def record_status(self, updater: str, attempted: str, fingerprint: str, problem: str | None) -> None:
        """Write the updater's row in `updater_status`; a failure leaves the last success as it was."""
        if problem is None:
            self._database.query(
                "INSERT INTO updater_status (updater_name, last_attempt, last_success, last_run_succeeded, "
                "last_attempt_fingerprint) VALUES ($1, $2::timestamptz, $2::timestamptz, true, $3) "
                "ON CONFLICT (updater_name) DO UPDATE SET last_attempt = excluded.last_attempt, "
                "last_success = excluded.last_success, last_run_succeeded = true, "
                "last_attempt_fingerprint = excluded.last_attempt_fingerprint",
                [updater, attempted, fingerprint],
            )
        else:
            self._database.query(
                "INSERT INTO updater_status (updater_name, last_attempt, last_run_succeeded, last_attempt_fingerprint, "
                "last_error) VALUES ($1, $2::timestamptz, false, $3, $4) ON CONFLICT (updater_name) DO UPDATE "
                "SET last_attempt = excluded.last_attempt, last_run_succeeded = false, "
                "last_attempt_fingerprint = excluded.last_attempt_fingerprint, last_error = excluded.last_error",
                [updater, attempted, fingerprint, problem],
            )

    def latest_ref(self, kind: str) -> str | None:
        """Return the ref of the newest operation of a kind."""
        rows = self._database.query("SELECT ref FROM update_operation WHERE kind = $1 ORDER BY id DESC LIMIT 1", [kind])
        return rows[0][0] if rows else None

    def operations(self, kind: str, latest: bool) -> dict[str, list[dict[str, str]]]:
        """Return operations by updater, newest first."""
        rows = self._database.query(
            "SELECT ref, updater, fingerprint, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') "
            "FROM update_operation WHERE kind = $1 ORDER BY id DESC",
            [kind],
        )
        found: dict[str, list[dict[str, str]]] = {}
        for ref, updater, fingerprint, date in rows:
            entries = found.setdefault(updater, [])
            if latest and entries:
                continue
            entries.append(_operation(ref, updater, fingerprint, date))
        return found

    def delete_operation(self, ref: str) -> None:
        """Delete one update operation."""
        self._database.query("DELETE FROM update_operation WHERE ref = $1::uuid", [ref])

    def difference(self, previous: str, current: str) -> dict[str, Any]:
        """Return what changed between two operations.

        Raises:
            LookupError: one of them does not exist.
        """
        nobody = str(uuid.UUID(int=0))
        if current == nobody:
            raise LookupError('nil uuid is invalid as "current" endpoint')
        result: dict[str, Any] = {
            "prev": _operation(nobody, "", "", "0001-01-01T00:00:00"),
            "cur": self._described(current),
            "added": self._only_in(current, previous),
            "removed": [],
        }
        if previous != nobody:
            result["prev"] = self._described(previous)
            result["removed"] = self._only_in(previous, current)
        for name in ("added", "removed"):
            result[name] = result[name] or None
        return result

    def _described(self, ref: str) -> dict[str, str]:
        rows = self._database.query(
            "SELECT updater, fingerprint, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') "
            "FROM update_operation WHERE ref = $1::uuid",
            [ref],
        )
        if not rows:
            raise LookupError(f"operation {ref} does not exist")
        return _operation(ref, *rows[0])

    def _only_in(self, here: str, there: str) -> list[dict[str, Any]]:
        rows = self._database.query(
            f"SELECT id, {', '.join(VULNERABILITY_COLUMNS)} FROM vuln WHERE id IN ("
            "SELECT vuln FROM uo_vuln JOIN update_operation ON update_operation.id = uo WHERE ref = $1::uuid "
            "EXCEPT SELECT vuln FROM uo_vuln JOIN update_operation ON update_operation.id = uo WHERE ref = $2::uuid)",
            [here, there],
        )
        return [vulnerability_json(row, self._release) for row in rows]

    def find(self, names: list[tuple[str, str]], conditions: dict[str, str]) -> list[tuple[Any, ...]]:
        """Return the current vulnerabilities of packages (name, kind) whose columns equal `conditions`."""
        clauses = " AND ".join(f"{column} = ${place}" for place, column in enumerate(conditions, start=2))
        newest = "latest_update_operations"
        if not self._release.since("4.7.0"):
            newest = "(SELECT DISTINCT ON (updater) id, kind FROM update_operation ORDER BY updater, id DESC)"
        return self._database.query(
            f"SELECT DISTINCT vuln.id, {', '.join('vuln.' + name for name in VULNERABILITY_COLUMNS)} FROM vuln "
            f"JOIN uo_vuln ON uo_vuln.vuln = vuln.id JOIN {newest} AS newest ON newest.id = uo_vuln.uo "
            "JOIN json_to_recordset($1::json) AS wanted (name text, kind text) "
            "ON vuln.package_name = wanted.name AND vuln.package_kind = wanted.kind "
            f"WHERE newest.kind = 'vulnerability' AND {clauses} ORDER BY vuln.id",
            [json.dumps([{"name": name, "kind": kind} for name, kind in names]), *conditions.values()],
        )

    def enrichments(self, updater: str, names: list[str]) -> dict[str, list[Any]]:
        """Return the current enrichments of an updater by tag."""
        rows = self._database.query(
            "SELECT tag, data FROM enrichment JOIN uo_enrich ON enrich = enrichment.id "
            "JOIN latest_update_operations AS newest ON newest.id = uo, unnest(tags) AS tag "
            "WHERE newest.updater = $1 AND newest.kind = 'enrichment' "
            "AND tag IN (SELECT json_array_elements_text($2::json))",
            [updater, json.dumps(names)],
        )
        found: dict[str, list[Any]] = {}
        for tag, data in rows:
            found.setdefault(tag, []).append(json.loads(data))
        return found

    def collect_garbage(self, keep: int) -> int:
        """Delete operations beyond the newest `keep` of each updater, and what nobody refers to any more."""
        with self._database.transaction() as connection:
            connection.query(
                "DELETE FROM update_operation WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
                "(PARTITION BY updater ORDER BY date DESC) AS place FROM update_operation) AS ranked WHERE place > $1::int)",
                [keep],
            )
            connection.script(
                "DELETE FROM vuln WHERE NOT EXISTS (SELECT FROM uo_vuln WHERE uo_vuln.vuln = vuln.id);"
                "DELETE FROM enrichment WHERE NOT EXISTS (SELECT FROM uo_enrich WHERE enrich = enrichment.id)"
            )
        return 0


def _operation(ref: str, updater: str, fingerprint: str, date: str) -> dict[str, str]:
    trimmed = date.rstrip("0").rstrip(".") if "." in date else date
    return {"ref": ref, "updater": updater, "fingerprint": fingerprint or "", "date": trimmed + "Z", "kind": ""}


def vulnerability_json(row: Sequence[Any], release: Release) -> dict[str, Any]:
    """Build the API's vulnerability from a row of id and VULNERABILITY_COLUMNS."""
    values = dict(zip(("id", *VULNERABILITY_COLUMNS), (value or "" for value in row)))
    package: dict[str, Any] = {"id": "", "name": values["package_name"], "version": values["package_version"]}
    for name in ("kind", "module", "arch"):
        if values[f"package_{name}"]:
            package[name] = values[f"package_{name}"]
    repository: dict[str, Any] = {}
    for name, column in (("name", "repo_name"), ("key", "repo_key"), ("uri", "repo_uri")):
        if values[column]:
            repository[name] = values[column]
    if release.since("4.9.0"):
        package.update(normalized_version="", cpe="")
        repository["cpe"] = ""
    issued = values["issued"].replace(" ", "T").replace("+00", "Z")
    return {
        "id": values["id"],
        "updater": values["updater"],
        "name": values["name"],
        "description": values["description"],
        "issued": "0001-01-01T00:00:00Z" if issued.startswith("0001") else issued,
        "links": values["links"],
        "severity": values["severity"],
        "normalized_severity": values["normalized_severity"],
        "package": package,
        "distribution": {
            "id": "",
            "did": values["dist_id"],
            "name": values["dist_name"],
            "version": values["dist_version"],
            "version_code_name": values["dist_version_code_name"],
            "version_id": values["dist_version_id"],
            "arch": values["dist_arch"],
            "cpe": values["dist_cpe"],
            "pretty_name": values["dist_pretty_name"],
        },
        "repository": repository,
        "fixed_in_version": values["fixed_in_version"],
    }
