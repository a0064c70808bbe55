"""What every feed has in common: a name, a fetch with a fingerprint, a parse; and bounded requests."""

from __future__ import annotations

from typing import Any

from . import http_client

_TIMEOUT_SECONDS = 10.0


class FeedProblem(Exception):
    """A feed cannot be reached or read; the text is the updater's own."""


class Unchanged(Exception):
    """The feed is what it was at the last fingerprint."""


class Feed:
    """One updater: fetches and parses one document."""

    kind = "vulnerability"

    def __init__(self, name: str) -> None:
        self.name = name

    def configure(self, config: dict[str, Any]) -> None:
        """Take the updater's own configuration, by convention under its name."""

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        """Return the document and its new fingerprint.

        Raises:
            Unchanged: nothing new.
            FeedProblem: no document.
        """
        raise NotImplementedError

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        """Return vulnerabilities by the columns of `vuln`, or enrichment records."""
        raise NotImplementedError


def get(url: str, headers: dict[str, str], prefix: str) -> tuple[int, str, dict[str, str], bytes]:
    """Fetch a document: status, reason, headers by canonical name, body.

    Raises:
        FeedProblem: `prefix` and Go's words.
    """
    try:
        with http_client.request("GET", url, headers, timeout_seconds=_TIMEOUT_SECONDS) as response:
            answer_headers = {name.title(): value for name, value in response.headers.items()}
            return response.status, response.reason, answer_headers, response.read()
    except (http_client.RequestFailed, OSError, http_client.http.client.HTTPException) as error:
        raise FeedProblem(f"{prefix}{error}") from error


def head_status(url: str, prefix: str) -> int:
    """Return the status of a HEAD request.

    Raises:
        FeedProblem: `prefix` and Go's words.
    """
    try:
        with http_client.request("HEAD", url, timeout_seconds=_TIMEOUT_SECONDS) as response:
            return response.status
    except (http_client.RequestFailed, OSError) as error:
        raise FeedProblem(f"{prefix}{error}") from error
