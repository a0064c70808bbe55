"""Checks of certificates, as far as the standard library can: the edge's own, and the operator's CA files."""

from __future__ import annotations

import ipaddress
import ssl
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..settings import Deployment
from ..state.create_secrets import missing, missing_problem, supplied_names
from .findings import Finding, from_problem

EXPIRY_DAYS = 14


def certificate_findings(deployment: Deployment) -> List[Finding]:
    """Check the edge's certificate and the operator's CA files."""
    findings: List[Finding] = []
    edge = deployment.facts["edge"]
    if edge["tls"] == "files":
        left = missing(deployment, supplied_names(deployment))
        findings += [from_problem(missing_problem(left))] if left else []
        findings += tls_findings(
            deployment.secrets / "tls.crt", deployment.secrets / "tls.key", str(edge["hostname"]), time.time()
        )
    elif edge["tls"] == "off" and not is_loopback(str(edge["address"])):
        findings.append(
            Finding(
                f"edge not encrypted, {edge['address']}:{edge['port']}: tokens and reports cross the network in the clear",
                "copier update --trust --defaults --data edge_tls=files",
                warning=True,
            )
        )
    folder = deployment.root / "config" / "ca"
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.is_file() and not path.name.startswith("."):
            try:
                ssl.create_default_context(cafile=str(path))
            except (ssl.SSLError, OSError):
                where = path.relative_to(deployment.root).as_posix()
                findings.append(
                    Finding(f"certificate unreadable, {where}: no PEM certificate", f"openssl x509 -in {where} -noout")
                )
    return findings


def tls_findings(certificate: Path, key: Path, hostname: str, now_seconds: float) -> List[Finding]:
    """Check that a certificate can be read, belongs to its key, is valid now and names the host."""
    if not certificate.is_file() or not key.is_file():
        # Said by `certificate_findings`.
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(certificate), str(key), password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        mismatch = "KEY_VALUES_MISMATCH" in str(error)
        reason = (
            "the key belongs to another certificate" if mismatch else "no PEM certificate and key without a password"
        )
        return [
            Finding(
                f"certificate unusable, secrets/tls.crt and tls.key: {reason}",
                "openssl x509 -in secrets/tls.crt -noout -text",
            )
        ]
    fields = _decode_certificate(certificate)
    if fields is None:
        return []
    findings = []
    ends = ssl.cert_time_to_seconds(fields["notAfter"])
    if ends < now_seconds:
        findings.append(
            Finding(
                f"certificate expired, secrets/tls.crt: on {fields['notAfter']}", "install -m 0444 FILE secrets/tls.crt"
            )
        )
    elif ends < now_seconds + EXPIRY_DAYS * 86400:
        sentence = f"certificate ends soon, secrets/tls.crt: on {fields['notAfter']}"
        findings.append(Finding(sentence, "install -m 0444 FILE secrets/tls.crt", warning=True))
    if ssl.cert_time_to_seconds(fields["notBefore"]) > now_seconds:
        findings.append(Finding(f"certificate not valid yet, secrets/tls.crt: from {fields['notBefore']}", "date"))
    names = [value for kind, value in fields.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not any(name_matches(name, hostname) for name in names):
        listed = ", ".join(names) or "none"
        findings.append(
            Finding(f"certificate of another host, secrets/tls.crt: names {listed}, not {hostname}", "make check")
        )
    return findings


def name_matches(pattern: str, hostname: str) -> bool:
    """Return whether a certificate's name covers a host; a star stands for one whole first label (RFC 6125)."""
    pattern, hostname = pattern.lower().rstrip("."), hostname.lower().rstrip(".")
    if pattern.startswith("*."):
        return hostname.partition(".")[2] == pattern[2:] and bool(hostname.partition(".")[0]) and "." in pattern[2:]
    return pattern == hostname


def _decode_certificate(path: Path) -> Optional[Dict[str, Any]]:
    """Return a certificate's fields; None where this Python cannot tell.

    The standard library decodes a certificate that is not a peer's only in this function, which CPython has for its own
    tests in every release (Modules/_ssl.c).
    """
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        return None
    try:
        fields: Dict[str, Any] = decode(str(path))
    except (ssl.SSLError, OSError, ValueError):
        return None
    return fields


def is_loopback(address: str) -> bool:
    """Return whether an address or host name means this host only."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"
