"""Debian's feed: releases from the mirror's dists/, then the tracker's JSON, or OVAL documents before 4.7.0 (claircore debian/)."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urljoin

from .debian_sources import SourceMap
from .feed_alpine import distribution_columns
from .feeds import Feed, FeedProblem, Unchanged, get, head_status
from .layer_scanners import debian_distribution
from .oval import read_dpkg_definitions
from .releases import Release

# The original goes to the public mirror of Debian by default; the double reaches only what its configuration names.
_MIRROR = "https://debian-mirror.invalid/"
_ARCHIVE = "http://debian-archive.invalid/"
_TRACKER = "https://security-tracker.debian.org/tracker/data/json"
_OVAL = "https://www.debian.org/security/oval/"
_LINK = re.compile(r'href="([^"]+)"')
_SKIPPED = ("-", "Debian", "sid", "stable", "testing", "experimental", "README", "updates", "backports")
_SEVERITIES = {"unimportant": "Low", "low": "Medium", "medium": "High", "high": "Critical"}

_known_releases: dict[str, dict[str, str]] = {}


class DebianFactory:
    """Finds Debian's releases and makes the updater, or before 4.7.0 one updater for each release."""

    def __init__(self, config: dict[str, Any], release: Release) -> None:
        """Read the configuration.

        Raises:
            FeedProblem: it holds words of the other generation.
        """
        self._release = release
        self._config = config
        if release.since("4.7.0") and (config.get("archive_url") or config.get("oval_url")):
            raise FeedProblem(
                "debian: neither archive_url nor oval_url should be populated anymore; "
                "use json_url and mirror_url instead"
            )
        self._mirror = urljoin(str(config.get("mirror_url") or _MIRROR), "debian/")
        self._archive = urljoin(str(config.get("archive_url") or _ARCHIVE), "debian/")
        self._sources = SourceMap()

    def updaters(self) -> list[Feed]:
        """Return the updaters there are.

        Raises:
            FeedProblem: the mirror cannot be read.
        """
        if self._release.since("4.7.0"):
            found = self._find_releases(self._mirror)
            # Up to 4.7.3 the tracker's source packages are turned into binary packages with the mirror's Sources.gz.
            sources = None if self._release.since("4.7.4") else self._sources
            directories = {name: urljoin(self._mirror, f"dists/{name}/") for name in found}
            return [_TrackerFeed(str(self._config.get("json_url") or _TRACKER), sources, directories)]
        feeds: dict[str, Feed] = {}
        for base in (self._archive, self._mirror):
            for name in self._find_releases(base):
                url = urljoin(str(self._config.get("oval_url") or _OVAL), f"oval-definitions-{name}.xml")
                if head_status(url, "debian: unable to do OVAL HEAD request: ") == 200:
                    feeds[name] = _OvalFeed(name, url, self._sources, urljoin(base, f"dists/{name}/"))
        return list(feeds.values())

    def _find_releases(self, base: str) -> list[str]:
        directory = urljoin(base, "dists/")
        prefix = "debian: examining remote: debian: "
        status, reason, _, body = get(directory, {}, f"{prefix}unable to do request: ")
        if status != 200:
            raise FeedProblem(f'{prefix}unexpected status fetching "{directory}": {status} {reason}')
        found = []
        for link in _LINK.findall(body.decode("utf-8", "replace")):
            if link[:1] in ("", "/", "?") or any(word in link for word in _SKIPPED):
                continue
            name = link.strip("/")
            try:
                status, _, _, text = get(urljoin(directory, f"{name}/Release"), {"Range": "bytes=0-512"}, "")
            except FeedProblem:
                continue
            if status not in (200, 206):
                continue
            match = re.search(r"(?m)^Version:\s*(\S+)", text.decode("utf-8", "replace"))
            number = match.group(1).split(".") if match else []
            if len(number) > 1 and number[0].isdigit():
                _known_releases.setdefault(name, debian_distribution(name, int(number[0])))
                found.append(name)
        return found


class _TrackerFeed(Feed):
    def __init__(self, url: str, sources: SourceMap | None, directories: dict[str, str]) -> None:
        super().__init__("debian/updater")
        self._url = url
        self._sources = sources
        self._directories = directories

    def configure(self, config: dict[str, Any]) -> None:
        if config.get("dists_url") or config.get("url"):
            raise FeedProblem(
                "debian: neither url nor dists_url should be used anymore; use json_url and dists_urls instead"
            )
        self._url = str(config.get("json_url") or self._url)

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        headers = {"If-Modified-Since": fingerprint} if fingerprint else {}
        status, reason, answer_headers, body = get(self._url, headers, "failed to retrieve JSON database: ")
        modified = answer_headers.get("Last-Modified", "")
        if status == 304 or (status == 200 and fingerprint and modified == fingerprint):
            raise Unchanged
        if status != 200:
            raise FeedProblem(f"unexpected response: {status} {reason}")
        if self._sources is not None:
            for name, directory in self._directories.items():
                self._sources.update(name, directory)
        return body, modified

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        try:
            document = json.loads(body)
        except ValueError as error:
            raise FeedProblem(f"unable to parse JSON vulnerability feed: {error}") from error
        found = []
        for package, vulnerabilities in document.items():
            for identifier, facts in (vulnerabilities or {}).items():
                for name, state in ((facts or {}).get("releases") or {}).items():
                    if name not in _known_releases:
                        continue
                    urgency = state.get("urgency", "")
                    entry = {
                        "name": identifier,
                        "description": facts.get("description", ""),
                        "links": f"https://security-tracker.debian.org/tracker/{identifier}",
                        "severity": urgency,
                        "normalized_severity": _SEVERITIES.get(urgency.lower(), "Unknown"),
                        "fixed_in_version": state.get("fixed_version", ""),
                        **distribution_columns(_known_releases[name]),
                    }
                    found += [{**entry, **columns} for columns in self._packages(name, package)]
        return found

    def _packages(self, code_name: str, source: str) -> list[dict[str, str]]:
        if self._sources is None:
            return [{"package_name": source, "package_kind": "source"}]
        names = self._sources.binaries(code_name, source)
        return [{"package_name": name, "package_kind": "binary"} for name in names]


class _OvalFeed(Feed):
    def __init__(self, code_name: str, url: str, sources: SourceMap, directory: str) -> None:
        super().__init__(f"debian/updater/{code_name}")
        self._code_name = code_name
        self._url = url
        self._sources = sources
        self._directory = directory

    def configure(self, config: dict[str, Any]) -> None:
        self._url = str(config.get("url") or self._url)
        self._directory = str(config.get("dists_url") or self._directory)

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        headers = {"If-None-Match": fingerprint} if fingerprint else {}
        status, reason, answer_headers, body = get(self._url, headers, "failed to retrieve OVAL database: ")
        etag = answer_headers.get("Etag", "")
        if status == 304 or (status == 200 and fingerprint and etag == fingerprint):
            raise Unchanged
        if status != 200:
            raise FeedProblem(f"unexpected response: {status} {reason}")
        self._sources.update(self._code_name, self._directory)
        return body, etag

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        distribution = distribution_columns(_known_releases[self._code_name])
        return [
            {**entry, **distribution, "package_name": name, "package_kind": "binary"}
            for entry in read_dpkg_definitions(body)
            for name in self._sources.binaries(self._code_name, entry["package_name"])
        ]
