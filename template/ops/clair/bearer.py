"""The tokens Clair accepts: JSON Web Tokens signed with HS256 and the deployment's pre-shared key.

Reads no file and writes none. Clair checks the signature, that `iss` is in `auth.psk.iss`, and `exp`, with 15 s of
leeway (quay/clair httptransport/auth.go at v4.9.0). A token carries no `iat` and no `nbf`, as Quay's do not: a clock
that runs a minute ahead then does no harm.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Collection
from typing import Any, Optional

from ..errors import Problem

LIFETIME_SECONDS = 300
LEEWAY_SECONDS = 15


def decode_key(text: str, origin: str = "secrets/psk") -> bytes:
    """Return the key of its text form, padded standard base64, the form of Clair's `auth.psk.key`.

    Raises Problem (2) that names `origin` if the text is not that.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(f"key unreadable, {origin}: not padded base64", "./clair secrets rotate psk") from error
    if not key:
        raise Problem(f"key unreadable, {origin}: empty", "./clair secrets rotate psk")
    return key


def sign(claims: dict[str, Any], key: bytes) -> str:
    """Return the signed token of `claims`."""
    header = {"alg": "HS256", "typ": "JWT"}
    body = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{body}.{_encode(hmac.new(key, body.encode(), hashlib.sha256).digest())}"


def token(key: bytes, issuer: str, now: Optional[float] = None) -> str:
    """Return a token of `issuer` for one request, good for five minutes from `now` (seconds since 1970)."""
    return sign({"iss": issuer, "exp": int(time.time() if now is None else now) + LIFETIME_SECONDS}, key)


def verify(text: str, key: bytes, issuers: Collection[str], now: Optional[float] = None) -> Optional[dict[str, Any]]:
    """Return the claims of a token that is signed with `key`, from one of `issuers` and in date, else None."""
    now = time.time() if now is None else now
    try:
        header, claims, signature = text.split(".")
        expected = hmac.new(key, f"{header}.{claims}".encode("ascii"), hashlib.sha256).digest()
        if not hmac.compare_digest(expected, _decode(signature)) or json.loads(_decode(header)).get("alg") != "HS256":
            return None
        found = json.loads(_decode(claims))
        in_date = now - LEEWAY_SECONDS < float(found["exp"]) and float(found.get("nbf", 0)) < now + LEEWAY_SECONDS
        return found if in_date and found["iss"] in issuers else None
    except (ValueError, KeyError, TypeError, AttributeError):  # not a token at all, or claims of another form
        return None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
