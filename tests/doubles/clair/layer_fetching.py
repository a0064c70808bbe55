"""Fetch a layer into the spool folder: headers of the manifest, compression by content, digest checked (claircore libindex/fetcher.go)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from . import http_client
from .releases import Release


class FetchProblem(Exception):
    """The layer could not be had; the text is claircore's."""


def spool_folder(release: Release) -> str:
    """Return the folder that layers are spooled to: TMPDIR, or the release's default."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if release.since("4.7.4") else "/tmp")


def fetch_layer(layer: dict[str, Any], release: Release, airgap: bool) -> BinaryIO:
    """Download, decompress and check one layer of a manifest; return its tar.

    Raises:
        FetchProblem: with claircore's message.
    """
    digest, uri = layer["hash"], layer.get("uri", "")
    if not uri:
        raise FetchProblem(f"empty uri for layer {digest}")
    if "://" not in uri:
        raise FetchProblem(f"failed to parse remote path uri: parse {json.dumps(uri)}: invalid URI for request")
    try:
        response = http_client.request("GET", uri, layer.get("headers") or {}, forbid_public=airgap)
    except http_client.RequestFailed as error:
        raise FetchProblem(f"fetcher: request failed: {error}") from error
    with response:
        if response.status != 200:
            start = response.read(256)
            quoted = json.dumps(start.decode("utf-8", "replace"))
            prefix = "" if release.since("4.8.0") else "fetcher: "
            raise FetchProblem(
                f"{prefix}unexpected status code: {response.status} {response.reason} (body starts: {quoted})"
            )
        algorithm, _, wanted = digest.partition(":")
        hasher = hashlib.new(algorithm)
        pieces = _hashed(response, hasher)
        first = next(pieces, b"")
        kind = _compression(first)
        _check_content_type(response.headers.get("Content-Type", ""), kind)
        spool = _open_spool(release)
        try:
            for piece in _decompressed(first, pieces, kind):
                spool.write(piece)
            spool.flush()
        except (OSError, zlib.error, EOFError, http_client.http.client.HTTPException) as error:
            spool.close()
            raise FetchProblem(_write_words(error)) from error
        if hasher.hexdigest() != wanted:
            spool.close()
            raise FetchProblem(f'fetcher: validation failed: got "{hasher.hexdigest()}", expected "{wanted}"')
    return spool


def _hashed(response: http_client.Response, hasher: Any) -> Iterator[bytes]:
    for piece in response.pieces():
        hasher.update(piece)
        yield piece


def _compression(start: bytes) -> str:
    if start.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if start.startswith(b"BZh"):
        return "bzip2"
    return "none"


def _check_content_type(content_type: str, kind: str) -> None:
    if content_type in ("", "text/plain", "binary/octet-stream", "application/octet-stream"):
        if kind == "bzip2":
            raise FetchProblem(f'fetcher: disallowed compression kind: "{kind}"')
        return
    if content_type.endswith((".tar.gzip", ".tar+gzip")) or content_type in ("application/gzip", "application/x-gzip"):
        wanted = "gzip"
    elif content_type == "application/zstd" or content_type.endswith(".tar+zstd"):
        wanted = "zstd"
    elif content_type == "application/x-tar" or content_type.endswith(".tar"):
        wanted = "none"
    else:
        raise FetchProblem(f'fetcher: unknown content-type "{content_type}"')
    if kind != wanted:
        raise FetchProblem(f'fetcher: mismatched compression ("{kind}") and content-type ("{content_type}")')


def _decompressed(first: bytes, rest: Iterator[bytes], kind: str) -> Iterator[bytes]:
    if kind == "gzip":
        unpacker = zlib.decompressobj(31)
        for piece in _chain(first, rest):
            while piece:
                yield unpacker.decompress(piece)
                piece = unpacker.unused_data
                if unpacker.eof and piece:
                    unpacker = zlib.decompressobj(31)
        if not unpacker.eof:
            raise EOFError("unexpected EOF")
    elif kind == "zstd":
        import zstandard

        whole = b"".join(_chain(first, rest))
        with zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True) as reader:
            while piece := reader.read(1 << 20):
                yield piece
    else:
        yield from _chain(first, rest)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _open_spool(release: Release) -> BinaryIO:
    folder = spool_folder(release)
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644), "w+b")
    except OSError as error:
        unsupported = error.errno in (errno.EOPNOTSUPP, errno.EISDIR)
        if unsupported and release.since("4.9.0"):  # its fallback lacks O_CREATE (fixed in claircore v1.5.50)
            raise FetchProblem("openat fetcher.0000000000000000: no such file or directory") from error
        if not unsupported or release.name == "4.7.3":
            raise FetchProblem(
                f"fetcher: unable to create file: open {folder}: {os.strerror(error.errno or 0).lower()}"
            ) from error
    try:
        return tempfile.TemporaryFile(dir=folder, prefix="fetcher.")  # type: ignore[return-value]
    except OSError as error:
        raise FetchProblem(f"open {folder}/fetcher.: {os.strerror(error.errno or 0).lower()}") from error


def _write_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"write /proc/self/fd: {os.strerror(error.errno).lower()}"
    return str(error)
