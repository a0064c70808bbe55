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
from .config_fields import TYPES, known_keys
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
        config = required_config(config_path, release)
    except CommandFailed as problem:
        raise CommandFailed(f"error loading config: {problem}") from problem
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
    try:
        database = _connected("indexer", config_path, release)
    except CommandFailed as problem:
        raise CommandFailed(f"error creating indexer pool: {problem}") from problem
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
    if output == "yaml":
        words = "some values do no round-trip the yaml encoder correctly -- make sure to consult the documentation"
        log("warn", "", words)
    for path in dict.fromkeys(files):
        if len(files) > 1:
            print("#", path)
        document = _struct(required_config(path, release), "", known_keys(release))
        if output == "yaml":
            document = {name: value for name, value in document.items() if value != {}}
            yaml.safe_dump(document, sys.stdout, sort_keys=False)
        else:
            print(json.dumps(document, indent="\t", ensure_ascii=False))


# What Go's encoder writes even when it is not set: fields without omitempty, and structs.
_ALWAYS = (
    "http_listen_addr", "introspection_addr", "log_level", "indexer.connstring", "matcher.connstring",
    "matcher.indexer_addr", "matcher.update_retention", "notifier.connstring", "notifier.indexer_addr",
    "notifier.matcher_addr", "trace.name", "trace.jaeger.agent.endpoint", "trace.jaeger.collector.endpoint",
    "trace.sentry.dsn", "metrics.name", "notifier.webhook.target", "notifier.webhook.callback", "auth.psk.key",
    "auth.psk.iss",
)  # fmt: skip
_POINTERS = ("tls", "notifier.webhook", "notifier.amqp", "notifier.stomp", "auth.psk", "auth.keyserver")
_ORDER = {
    "": ("tls", "http_listen_addr", "introspection_addr", "log_level", "indexer", "matcher", "matchers", "updaters",
         "notifier", "auth", "trace", "metrics"),
    "indexer": ("scanner", "connstring", "scanlock_retry", "layer_scan_concurrency",
                "index_report_request_concurrency", "migrations", "airgap"),
    "indexer.scanner": ("package", "dist", "repo"),
    "matcher": ("connstring", "indexer_addr", "period", "update_retention", "max_conn_pool", "cache_age", "migrations",
                "disable_updaters", "disable_enrichment"),
    "matchers": ("config", "names"),
    "updaters": ("filter", "config", "sets"),
    "notifier": ("webhook", "amqp", "stomp", "connstring", "indexer_addr", "matcher_addr", "poll_interval",
                 "delivery_interval", "disable_summary", "migrations"),
    "notifier.webhook": ("headers", "target", "callback", "signed"),
    "notifier.amqp": ("tls", "exchange", "routing_key", "callback", "uris", "rollup", "direct"),
    "notifier.stomp": ("tls", "user", "callback", "destination", "uris", "rollup", "direct"),
    "auth.psk": ("key", "iss"),
    "trace": ("name", "probability", "jaeger", "otlp", "sentry"),
    "metrics": ("name", "prometheus", "otlp"),
}  # fmt: skip


def _struct(config: Config, prefix: str, known: frozenset[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    names = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == prefix]
    order = _ORDER.get(prefix, ())
    for name in sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)):
        path = f"{prefix}.{name}" if prefix else name
        value = config.get(path)
        nested = any(key.startswith(path + ".") for key in known)
        pointer = path in _POINTERS or ".otlp." in path or path.endswith((".tls", ".user", ".client_tls"))
        if nested and (value is not None or not pointer):
            result[name] = _struct(config, path, known)
        elif value or path in _ALWAYS:
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
    if kind == "map":
        return _sorted_maps(value)
    if value is None:
        return 0 if kind == "int" else ""
    return value


def _sorted_maps(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted_maps(value[name]) for name in sorted(value)}
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
        text = str(problem).removeprefix("failed loading config: ").removeprefix("failed to open config file: ")
        if release.strict and text.startswith("error reading file"):  # clairctl goes on and collects what follows
            name = os.path.normpath(path)
            text += f'\nerror load config "{name}": empty document after merges\nerror decoding config "{name}": EOF'
        raise CommandFailed(text) from problem
    except OSError as error:
        raise CommandFailed(go_os_error(error)) from error
