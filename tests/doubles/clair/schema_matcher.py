"""The matcher's tables: names and columns as in Clair's database, so that what reads them works on both.

Migration 1 makes the state after Clair's migration 8, the highest of the oldest release the double plays. It needs the extension
uuid-ossp and says so in Clair's words when it may not create it.
"""

from __future__ import annotations

from .schema_changes import Migrations

MIGRATION_TABLE = "libvuln_migrations"

VULNERABILITY_COLUMNS = (
    "updater", "name", "description", "issued", "links", "severity", "normalized_severity",
    "package_name", "package_version", "package_module", "package_arch", "package_kind",
    "dist_id", "dist_name", "dist_version", "dist_version_code_name", "dist_version_id", "dist_arch", "dist_cpe",
    "dist_pretty_name", "repo_name", "repo_key", "repo_uri", "fixed_in_version", "arch_operation",
)  # fmt: skip

_EXTENSION = """
DO $extension$
DECLARE
    failed_code text; failed_detail text; failed_hint text;
BEGIN
    CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS
        failed_code = RETURNED_SQLSTATE, failed_detail = PG_EXCEPTION_DETAIL, failed_hint = PG_EXCEPTION_HINT;
    RAISE EXCEPTION USING
        MESSAGE = 'Please load the "uuid-ossp" extension.',
        ERRCODE = failed_code, DETAIL = failed_detail, HINT = failed_hint;
END
$extension$ LANGUAGE plpgsql;
"""

_DROP_UPDATER = """
DELETE FROM update_operation WHERE updater {condition};
DELETE FROM vuln WHERE updater {condition} AND NOT EXISTS (SELECT FROM uo_vuln WHERE uo_vuln.vuln = vuln.id);
"""


MIGRATIONS: Migrations = {
    1: _EXTENSION
    + f"""
CREATE TABLE update_operation (
    id          bigserial PRIMARY KEY,
    ref         uuid UNIQUE DEFAULT uuid_generate_v4(),
    updater     text NOT NULL,
    fingerprint text,
    date        timestamp with time zone DEFAULT now(),
    kind        text
);
CREATE INDEX uo_updater_idx ON update_operation (updater);
CREATE INDEX update_operation_updater_idx ON update_operation (updater);
CREATE INDEX update_operation_kind_idx ON update_operation (kind);
CREATE TYPE versionrange AS RANGE (SUBTYPE = integer[10]);
CREATE TABLE vuln (
    id        bigserial PRIMARY KEY,
    hash_kind text NOT NULL,
    hash      bytea NOT NULL,
    {", ".join(f"{name} {'timestamptz' if name == 'issued' else 'text'}" for name in VULNERABILITY_COLUMNS)},
    vulnerable_range versionrange NOT NULL DEFAULT versionrange('{{}}', '{{}}', '()'),
    version_kind     text,
    UNIQUE (hash_kind, hash)
);
CREATE INDEX vuln_lookup_idx ON vuln (
    package_name, dist_id, dist_name, dist_pretty_name, dist_version, dist_version_id, package_module,
    dist_version_code_name, repo_name, dist_arch, dist_cpe, repo_key, repo_uri
);
CREATE INDEX vuln_updater_idx ON vuln (updater);
CREATE TABLE uo_vuln (
    uo   bigint REFERENCES update_operation (id) ON DELETE CASCADE,
    vuln bigint REFERENCES vuln (id) ON DELETE CASCADE,
    PRIMARY KEY (uo, vuln)
);
CREATE INDEX uo_vuln_vuln_idx ON uo_vuln (vuln);
CREATE INDEX uo_vuln_uo_idx ON uo_vuln (uo);
CREATE TABLE enrichment (id bigserial PRIMARY KEY, hash_kind text, hash bytea, updater text, tags text[], data jsonb);
CREATE UNIQUE INDEX enrichment_hash_kind_hash_idx ON enrichment (hash_kind, hash);
CREATE INDEX enrichment_tags_idx ON enrichment USING gin (tags);
CREATE TABLE uo_enrich (
    uo     bigint REFERENCES update_operation (id) ON DELETE CASCADE,
    enrich bigint REFERENCES enrichment (id) ON DELETE CASCADE,
    updater text, fingerprint text, date timestamptz,
    PRIMARY KEY (uo, enrich)
);
CREATE VIEW latest_vuln AS
    SELECT vuln.* FROM vuln JOIN uo_vuln ON uo_vuln.vuln = vuln.id
    WHERE uo_vuln.uo IN (SELECT max(id) FROM update_operation GROUP BY updater);
CREATE TABLE updater_status (
    updater_name             text PRIMARY KEY,
    last_attempt             timestamp with time zone DEFAULT now(),
    last_success             timestamp with time zone,
    last_run_succeeded       bool,
    last_attempt_fingerprint text,
    last_error               text
);
""",
    **dict.fromkeys(range(2, 9), ""),
    9: _DROP_UPDATER.format(condition="= 'pyupio'"),
    10: _DROP_UPDATER.format(condition="= 'osv'"),
    11: """
CREATE MATERIALIZED VIEW IF NOT EXISTS latest_update_operations AS
    SELECT DISTINCT ON (updater) id, kind, updater FROM update_operation ORDER BY updater, id DESC;
""",
    12: "CREATE UNIQUE INDEX idx_updater_uniq ON latest_update_operations (updater);",
    13: _DROP_UPDATER.format(condition="~ 'RHEL[5-9]-*'"),
    14: _DROP_UPDATER.format(condition="= 'rhel-container-updater'"),
    15: """
CREATE INDEX IF NOT EXISTS uo_enrich_enrich_idx ON uo_enrich (enrich);
CREATE INDEX IF NOT EXISTS uo_enrich_uo_idx ON uo_enrich (uo);
CREATE INDEX IF NOT EXISTS enrichment_updater_idx ON enrichment (updater);
""",
    16: """
DELETE FROM update_operation WHERE updater = 'clair.cvss' AND kind = 'enrichment';
DELETE FROM enrichment WHERE updater = 'clair.cvss' AND NOT EXISTS (SELECT FROM uo_enrich WHERE enrich = enrichment.id);
""",
}
