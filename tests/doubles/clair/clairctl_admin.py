"""`clairctl admin` and `check-config` (cmd/clairctl/admin.go, config.go; 4.7.0 and newer)."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from typing import Any

import yaml

from .clairctl_report import CommandFailed
from .config_fields import GO_STRUCTS, TYPES, known_keys
from .config_loading import Config, ConfigProblem, go_os_error, load_config
from .connection_string import ConnectionStringProblem
from .durations import format_duration
from .log_lines import log
from .postgres_store import ConnectionFailed, Database, DatabaseError
from .releases import Release
from .schema_indexer import MIGRATION_TABLE as INDEXER_TABLE

_VERSION = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


class UnknownTopic(Exception):
    """No such task: exit code 3."""


def admin_command(arguments: list[str], config_path: str, release: Release) -> None:
    """Run a task before or after an upgrade; a version it has no task for is no failure.

    Raises:
        CommandFailed: the task failed.
        UnknownTopic: there is no such task.
    """
    if len(arguments) < 2:
        print("usage: clairctl admin pre|post VERSION, clairctl admin oneoff TASK (test double)")
        return
    group, task = arguments[0], arguments[1]
    if group == "oneoff":
        if task == "update-golang-packages" and release.since("4.7.3"):
            _update_go_packages(config_path, release)
            return
        raise UnknownTopic(task)
    if group not in ("pre", "post"):
        raise UnknownTopic(group)
    version = task if task.startswith("v") else f"v{task}"
    if version in (release.admin_pre if group == "pre" else release.admin_post):
        _TASKS[(group, version)](config_path, release)
    elif not _VERSION.fullmatch(task):
        raise UnknownTopic(task)


def _connected(section: str, config_path: str, release: Release) -> Database:
    if not os.path.exists(config_path):
        raise CommandFailed(f"bad config: stat {config_path}: no such file or directory")
    if os.path.isdir(config_path):
        raise CommandFailed("bad config: is a directory")
    try:
        config = load_config(config_path, release)
    except ConfigProblem as problem:
        text = str(problem).removeprefix("failed loading config: ")
        raise CommandFailed(f"error loading config: {text}") from problem
    try:
        database = Database(config.get(f"{section}.connstring", ""), "", release)
    except ConnectionStringProblem as problem:
        raise CommandFailed(f"error parsing dsn: {problem}") from problem
    target = database.target
    log("info", "", "using discovered connection params", database=target.database, host=target.hosts[0][0],
        port=target.hosts[0][1], user=target.user)  # fmt: skip
    try:
        database.connect().close()
    except ConnectionFailed as failure:
        words = "error connecting to database" if release.since("4.9.0") else "error creating pool"
        raise CommandFailed(f"{words}: {failure}") from failure
    return database


def _make_index(index: str, table: str, column: str, version: str, config_path: str, release: Release) -> None:
    database = _connected("indexer", config_path, release)
    try:
        rows = database.query(
            "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = $1", [index]
        )
        if rows and rows[0][0] == "f":
            database.query(f"REINDEX INDEX CONCURRENTLY {index}")
        else:
            database.query(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {table} ({column})")
    except (DatabaseError, ConnectionFailed) as error:
        raise CommandFailed(f"error (re)indexing database: {error}") from error
    log("info", "", f"pre {version} admin done")


def _pre_470(config_path: str, release: Release) -> None:
    _make_index("idx_manifest_index_manifest_id", "manifest_index", "manifest_id", "v4.7.0", config_path, release)


def _pre_473(config_path: str, release: Release) -> None:
    _make_index("idx_manifest_layer_layer_id", "manifest_layer", "layer_id", "v4.7.3", config_path, release)


def _pre_480(config_path: str, release: Release) -> None:
    database = _connected("matcher", config_path, release)
    try:
        database.query("INSERT INTO libvuln_migrations (version) VALUES (13) ON CONFLICT DO NOTHING")
    except (DatabaseError, ConnectionFailed) as error:
        raise CommandFailed(f"error setting matcher migration: {error}") from error
    log("info", "", "pre v4.8.0 admin done")


def _delete_updater(condition: str, version: str, config_path: str, release: Release) -> None:
    database = _connected("matcher", config_path, release)
    try:
        database.query(f"DELETE FROM update_operation WHERE updater {condition}")
        database.query(
            f"DELETE FROM vuln WHERE updater {condition} AND NOT EXISTS (SELECT FROM uo_vuln WHERE vuln = vuln.id)"
        )
    except (DatabaseError, ConnectionFailed) as error:
        raise CommandFailed(f"error deleting update operations: {error}") from error
    log("info", "", f"post {version} admin done")


def _post_470(config_path: str, release: Release) -> None:
    _delete_updater("= 'pyupio'", "v4.7.0", config_path, release)


def _post_480(config_path: str, release: Release) -> None:
    _delete_updater("~ 'RHEL[5-9]-*'", "v4.8.0", config_path, release)


_TASKS = {
    ("pre", "v4.7.0"): _pre_470,
    ("pre", "v4.7.3"): _pre_473,
    ("pre", "v4.8.0"): _pre_480,
    ("post", "v4.7.0"): _post_470,
    ("post", "v4.8.0"): _post_480,
}


def _update_go_packages(config_path: str, release: Release) -> None:
    _connected("matcher", config_path, release)
    database = _connected("indexer", config_path, release)
    try:
        highest = int(database.query(f"SELECT max(version) FROM {INDEXER_TABLE}")[0][0])
    except (DatabaseError, ConnectionFailed) as error:
        raise CommandFailed(f"error checking migration version: {error}") from error
    if highest != 7:
        raise CommandFailed(
            f"error checking migration version: non-compatible migration version {highest} (acceptable versions: [7])"
        )


def check_config_command(files: list[str], output: str, release: Release) -> None:
    """Print each configuration with its drop-ins merged.

    Raises:
        CommandFailed: no file, or one that cannot be read.
    """
    if not files:
        raise CommandFailed("missing needed arguments")
    for path in dict.fromkeys(files):
        if len(files) > 1:
            print("#", path)
        try:
            config = load_config(path, release)
        except ConfigProblem as problem:
            raise CommandFailed(str(problem).removeprefix("failed loading config: ")) from problem
        document = _complete(config, release)
        if output == "yaml":
            yaml.safe_dump(document, sys.stdout, sort_keys=False)
        else:
            print(json.dumps(document, indent="\t", ensure_ascii=False))


# What Go's encoder writes even when it is not set: fields without omitempty.
_ALWAYS = (
    "http_listen_addr", "introspection_addr", "log_level", "indexer.connstring", "matcher.connstring",
    "matcher.indexer_addr", "matcher.update_retention", "notifier.connstring", "notifier.indexer_addr",
    "notifier.matcher_addr", "trace.name", "trace.jaeger.agent.endpoint", "trace.jaeger.collector.endpoint",
    "metrics.name",
)  # fmt: skip
_ORDER = (
    "tls", "http_listen_addr", "introspection_addr", "log_level", "indexer", "matcher", "matchers", "updaters",
    "notifier", "auth", "trace", "metrics",
)  # fmt: skip


def _complete(config: Config, release: Release) -> dict[str, Any]:
    known = known_keys(release)
    document: dict[str, Any] = {}
    for name in _ORDER:
        if name in GO_STRUCTS and name != "tls":
            document[name] = _struct(config, name, known)
        else:
            value = config.get(name)
            if value is None and name not in _ALWAYS:
                continue
            document[name] = _value(name, value)
    return document


def _struct(config: Config, prefix: str, known: frozenset[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path in sorted(key for key in known if key.rpartition(".")[0] == prefix):
        name = path.rpartition(".")[2]
        value = config.get(path)
        nested = any(key.startswith(path + ".") for key in known)
        pointer = path in ("notifier.webhook", "notifier.amqp", "notifier.stomp", "auth.psk", "auth.keyserver") or (
            path.startswith(("trace.otlp.", "metrics.otlp.")) or path.endswith((".tls", ".user", ".client_tls"))
        )
        if nested and (value is not None or not pointer):
            result[name] = _struct(config, path, known)
        elif value is not None or path in _ALWAYS:
            result[name] = _value(path, value)
    return result


def _value(path: str, value: Any) -> Any:
    kind = TYPES.get(path, "string")
    if kind == "duration" and value is not None:
        return format_duration(value)
    if kind == "base64" and value is not None:
        return base64.b64encode(value).decode()
    if kind == "level":
        return value or "info"
    if value is None:
        return 0 if kind == "int" else ""
    return value


def config_or_none(path: str, release: Release) -> Config | None:
    """Load the configuration if there is a file.

    Raises:
        CommandFailed: it cannot be used.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        return None
    return required_config(path, release)


def required_config(path: str, release: Release) -> Config:
    """Load the configuration.

    Raises:
        CommandFailed: it cannot be used.
    """
    try:
        return load_config(path, release)
    except ConfigProblem as problem:
        text = str(problem).removeprefix("failed loading config: ")
        raise CommandFailed(text.removeprefix("failed to open config file: ")) from problem
    except OSError as error:
        raise CommandFailed(go_os_error(error)) from error
