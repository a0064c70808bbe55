"""JSON Web Tokens as Clair signs and checks them: signed HS256 (any HS is accepted), leeway of 15 seconds, missing times accepted.

Source: quay/clair middleware/auth and internal/httputil/signer.go (go-jose jwt).
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from typing import Any

LEEWAY_SECONDS = 15
_BASE64 = re.compile(r"[A-Za-z0-9_-]*")
_ALGORITHMS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
INTRASERVICE_ISSUER = "clair-intraservice"
NOTIFIER_ISSUER = "clair-notifier"


def sign(key: bytes, issuer: str) -> str:
    """Return a token that is valid for half a minute around now, like Clair's own."""
    now = int(time.time())
    claims = {"iss": issuer, "exp": now + LEEWAY_SECONDS, "iat": now, "nbf": now - LEEWAY_SECONDS}
    head = _encode(b'{"alg":"HS256"}')
    body = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_encode(hmac.digest(key, f'{head}.{body}'.encode(), 'sha256'))}"


def accepts(key: bytes, issuers: list[str], authorization: str, padding: bool = True) -> bool:
    """Say whether an Authorization header carries a token that this service takes; older releases refuse base64 padding."""
    scheme, space, token = authorization.partition(" ")
    if scheme != "Bearer" or not space:
        return False
    try:
        head, body, signature = "".join(token.split()).split(".")
        if "=" in token and not padding:
            return False
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
        algorithm = _ALGORITHMS.get(header.get("alg"))
        if algorithm is None or header.get("crit"):
            return False
        expected = hmac.digest(key, f"{head}.{body}".encode(), algorithm)
        if not hmac.compare_digest(expected, _decode(signature)):
            return False
        now = time.time()
        expiry, not_before, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        return (
            claims.get("iss") in [INTRASERVICE_ISSUER, *issuers]
            and (expiry is None or expiry >= now - LEEWAY_SECONDS)
            and (not_before is None or not_before <= now + LEEWAY_SECONDS)
            and (issued is None or issued <= now + LEEWAY_SECONDS)
        )
    except (ValueError, TypeError, AttributeError):
        return False


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(name)
    return float(value)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    text = text.rstrip("=")
    if not _BASE64.fullmatch(text):
        raise ValueError("no base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
