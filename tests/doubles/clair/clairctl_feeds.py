"""`clairctl export-updaters` and `import-updaters` (cmd/clairctl/export.go, import.go, claircore libvuln/jsonblob).

A pack is JSON lines, one a vulnerability; lines with one Ref belong to one update operation. An updater without any vulnerability
leaves no line, as in the original.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, BinaryIO

from . import http_client
from .clairctl_report import CommandFailed
from .config_loading import Config, go_os_error
from .connection_string import ConnectionStringProblem
from .feed_alpine import distribution_columns
from .feeds import Feed, FeedProblem
from .log_lines import log
from .matcher_store import MatcherStore, vulnerability_json
from .postgres_store import ConnectionFailed, Database, DatabaseError
from .releases import Release
from .schema_matcher import VULNERABILITY_COLUMNS
from .updating import collect_feeds, make_factories


def export_command(arguments: list[str], compression: str, strict: bool, config: Config, release: Release) -> None:
    """Run the updaters once and write what they found.

    Raises:
        CommandFailed: wrong arguments, no such folder, or with `strict` an updater's error.
    """
    if len(arguments) > 1:
        raise CommandFailed("too many arguments (wanted at most one)")
    out: BinaryIO = sys.stdout.buffer
    if arguments:
        try:
            out = open(arguments[0], "wb")
        except OSError as error:
            raise CommandFailed(f"open {arguments[0]}: {go_os_error(error)}") from error
        compression = compression or {".zst": "zstd", ".gz": "gzip"}.get(arguments[0][arguments[0].rfind(".") :], "")
    settings = config.get("updaters.config", {})
    try:
        factories = make_factories(config, release)
    except FeedProblem as problem:
        raise CommandFailed(f"failed to configure updater set factory: {problem}") from problem
    feeds = collect_feeds(factories, settings)
    log("info", "libvuln/updates/Manager.Run", "running updaters", total=len(feeds), batchSize=4)
    with ThreadPoolExecutor(max_workers=4) as pool:
        results = list(pool.map(_run, feeds))
    lines = io.BytesIO()
    for feed, (_, records, fingerprint) in zip(feeds, results):
        _write(lines, feed, records, fingerprint, release)
    out.write(_compress(lines.getvalue(), compression))
    out.flush()
    if arguments:
        out.close()
    problems = [f"{feed.name}: {problem}\n" for feed, (problem, _, _) in zip(feeds, results) if problem]
    if problems:
        text = "updating errors:\n" + "".join(problems)
        if strict:
            raise CommandFailed(text)
        log("error", "", "", error=text)


def _run(feed: Feed) -> tuple[str, list[dict[str, Any]], str]:
    log("info", "libvuln/updates/Manager.driveUpdater", "starting update", updater=feed.name)
    try:
        body, fingerprint = feed.fetch("")
        records = feed.parse(body)
        log(
            "info",
            "libvuln/updates/Manager.driveUpdater",
            "successful update",
            ref=str(uuid.uuid4()),
            updater=feed.name,
        )
        return "", records, fingerprint
    except FeedProblem as problem:
        return str(problem), [], ""
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return f"vulnerability database parse failed: {error}", [], ""
    finally:
        log("info", "libvuln/updates/Manager.driveUpdater", "finished update", updater=feed.name)


def _write(out: BinaryIO, feed: Feed, records: list[dict[str, Any]], fingerprint: str, release: Release) -> None:
    common = {
        "Updater": feed.name,
        "Fingerprint": fingerprint,
        "Date": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "Ref": str(uuid.uuid4()),
    }
    for record in records:
        row = [None, *(record.get(name) or "" for name in VULNERABILITY_COLUMNS)]
        row[1] = feed.name
        row[4] = "0001-01-01T00:00:00Z"
        entry = {**common, "Vuln": vulnerability_json(row, release), "Kind": "vulnerability"}
        out.write(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def _compress(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data)
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(data)
    return data


def import_command(arguments: list[str], compression: str, config: Config, release: Release) -> None:
    """Store a pack in the matcher's database; writes `update_operation`, not `updater_status`.

    Raises:
        CommandFailed: wrong arguments, an unreadable pack or database.
    """
    if len(arguments) != 1:
        raise CommandFailed("need one argument")
    name = arguments[0]
    compression = compression or {".zst": "zstd", ".gz": "gzip"}.get(name[name.rfind(".") :] if "." in name else "", "")
    data = _decompress(_open(name), compression)
    try:
        store = MatcherStore(Database(config.get("matcher.connstring", ""), "", release), release)
        operations = store.operations("vulnerability", latest=False)
        for entry in _entries(data):
            _store_entry(entry, operations, store)
    except ConnectionStringProblem as problem:
        raise CommandFailed(str(problem)) from problem
    except ConnectionFailed as failure:
        raise CommandFailed(f"failed to begin transaction: {failure}") from failure
    except DatabaseError as error:
        raise CommandFailed(f"failed to get distinct updates: {error}") from error


def _open(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        with open(name, "rb") as handle:
            return handle.read()
    except OSError as error:
        if "://" not in name:
            words = f'Get "{name}": unsupported protocol scheme ""'
            raise CommandFailed(words) from error
    try:
        with http_client.request("GET", name) as response:
            if response.status != 200:
                raise CommandFailed(f"unexpected response: {response.status} {response.status} {response.reason}")
            return response.read()
    except http_client.RequestFailed as problem:
        raise CommandFailed(str(problem)) from problem


def _decompress(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        try:
            return gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise CommandFailed("gzip: invalid header") from error
    if kind == "zstd":
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                return reader.read()
        except zstandard.ZstdError as error:  # the original panics, and recovers with this sentence on standard output
            words = "runtime error: invalid memory address or nil pointer dereference"
            print(f"Something unexpected happened: {words}")
            raise SystemExit(1) from error
    return data


def _entries(data: bytes) -> Iterator[dict[str, Any]]:
    current: dict[str, Any] | None = None
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CommandFailed(f"invalid character {line[:1]!r} looking for beginning of value") from error
        if not isinstance(record, dict):
            raise CommandFailed("json: cannot unmarshal array into Go value of type jsonblob.diskEntry")
        if current is None or current["ref"] != record.get("Ref"):
            if current is not None:
                yield current
            current = {
                "ref": record.get("Ref"), "updater": record.get("Updater", ""),
                "fingerprint": record.get("Fingerprint", ""), "vulnerabilities": [], "enrichments": [],
            }  # fmt: skip
        if record.get("Kind") == "enrichment":
            current["enrichments"].append(record.get("Enrichment"))
        else:
            current["vulnerabilities"].append(record.get("Vuln"))
    if current is None:
        return
    yield current


def _store_entry(entry: dict[str, Any], operations: dict[str, list[dict[str, str]]], store: MatcherStore) -> None:
    component = "libvuln/OfflineImporter"
    updater = entry["updater"]
    if any(known["fingerprint"] == entry["fingerprint"] for known in operations.get(updater, [])):
        log("info", component, "fingerprint match, skipping", updater=updater)
        return
    ref = ""
    if entry["enrichments"]:
        records = [{"tags": one.get("Tags"), "enrichment": one.get("Enrichment")} for one in entry["enrichments"]]
        ref = store.update_enrichments(updater, entry["fingerprint"], records)
    if entry["vulnerabilities"]:
        ref = store.update_vulnerabilities(
            updater, entry["fingerprint"], [_row(one) for one in entry["vulnerabilities"]]
        )
    log("info", component, "update imported", updater=updater, ref=ref, vuln_count=len(entry["vulnerabilities"]),
        enrichment_count=len(entry["enrichments"]))  # fmt: skip


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    package = entry.get("package") or {}
    distribution = {name: value for name, value in (entry.get("distribution") or {}).items() if name != "id"}
    repository = entry.get("repository") or {}
    names = ("name", "description", "issued", "links", "severity", "normalized_severity", "fixed_in_version")
    return {
        **{name: entry.get(name, "") for name in names},
        **{f"package_{name}": package.get(name, "") for name in ("name", "version", "module", "arch", "kind")},
        **distribution_columns(distribution),
        **{f"repo_{name}": repository.get(name, "") for name in ("name", "key", "uri")},
    }
