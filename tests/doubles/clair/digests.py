"""Content digests with claircore's messages (claircore/digest.go)."""

from __future__ import annotations

_SIZES = {"sha256": 32, "sha512": 64}


def parse_digest(text: str) -> str:
    """Return the digest in lower case.

    Raises:
        ValueError: with claircore's message.
    """
    algorithm, colon, checksum = text.partition(":")
    if not colon:
        raise ValueError("invalid digest format")
    try:
        raw = bytes.fromhex(checksum) if " " not in checksum else bytes.fromhex("z")
    except ValueError:
        raise ValueError("unable to decode digest as hex") from None
    if algorithm not in _SIZES:
        raise ValueError(f'unknown algorthm "{algorithm}"')
    if len(raw) != _SIZES[algorithm]:
        raise ValueError(f"bad checksum length: {len(raw)}")
    return f"{algorithm}:{raw.hex()}"
