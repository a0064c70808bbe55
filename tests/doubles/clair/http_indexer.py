"""The indexer's routes (httptransport/indexer_v1.go)."""

from __future__ import annotations

import posixpath
import threading
from typing import Any

from .config_loading import Config
from .decoder_words import DecodeProblem, decode, digest_of
from .digests import parse_digest
from .http_api import Api
from .http_server import Answer, ApiProblem, Handler, Request, api_error, json_answer, pick_content_type
from .indexer_store import IndexerStore
from .indexing import Indexer, IndexProblem
from .postgres_store import ConnectionFailed, DatabaseError
from .releases import Release
from .scanner_versions import indexer_state
from .version_comparison import MatchProblem

_ROOT = "/indexer/api/v1/"
_PLAIN = "text/plain; charset=utf-8"  # what Go sniffs where Clair sets nothing


class IndexerRoutes:
    """Routes below /indexer/api/v1/."""

    def __init__(self, api: Api, config: Config, release: Release, store: IndexerStore, indexer: Indexer) -> None:
        self._store = store
        self._indexer = indexer
        self._release = release
        self._state = indexer_state(release)
        limit = config.get("indexer.index_report_request_concurrency", 0)
        self._slots = threading.Semaphore(limit) if limit > 0 else None
        api.mount(
            _ROOT,
            "indexerv1",
            {
                f"{_ROOT}index_report": self._index_report,
                f"{_ROOT}index_report/": self._index_report_one,
                f"{_ROOT}index_state": self._index_state,
                f"{_ROOT}internal/affected_manifest/": self._affected_manifest,
            },
            self._limited,
        )

    def _limited(self, handler: Handler) -> Handler:
        def limited(request: Request) -> Answer:
            if self._slots is None or (request.method != "POST" and request.path != f"{_ROOT}index_report"):
                return handler(request)
            if not self._slots.acquire(blocking=False):
                return api_error(429, "server handling too many requests")
            try:
                return handler(request)
            finally:
                self._slots.release()

        return limited

    def _index_report(self, request: Request) -> Answer:
        if request.method == "DELETE":
            return self._bulk_delete(request)
        if request.method != "POST":
            raise ApiProblem(405, f"method disallowed: {request.method}")
        manifest = self._manifest(request.body)
        digest = manifest["hash"]
        following = posixpath.join(request.path, digest)
        links = [
            ("Link", f'<{following}>; rel="https://projectquay.io/clair/v1/index_report"'),
            (
                "Link",
                f"</matcher/api/v1/vulnerability_report/{digest}>; "
                'rel="https://projectquay.io/clair/v1/vulnerability_report"',
            ),
        ]
        etag = f'"{self._state}"'
        if etag in request.headers.get("if-none-match", []):
            return Answer(412, b"", links)
        try:
            report = self._indexer.index(manifest)
        except IndexProblem as problem:
            raise ApiProblem(problem.status, f"failed to start scan: {problem}") from problem
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"failed to start scan: {error}") from error
        return json_answer(report, _PLAIN, 201, [*links, ("Etag", etag), ("Location", following)])

    def _manifest(self, body: bytes) -> dict[str, Any]:
        try:
            document = decode(body, self._release)
            if document is None:
                document = {}
            if isinstance(document, list):  # the decoder takes an array for the fields in their order
                document = dict(zip(("hash", "layers"), document, strict=False))
            if not isinstance(document, dict):
                raise DecodeProblem("json decode error [pos 1]: only encoded map or array can decode into struct")
            digest = digest_of(document.get("hash"), body)
            layers = []
            for layer in document.get("layers") or []:
                if not isinstance(layer, dict):
                    raise DecodeProblem("json decode error [pos 0]: no layer")
                layers.append({**layer, "hash": digest_of(layer.get("hash"), body)})
        except DecodeProblem as problem:
            raise ApiProblem(400, f"failed to deserialize manifest: {problem}") from problem
        if not digest or not layers:
            raise ApiProblem(400, "bogus manifest")
        return {"hash": digest, "layers": layers}

    def _bulk_delete(self, request: Request) -> Answer:
        try:
            document = decode(request.body, self._release) if request.body[:1] in b"[{" else None
            if not isinstance(document, (list, dict)):
                raise DecodeProblem(
                    "json decode error [pos 1]: only encoded map or array can be decoded into a slice (0)"
                )
            digests = [digest_of(entry, request.body) for entry in document]
        except DecodeProblem as problem:
            raise ApiProblem(400, f"failed to deserialize bulk delete: {problem}") from problem
        try:
            deleted = self._store.delete_manifests(digests)
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"could not delete manifests: {error}") from error
        return json_answer(deleted or (None if self._release.since("4.9.0") else []), _PLAIN)

    def _index_report_one(self, request: Request) -> Answer:
        if request.method not in ("GET", "DELETE"):
            raise ApiProblem(405, f"method disallowed: {request.method}")
        try:
            digest = parse_digest(posixpath.basename(request.path.rstrip("/")) or "/")
        except ValueError as error:
            raise ApiProblem(400, f"malformed path: {error}") from error
        if request.method == "DELETE":
            try:
                self._store.delete_manifests([digest])
            except (DatabaseError, ConnectionFailed) as error:
                raise ApiProblem(500, f"unable to delete manifest: {error}") from error
            return Answer(204)
        content_type = self._content_type(request, self._versioned("index_report"))
        etag = f'"{self._state}"'
        if etag in request.headers.get("if-none-match", []):
            return Answer(304, b"", [("Content-Type", content_type)])
        try:
            report = self._store.report(digest)
        except (DatabaseError, ConnectionFailed):
            report = None  # Clair looks at "not found" before it looks at the error
        if report is None:
            raise ApiProblem(404, "index report not found")
        return json_answer(report, content_type, 200, [("Etag", etag)])

    def _index_state(self, request: Request) -> Answer:
        if request.method != "GET":
            raise ApiProblem(405, f"method disallowed: {request.method}")
        content_type = self._content_type(request, self._versioned("index_state"))
        etag = f'"{self._state}"'
        if etag in request.headers.get("if-none-match", []):
            return Answer(304, b"", [("Content-Type", content_type), ("Etag", etag)])
        return json_answer({"state": self._state}, content_type, 200, [("Etag", etag)])

    def _affected_manifest(self, request: Request) -> Answer:
        if request.method != "POST":
            raise ApiProblem(405, f"method disallowed: {request.method}")
        content_type = self._content_type(request, self._versioned("affected_manifests"))
        try:
            document = decode(request.body, self._release)
        except DecodeProblem as problem:
            raise ApiProblem(400, f"failed to deserialize vulnerabilities: {problem}") from problem
        vulnerabilities = (document.get("vulnerabilities") if isinstance(document, dict) else None) or []
        try:
            affected = self._indexer.affected(vulnerabilities)
        except (MatchProblem, LookupError) as problem:
            words = f"received error retrieving affected manifests: {problem}"
            raise ApiProblem(500, f"could not retrieve affected manifests: {words}") from problem
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"could not retrieve affected manifests: {error}") from error
        answer = json_answer(affected, content_type)
        answer.headers = [header for header in answer.headers if header[0] != "Trailer"]
        return answer

    def _versioned(self, name: str) -> str:
        # The names have underscores since 4.9.0, but a report's always had.
        if not self._release.since("4.9.0") and name != "index_report":
            name = name.replace("_", "")
        return f"application/vnd.clair.{name}.v1+json"

    @staticmethod
    def _content_type(request: Request, versioned: str) -> str:
        return pick_content_type(request, [versioned, "application/json"])
