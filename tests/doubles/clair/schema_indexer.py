"""The indexer's tables: names and columns as in Clair's database, so that what reads them works on both.

Migration 1 makes the state after Clair's migration 5, the highest of the oldest release the double plays.
"""

from __future__ import annotations

from .schema_changes import Migrations

MIGRATION_TABLE = "libindex_migrations"

_SCAN_ARTIFACT = """
CREATE TABLE {kind}_scanartifact (
    {kind}_id  bigint NOT NULL REFERENCES {kind} (id) ON DELETE CASCADE,
    scanner_id bigint NOT NULL REFERENCES scanner (id) ON DELETE CASCADE,
    layer_id   bigint NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    PRIMARY KEY ({key})
);
"""

MIGRATIONS: Migrations = {
    1: (
        """
CREATE TABLE layer    (hash text NOT NULL CONSTRAINT layer_hash_unique UNIQUE, id bigserial PRIMARY KEY);
CREATE TABLE manifest (hash text NOT NULL CONSTRAINT manifest_hash_unique UNIQUE, id bigserial PRIMARY KEY);
CREATE INDEX layer_hash_idx ON layer (hash);
CREATE INDEX manifest_hash_idx ON manifest (hash);
CREATE TABLE manifest_layer (
    i           bigint NOT NULL,
    manifest_id bigint NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    layer_id    bigint NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    PRIMARY KEY (manifest_id, layer_id, i)
);
CREATE TABLE scanner (id bigserial PRIMARY KEY, name text NOT NULL, version text NOT NULL, kind text NOT NULL);
CREATE UNIQUE INDEX scanner_unique_idx ON scanner (name, kind, version);
CREATE TABLE scanned_manifest (
    scanner_id  bigint NOT NULL REFERENCES scanner (id) ON DELETE CASCADE,
    manifest_id bigint NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (manifest_id, scanner_id)
);
CREATE TABLE scanned_layer (
    scanner_id bigint NOT NULL REFERENCES scanner (id) ON DELETE CASCADE,
    layer_id   bigint NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    PRIMARY KEY (layer_id, scanner_id)
);
CREATE TABLE scannerlist (
    id bigserial PRIMARY KEY,
    manifest_hash text,
    scanner_id bigint REFERENCES scanner (id) ON DELETE CASCADE
);
CREATE INDEX scannerlist_manifest_hash_idx ON scannerlist (manifest_hash);
CREATE TABLE indexreport (
    state       text,
    scan_result jsonb,
    manifest_id bigint PRIMARY KEY REFERENCES manifest (id) ON DELETE CASCADE
);
CREATE TABLE dist (
    id bigserial PRIMARY KEY,
    name text NOT NULL DEFAULT '', did text NOT NULL DEFAULT '', version text NOT NULL DEFAULT '',
    version_code_name text NOT NULL DEFAULT '', version_id text NOT NULL DEFAULT '', arch text NOT NULL DEFAULT '',
    cpe text NOT NULL DEFAULT '', pretty_name text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX dist_unique_idx
    ON dist (name, did, version, version_code_name, version_id, arch, cpe, pretty_name);
CREATE TABLE package (
    id bigserial PRIMARY KEY,
    name text NOT NULL, kind text NOT NULL DEFAULT '', version text NOT NULL DEFAULT '',
    norm_kind text, norm_version integer[10], module text NOT NULL DEFAULT '', arch text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX package_unique_idx ON package (name, version, kind, module, arch);
CREATE TABLE package_scanartifact (
    package_id      bigint NOT NULL REFERENCES package (id) ON DELETE CASCADE,
    source_id       bigint NOT NULL,
    scanner_id      bigint NOT NULL REFERENCES scanner (id) ON DELETE CASCADE,
    package_db      text NOT NULL,
    repository_hint text NOT NULL,
    layer_id        bigint NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
    PRIMARY KEY (layer_id, package_id, source_id, scanner_id, package_db, repository_hint),
    CONSTRAINT package_scanartifact_source_id_fkey FOREIGN KEY (package_id) REFERENCES package (id) ON DELETE CASCADE
);
CREATE TABLE repo (
    id bigserial PRIMARY KEY, name text NOT NULL, key text DEFAULT '', uri text DEFAULT '', cpe text DEFAULT ''
);
CREATE UNIQUE INDEX repo_unique_idx ON repo (name, key, uri);
CREATE TABLE manifest_index (
    id          bigserial PRIMARY KEY,
    package_id  bigint NOT NULL REFERENCES package (id) ON DELETE CASCADE,
    dist_id     bigint REFERENCES dist (id) ON DELETE CASCADE,
    repo_id     bigint REFERENCES repo (id) ON DELETE CASCADE,
    manifest_id bigint REFERENCES manifest (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX manifest_index_unique
    ON manifest_index (package_id, COALESCE(dist_id, 0), COALESCE(repo_id, 0), manifest_id);
"""
        + _SCAN_ARTIFACT.format(kind="dist", key="layer_id, scanner_id, dist_id")
        + _SCAN_ARTIFACT.format(kind="repo", key="layer_id, repo_id, scanner_id")
    ),
    2: "",
    3: "",
    4: "",
    5: "",
    6: """
CREATE TABLE file (id bigserial PRIMARY KEY, path text NOT NULL, kind text NOT NULL);
CREATE UNIQUE INDEX file_unique_idx ON file (path, kind);
"""
    + _SCAN_ARTIFACT.format(kind="file", key="layer_id, scanner_id, file_id")
    + "ALTER TABLE package_scanartifact ADD COLUMN filepath text;",
    7: "CREATE INDEX IF NOT EXISTS idx_manifest_index_manifest_id ON manifest_index (manifest_id);",
    8: "CREATE INDEX IF NOT EXISTS idx_manifest_layer_layer_id ON manifest_layer (layer_id);",
}
