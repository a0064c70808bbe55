"""Checks the notifier's tokens and signs the receiver's own: HS256 with the deployment's key.

Source: httptransport/auth.go at v4.9.0 (15 s leeway); the recorded POST of Clair 4.9.0 (`iss` clair-notifier).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

ISSUER = "clair-notifier"
LEEWAY_SECONDS = 15
_LIFETIME_SECONDS = 60


class Refused(Exception):
    """A request that is answered with an HTTP status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def read_key(path: Path) -> bytes:
    """Return the key of a padded base64 file; raises ValueError or OSError if there is none."""
    key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    if not key:
        raise ValueError("empty")
    return key


def check_token(authorization: str, key: bytes, now_seconds: float) -> None:
    """Raise Refused (401) unless the header holds a valid HS256 token of the notifier."""
    scheme, _, token = authorization.partition(" ")
    parts = token.strip().split(".")
    if not authorization.isascii() or scheme.lower() != "bearer" or len(parts) != 3:
        raise Refused(401, "no bearer token")
    # Nothing of a token is read as a number before its signature has shown whose it is.
    try:
        signature, header = _decode(parts[2]), json.loads(_decode(parts[0]))
        algorithm = header["alg"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(401, "token unreadable") from error
    expected = hmac.new(key, ".".join(parts[:2]).encode(), hashlib.sha256).digest()
    if algorithm != "HS256" or not hmac.compare_digest(expected, signature):
        raise Refused(401, "token signature wrong")
    try:
        claims = json.loads(_decode(parts[1]))
        expires, issuer = float(claims["exp"]), claims["iss"]
        beginnings = [float(claims.get(name, 0)) for name in ("nbf", "iat")]
    # OverflowError: a number of more than 308 digits.
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(401, "token unreadable") from error
    if issuer != ISSUER:
        raise Refused(401, f"token issuer is not {ISSUER}")
    # Written so that NaN is refused.
    begun = all(beginning - LEEWAY_SECONDS < now_seconds for beginning in beginnings)
    if not (begun and expires + LEEWAY_SECONDS > now_seconds):
        raise Refused(401, "token expired or not valid yet")


def sign_token(key: bytes, now_seconds: float) -> str:
    """Return a token with which the notifier answers."""
    now = int(now_seconds)
    claims = {"iss": ISSUER, "iat": now, "nbf": now - LEEWAY_SECONDS, "exp": now + _LIFETIME_SECONDS}
    text = ".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{_encode(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
