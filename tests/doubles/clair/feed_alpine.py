"""Alpine's feed: releases are found by asking for v3.3/, v3.4/, ... until one is missing (claircore alpine/updater.go)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urljoin

from .feeds import Feed, FeedProblem, Unchanged, get, head_status
from .layer_scanners import alpine_distribution
from .releases import Release

_DEFAULT_URL = "https://secdb.alpinelinux.org/"


class AlpineFactory:
    """Finds Alpine's updaters; remembers the last answer, as the original does."""

    def __init__(self, config: dict[str, Any], release: Release) -> None:
        self._base = str(config.get("url") or _DEFAULT_URL)
        if not self._base.endswith("/"):
            self._base += "/"
        self._release = release
        self._etag = ""
        self._stamp: bytes | None = None
        self._current: list[Feed] = []

    def updaters(self) -> list[Feed]:
        """Return the updaters there are.

        Raises:
            FeedProblem: the feed cannot be reached or is not laid out as it must be.
        """
        url = urljoin(self._base, "last-update")
        headers = {"If-None-Match": self._etag} if self._etag else {}
        status, reason, answer_headers, body = get(url, headers, f'alpine: error requesting "{url}": ')
        if status == 304:
            return self._current
        if status != 200:
            raise FeedProblem(f"alpine: unexpected status requesting `last-update`: {status} {reason}")
        if body == self._stamp:
            return self._current
        found: list[Feed] = []
        releases = self._releases()
        if self._release.since("4.7.3"):
            releases.append("edge")
        for name in releases:
            for repository in ("main", "community"):
                document = urljoin(self._base, f"{name}/{repository}.json")
                if head_status(document, f'alpine: error requesting "{document}": ') == 200:
                    found.append(_AlpineFeed(repository, name, document, self._release))
        self._etag, self._stamp, self._current = answer_headers.get("Etag", ""), body, found
        return found

    def _releases(self) -> list[str]:
        names = []
        major = 3
        while True:
            minor = 3 if major == 3 else 0
            found = False
            while True:
                url = urljoin(self._base, f"v{major}.{minor}/")
                status = head_status(url, f'alpine: error requesting "{url}": ')
                if status == 200:
                    found = True
                    names.append(f"v{major}.{minor}")
                elif status == 404:
                    break
                minor += 1
                if minor > 1000:
                    raise FeedProblem("alpine: the feed answers for every release")
            if not found:
                return names
            major += 1


class _AlpineFeed(Feed):
    def __init__(self, repository: str, name: str, url: str, release: Release) -> None:
        super().__init__(f"alpine-{repository}-{name}-updater")
        self._version = name.lstrip("v")
        self._url = url
        self._prefix = "https://cve.mitre.org/cgi-bin/cvename.cgi?name="
        if release.since("4.8.0"):
            self._prefix = "https://security.alpinelinux.org/vuln/"
        elif release.since("4.7.0"):
            self._prefix = "https://www.cve.org/CVERecord?id="

    def configure(self, config: dict[str, Any]) -> None:
        self._url = str(config.get("url") or self._url)

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        headers = {"If-None-Match": fingerprint} if fingerprint else {}
        status, reason, answer_headers, body = get(self._url, headers, "alpine: error making request: ")
        etag = answer_headers.get("Etag", "")
        if status == 304 or (status == 200 and fingerprint and etag == fingerprint):
            raise Unchanged
        if status != 200:
            raise FeedProblem(f"alpine: http response error: {status} {reason} {status}")
        return body, etag

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        distribution = alpine_distribution(self._version)
        found = []
        for entry in json.loads(body).get("packages") or []:
            package = entry.get("pkg") or {}
            for fixed, identifiers in (package.get("secfixes") or {}).items():
                for identifier in identifiers or []:
                    found.append(
                        {
                            "name": identifier,
                            "links": self._prefix + identifier,
                            "normalized_severity": "Unknown",
                            "package_name": package.get("name", ""),
                            "package_kind": "source",
                            "fixed_in_version": fixed,
                            **distribution_columns(distribution),
                        }
                    )
        return found


def distribution_columns(distribution: dict[str, str]) -> dict[str, str]:
    """Return a distribution under the column names of `vuln`."""
    return {"dist_id" if name == "did" else f"dist_{name}": value for name, value in distribution.items()}
