"""Debian's Sources.gz: which binary packages a source package makes; releases up to 4.7.3 cannot do without (claircore sourcemapper.go)."""

from __future__ import annotations

import zlib
from urllib.parse import urljoin

from .feeds import FeedProblem, get

_COMPONENTS = ("main", "contrib", "non-free")


class SourceMap:
    """Source package to binary packages, by release."""

    def __init__(self) -> None:
        self._binaries: dict[tuple[str, str], set[str]] = {}
        self._etags: dict[str, str] = {}

    def update(self, code_name: str, directory: str) -> None:
        """Read the components of one release below `directory` (`.../dists/NAME/`).

        Raises:
            FeedProblem: a file is missing or no gzip.
        """
        for component in _COMPONENTS:
            url = urljoin(directory, f"{component}/source/Sources.gz")
            try:
                self._read(code_name, url)
            except FeedProblem as problem:
                raise FeedProblem(
                    f"could not update source to binary map: unable to fetch sources: {problem}"
                ) from problem

    def binaries(self, code_name: str, source: str) -> list[str]:
        """Return the binary packages of a source package."""
        return sorted(self._binaries.get((code_name, source), ()))

    def _read(self, code_name: str, url: str) -> None:
        status, _, headers, body = get(url, {"If-None-Match": self._etags.get(url, "")}, "")
        etag = headers.get("Etag", "")
        if status == 304 or (status == 200 and etag and etag == self._etags.get(url)):
            return
        if status != 200:
            raise FeedProblem(f"received status code {status} querying mapping url {url}")
        self._etags[url] = etag
        content_type = headers.get("Content-Type", "")
        if content_type not in ("application/gzip", "application/x-gzip"):
            raise FeedProblem(f"received bad content-type {content_type} querying mapping url {url}")
        try:
            text = zlib.decompress(body, 31).decode("utf-8", "replace")
        except zlib.error as error:
            raise FeedProblem("gzip: invalid header") from error
        for paragraph in text.split("\n\n")[:-1]:
            fields: dict[str, str] = {}
            name = ""
            for line in paragraph.splitlines():
                if line[:1] in (" ", "\t"):
                    if name:
                        fields[name] += " " + line.strip()
                    continue
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            source = fields.get("Package", "")
            if source and source != "linux":
                self._binaries.setdefault((code_name, source), set()).update(fields.get("Binary", "").split(", "))
