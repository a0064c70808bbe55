"""JSON Web Tokens as Clair signs and checks them: HS256, leeway of 15 seconds, missing times accepted.

Source: quay/clair middleware/auth and internal/httputil/signer.go (go-jose jwt).
"""

from __future__ import annotations

import base64
import hmac
import json
import time

LEEWAY_SECONDS = 15
INTRASERVICE_ISSUER = "clair-intraservice"
NOTIFIER_ISSUER = "clair-notifier"


def sign(key: bytes, issuer: str) -> str:
    """Return a token that is valid for half a minute around now, like Clair's own."""
    now = int(time.time())
    claims = {"iss": issuer, "exp": now + LEEWAY_SECONDS, "iat": now, "nbf": now - LEEWAY_SECONDS}
    head = _encode(b'{"alg":"HS256"}')
    body = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_encode(hmac.digest(key, f'{head}.{body}'.encode(), 'sha256'))}"


def accepts(key: bytes, issuers: list[str], authorization: str) -> bool:
    """Say whether an Authorization header carries a token that this service takes."""
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer":
        return False
    try:
        head, body, signature = token.split(".")
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
        expected = hmac.digest(key, f"{head}.{body}".encode(), "sha256")
        if header.get("alg") != "HS256" or not hmac.compare_digest(expected, _decode(signature)):
            return False
        now = time.time()
        return (
            claims.get("iss") in [INTRASERVICE_ISSUER, *issuers]
            and float(claims.get("exp") or now) >= now - LEEWAY_SECONDS
            and float(claims.get("nbf") or now) <= now + LEEWAY_SECONDS
            and float(claims.get("iat") or now) <= now + LEEWAY_SECONDS
        )
    except (ValueError, TypeError, AttributeError):
        return False


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
