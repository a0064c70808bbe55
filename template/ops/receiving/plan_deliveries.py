"""Stores findings and decides what is sent where: one message per image and notification to each target.

A finding that says what was said before, and was not taken back since, is stored but not sent: a notifier whose database
was restored reports the same again under new ids.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from .read_fixed import fixed_version
from .read_settings import SEVERITIES, Target


def store_findings(connection: sqlite3.Connection, notification: str, findings: Iterable[dict[str, Any]]) -> None:
    """Store each finding once, by Clair's id."""
    for finding in findings:
        vulnerability = finding["vulnerability"]
        package = _table(vulnerability.get("package"))
        distribution, repository = _table(vulnerability.get("distribution")), _table(vulnerability.get("repo"))
        row = {
            "manifest": _text(finding.get("manifest")),
            "vulnerability": _text(vulnerability.get("name")),
            "severity": _severity(vulnerability),
            "package": _text(package.get("name")),
            "version": _text(package.get("version")),
            "fixed_in": _text(fixed_version(vulnerability.get("fixed_in_version"))),
        }
        said = [*row.values(), *(_text(distribution.get(key)) for key in ("did", "version_id", "version"))]
        said.append(_text(repository.get("name")))
        fingerprint = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        reason = _text(finding.get("reason"))
        connection.execute(
            "INSERT OR IGNORE INTO finding (id, notification, fingerprint, repeated, manifest, vulnerability, severity,"
            " package, version, fixed_in, reason, links) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_text(finding["id"]), notification, fingerprint, *row.values(), reason,
             _text(vulnerability.get("links"))),
        )  # fmt: skip


def mark_repeated(connection: sqlite3.Connection, notification: str) -> None:
    """Mark the findings of a whole notification that are no news.

    Decided when all pages are there: an entry of a feed whose description alone has changed is reported as removed and as
    added at once, in any order. It is no news if the last notification about the same thing ended with "added", or if there
    is none: what is taken back was there when the image was indexed. Only notifications that were planned count: what is
    half fetched has told nobody anything.
    """
    connection.execute(
        "UPDATE finding SET repeated = 1 WHERE notification = ?1 AND reason = 'added' AND coalesce("
        "(SELECT max(other.reason = 'added') FROM finding AS other WHERE other.fingerprint = finding.fingerprint"
        " AND other.notification = (SELECT earlier.notification FROM finding AS earlier"
        " JOIN notification ON notification.id = earlier.notification AND notification.state = 'fetched'"
        " WHERE earlier.fingerprint = finding.fingerprint AND earlier.notification <> ?1"
        " ORDER BY earlier.rowid DESC LIMIT 1)),"
        " EXISTS (SELECT 1 FROM finding AS other WHERE other.fingerprint = finding.fingerprint"
        " AND other.notification = ?1 AND other.reason = 'removed'))",
        (notification,),
    )


def plan_deliveries(connection: sqlite3.Connection, notification: str, targets: Sequence[Target], test: bool) -> int:
    """Store a delivery per image and target; return how many wait to be sent."""
    mark_repeated(connection, notification)
    manifests = connection.execute(
        "SELECT DISTINCT manifest FROM finding WHERE notification = ? ORDER BY manifest", (notification,)
    ).fetchall()
    waiting = 0
    for (manifest,) in manifests:
        findings, names = _read(connection, notification, manifest), image_names(connection, manifest)
        for target in targets:
            sent = bool(_wanted(findings, names, target, test))
            waiting += sent
            identity = hashlib.sha256(json.dumps([notification, manifest, target.name]).encode()).hexdigest()[:32]
            connection.execute(
                "INSERT OR IGNORE INTO delivery (id, notification, target, manifest, state, next_try)"
                " VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT until FROM pause WHERE target = ?3), 0))",
                (identity, notification, target.name, manifest, "waiting" if sent else "filtered"),
            )
    return waiting


def select_findings(
    connection: sqlite3.Connection, notification: str, manifest: str, target: Target, test: bool
) -> list[sqlite3.Row]:
    """Return the findings of an image that this target gets, worst first. A test passes every filter."""
    rows = _wanted(_read(connection, notification, manifest), image_names(connection, manifest), target, test)
    return sorted(rows, key=lambda row: (-SEVERITIES.index(row["severity"]), row["vulnerability"], row["package"]))


def _read(connection: sqlite3.Connection, notification: str, manifest: str) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT * FROM finding WHERE notification = ? AND manifest = ? ORDER BY id", (notification, manifest)
    ).fetchall()


def _wanted(rows: list[sqlite3.Row], names: list[str], target: Target, test: bool) -> list[sqlite3.Row]:
    if not test:
        # The name of an image is unknown until somebody told it: then the pattern cannot exclude. Of several, one suffices.
        if target.image and names and not any(_fits(name, target.image) for name in names):
            return []
        rows = [row for row in rows if row["reason"] == "added" and not row["repeated"] and _passes(row, target)]
    return rows


def image_names(connection: sqlite3.Connection, manifest: str) -> list[str]:
    """Return the names of an image, the newest first."""
    rows = connection.execute("SELECT name FROM image WHERE manifest = ? ORDER BY rowid DESC", (manifest,))
    return [row["name"] for row in rows]


def image_name(connection: sqlite3.Connection, manifest: str, pattern: str = "") -> str:
    """Return the name of an image that a pattern fits, else the newest; empty if none is known."""
    names = image_names(connection, manifest)
    fitting = [name for name in names if pattern and _fits(name, pattern)]
    return next(iter(fitting or names), "")


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name fits a pattern of `*` and `?`; a bracket is one, as in the address of a registry."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _passes(row: sqlite3.Row, target: Target) -> bool:
    if target.only_fixed and not row["fixed_in"]:
        return False
    # Unknown is never "below": nobody has looked yet.
    limit = SEVERITIES.index(target.severity.capitalize()) if target.severity else 0
    return row["severity"] == "Unknown" or SEVERITIES.index(row["severity"]) >= limit


def _severity(vulnerability: dict[str, Any]) -> str:
    text = _text(vulnerability.get("normalized_severity") or vulnerability.get("severity")).capitalize()
    return text if text in SEVERITIES else "Unknown"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    # JSON may hold half of a surrogate pair, which no file and no message can.
    return value[:2000].encode("utf-8", "replace").decode() if isinstance(value, str) else ""
