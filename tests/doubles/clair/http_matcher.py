"""The matcher's routes (httptransport/matcher_v1.go)."""

from __future__ import annotations

import posixpath
import uuid
from typing import Any

from .config_loading import Config
from .digests import parse_digest
from .http_api import Api
from .http_server import Answer, ApiProblem, Request, json_answer
from .matcher_store import MatcherStore
from .matching import Matching
from .postgres_store import ConnectionFailed, DatabaseError
from .releases import Release
from .service_clients import IndexerClient, ServiceProblem
from .version_comparison import MatchProblem

_ROOT = "/matcher/api/v1/"
_PLAIN = "text/plain; charset=utf-8"


class MatcherRoutes:
    """Routes below /matcher/api/v1/."""

    def __init__(
        self,
        api: Api,
        config: Config,
        release: Release,
        store: MatcherStore,
        matching: Matching,
        indexer: IndexerClient,
    ) -> None:
        self._release = release
        self._store = store
        self._matching = matching
        self._indexer = indexer
        self._cache_seconds = config.get("matcher.cache_age")
        api.mount(
            _ROOT,
            "matcherv1",
            {
                f"{_ROOT}vulnerability_report/": self._vulnerability_report,
                f"{_ROOT}internal/update_operation": self._update_operation,
                f"{_ROOT}internal/update_operation/": self._delete_operation,
                f"{_ROOT}internal/update_diff": self._update_diff,
            },
        )

    def _vulnerability_report(self, request: Request) -> Answer:
        if request.method != "GET":
            raise ApiProblem(405, "endpoint only allows GET")
        try:
            digest = parse_digest(posixpath.basename(request.path.rstrip("/")) or "/")
        except ValueError as error:
            raise ApiProblem(400, f"malformed path: {error}") from error
        try:
            if not self._store.initialised():
                return Answer(202)
        except (DatabaseError, ConnectionFailed) as error:
            prefix = "initialization error: " if self._release.since("4.8.0") else ""
            raise ApiProblem(500, f"{prefix}{error}") from error
        try:
            index_report = self._indexer.index_report(digest)
        except ServiceProblem as problem:
            raise ApiProblem(500, f"experienced a server side error: {problem}") from problem
        unfinished = self._release.since("4.7.4") and (index_report or {}).get("state") != "IndexFinished"
        if index_report is None or unfinished:
            raise ApiProblem(404, f'index report for manifest "{digest}" not found')
        try:
            report = self._matching.report(index_report)
        except (DatabaseError, ConnectionFailed, MatchProblem) as error:
            raise ApiProblem(500, f"failed to start scan: {error}") from error
        content_type = "application/json"
        if self._release.since("4.9.0"):
            content_type = "application/vnd.clair.index_report.v1+json"
        return json_answer(report, content_type, 200, [("Cache-Control", f"max-age={self._cache_seconds:.0f}")])

    def _update_diff(self, request: Request) -> Answer:
        if request.method != "GET":
            raise ApiProblem(405, "endpoint only allows GET")
        previous = str(uuid.UUID(int=0))
        if request.parameter("prev"):
            previous = _uuid(request.parameter("prev"), 'could not parse "prev" query param into uuid')
        if not request.parameter("cur"):
            raise ApiProblem(400, '"cur" query param is required')
        current = _uuid(request.parameter("cur"), 'could not parse "cur" query param into uuid')
        try:
            return json_answer(self._store.difference(previous, current), _PLAIN)
        except (LookupError, DatabaseError, ConnectionFailed) as error:
            text = str(error.args[0])
            if not isinstance(error, LookupError):
                text = f"failed to confirm update op ref types: {text}"
            raise ApiProblem(500, f"could not get update operations: {text}") from error

    def _update_operation(self, request: Request) -> Answer:
        if request.method != "GET":
            raise ApiProblem(405, f"method disallowed: {request.method}")
        kind = request.parameter("kind") or "vulnerability"
        if kind not in ("vulnerability", "enrichment"):
            raise ApiProblem(400, f'unknown kind: "{kind}"')
        headers: list[tuple[str, str]] = []
        try:
            ref = self._store.latest_ref(kind)
            if ref:
                etag = f'"{ref}"'
                if etag in request.headers.get("if-none-match", []):
                    return Answer(304)
                headers.append(("Etag", etag))
            latest = request.parameter("latest") in ("1", "t", "T", "TRUE", "true", "True")
            operations: dict[str, Any] = self._store.operations(kind, latest)
        except (DatabaseError, ConnectionFailed) as error:
            text = f"could not get update operations: failed to begin transaction: {error}"
            raise ApiProblem(500, text) from error
        return json_answer(operations, _PLAIN, 200, headers)

    def _delete_operation(self, request: Request) -> Answer:
        if request.method != "DELETE":
            raise ApiProblem(405, f"method disallowed: {request.method}")
        text = posixpath.basename(request.path)
        try:
            ref = parse_uuid(text)
        except ValueError as error:
            raise ApiProblem(400, f"could not deserialize manifest: {error}") from error
        try:
            self._store.delete_operation(ref)
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"could not get update operations: failed to delete: {error}") from error
        return Answer(200)


def _uuid(text: str, problem: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise ApiProblem(400, problem) from error


def parse_uuid(text: str) -> str:
    """Read a UUID the way google/uuid does.

    Raises:
        ValueError: with its message.
    """
    if len(text) not in (32, 36, 38, 45):
        raise ValueError(f"invalid UUID length: {len(text)}")
    body = text
    if len(text) == 45:
        if text[:9].lower() != "urn:uuid:":
            raise ValueError(f'invalid urn prefix: "{text[:9]}"')
        body = text[9:]
    elif len(text) == 38:
        body = text[1:-1]
    if len(body) == 36 and any(body[place] != "-" for place in (8, 13, 18, 23)):
        raise ValueError("invalid UUID format")
    try:
        return str(uuid.UUID(body))
    except ValueError:
        raise ValueError("invalid UUID format") from None
