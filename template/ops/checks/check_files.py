"""Checks of this folder's files, without Docker: configs, what an update left behind, secrets, answers."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..errors import Problem
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from ..state.create_secrets import missing, missing_problem, password_names
from ..state.merge_config import config_folder, merged_config, read_config
from ..state.read_target import secret_target
from ..state.role_passwords import password_problem
from .check_certificates import certificate_findings, is_loopback
from .check_receiver import receiver_findings
from .config_check import (
    KeyRules,
    drop_in_sentence,
    holds_key,
    key_sentences,
    unknown_keys,
    unknown_patch_keys,
    value_sentences,
)
from .findings import Finding, from_problem

_SECOND_LOOK_BYTES = 2 * 1024 * 1024
_OWN_FOLDERS = {".git", "secrets", "state", "backups", "reports", "__pycache__"}
_PSK_BYTES = 32


def config_findings(deployment: Deployment) -> List[Finding]:
    """Check every Clair config and drop-in."""
    return [
        finding
        for service in CLAIR_SERVICES
        if service in deployment.facts["services"]
        for finding in _service_findings(deployment, service)
    ]


def _service_findings(deployment: Deployment, service: str) -> List[Finding]:
    release = deployment.facts["release"]
    rules = KeyRules(release["keys"][service], release["free_form"], bool(release["strict"]))
    findings: List[Finding] = []
    folder = config_folder(deployment, service)
    files = [folder / "config.yaml"]
    for path in sorted((folder / "config.yaml.d").glob("*")):
        where = path.relative_to(deployment.root).as_posix()
        if path.name == ".gitkeep" or path.name.endswith(".rej"):
            # A placeholder; and what `update_findings` says.
            continue
        sentence, hint = drop_in_sentence(where, path.name, bool(release["drop_ins"]), deployment.release)
        if sentence:
            findings.append(Finding(sentence, hint))
        else:
            files.append(path)
    readable = True
    for path in files:
        where = path.relative_to(deployment.root).as_posix()
        if path.is_file() and conflict_line(path.read_bytes()):
            # What `update_findings` says.
            readable = False
            continue
        try:
            document = read_config(deployment, path)
        except Problem as problem:
            readable = False
            findings.append(from_problem(problem))
            continue
        unknown = (unknown_patch_keys if path.suffix.endswith("-patch") else unknown_keys)(document, rules)
        findings += [Finding(*pair) for pair in key_sentences(where, unknown, rules, deployment.release)]
        if holds_key(document):
            findings.append(
                Finding(f"secret in git, {where}: auth.psk.key", "remove it: make up adds the key of secrets/psk")
            )
    if readable:
        try:
            merged = merged_config(deployment, service)
        except Problem as problem:
            return [*findings, from_problem(problem)]
        findings += [Finding(*pair) for pair in value_sentences(f"config/{service}", merged)]
    return findings


def update_findings(deployment: Deployment) -> List[Finding]:
    """Find what an update of the template could not merge: conflict markers and .rej files."""
    findings = []
    for path in _tracked_files(deployment.root):
        where = path.relative_to(deployment.root).as_posix()
        if path.suffix == ".rej":
            findings.append(
                Finding(f"update unfinished, {where}: a change that did not fit", f"merge it by hand, then rm {where}")
            )
        elif path.stat().st_size <= _SECOND_LOOK_BYTES:
            line = conflict_line(path.read_bytes())
            if line:
                findings.append(
                    Finding(f"update unfinished, {where}:{line}: conflict markers", f"edit {where}, then make check")
                )
    return findings


def conflict_line(content: bytes) -> int:
    """Return the line of the first conflict marker of a merge, or 0."""
    first = re.search(rb"^<{7} ", content, re.MULTILINE)
    if first is None or not re.search(rb"^>{7} ", content[first.end() :], re.MULTILINE):
        return 0
    return content.count(b"\n", 0, first.start()) + 1


def _tracked_files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _OWN_FOLDERS]
        yield from sorted(path for path in (Path(folder) / name for name in files) if path.is_file())


def secret_findings(deployment: Deployment) -> List[Finding]:
    """Check that every secret is there and can be used as what it is."""
    findings: List[Finding] = []
    names = ["psk", *password_names(deployment)]
    absent = missing(deployment, names)
    if absent and not deployment.bundled_database and absent != ["psk"]:
        findings.append(from_problem(missing_problem(absent)))
    elif absent:
        listed = ", ".join(f"secrets/{name}" for name in absent)
        findings.append(Finding(f"secret missing, {listed}: no such file", "make secrets"))
    for name in (name for name in names if name not in absent):
        try:
            value = deployment.secret(name)
        except Problem as problem:
            findings.append(from_problem(problem))
            continue
        except UnicodeDecodeError:
            findings.append(
                Finding(f"secret unreadable, secrets/{name}: not UTF-8 text", f"./clair secrets rotate {name}")
            )
            continue
        unusable = psk_problem(value) if name == "psk" else password_problem(name, value)
        if unusable:
            findings.append(from_problem(unusable))
        elif name == "psk" and len(base64.b64decode(value)) < _PSK_BYTES:
            findings.append(
                Finding(
                    f"secret weak, secrets/psk: shorter than {_PSK_BYTES} bytes", "./clair secrets rotate psk", True
                )
            )
    try:
        secret_target(deployment)
    except Problem as problem:
        findings.append(from_problem(problem))
    folder = deployment.secrets
    if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        findings.append(
            Finding("secrets open to others, secrets: more than its owner may enter", "chmod 0700 secrets", True)
        )
    return findings


def psk_problem(text: str) -> Optional[Problem]:
    """Return what keeps a text from being Clair's key, or None: standard base64 with padding (config/auth.go at v4.9.0)."""
    try:
        if base64.b64decode(text.encode("ascii"), validate=True):
            return None
        reason = "empty"
    except (binascii.Error, UnicodeEncodeError):
        reason = "no padded standard base64"
    return Problem(f"secret unusable, secrets/psk: {reason}", "./clair secrets rotate psk")


def database_findings(deployment: Deployment) -> List[Finding]:
    """Check the fields of an external database."""
    database: Dict[str, Any] = deployment.facts["database"]
    if deployment.bundled_database:
        return []
    findings = []
    host = str(database.get("host", ""))
    if not host or re.search(r"[\s/@]", host):
        findings.append(
            Finding(f"answer wrong, database_host: {host!r} is no host name or address", "copier update --trust")
        )
    if not 1 <= int(database.get("port", 0)) <= 65535:
        findings.append(
            Finding(f"answer wrong, database_port: {database.get('port')} is no port", "copier update --trust")
        )
    if database.get("sslmode") in ("disable", "allow", "prefer") and not is_loopback(host):
        sentence = f"database not encrypted, {host}: database_sslmode is {database['sslmode']}"
        findings.append(
            Finding(sentence, "copier update --trust --defaults --data database_sslmode=verify-full", warning=True)
        )
    return findings


CHECKS: Tuple[Tuple[str, Any], ...] = (
    ("update", update_findings),
    ("configs", config_findings),
    ("secrets", secret_findings),
    ("certificates", certificate_findings),
    ("database", database_findings),
    ("receiver", receiver_findings),
)
