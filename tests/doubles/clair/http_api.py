"""What all three services' APIs share: authentication, the router, compression, logs, request counts."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

from . import log_lines, tokens
from .config_loading import Config
from .http_server import Answer, Answered, ApiProblem, Handler, Request, Router, api_error, compressed, log_request
from .log_lines import log
from .releases import Release

_STARTED = formatdate(usegmt=True)
_ROBOTS = b"User-agent: *\nDisallow: /\n"


class Api:
    """The public handler of one process; services mount their routes on it."""

    def __init__(self, config: Config, release: Release) -> None:
        self._release = release
        self._config = config
        self._outer = Router(release)
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._counting = threading.Lock()
        self._outer.add("/openapi/v1", self._observed("discovery", self._openapi))
        log("info", "httptransport/New", "openapi discovery configured", path="/openapi/v1")

    def mount(
        self, prefix: str, name: str, routes: dict[str, Handler], wrap: Callable[[Handler], Handler] | None = None
    ) -> None:
        """Serve `routes` (full patterns) below `prefix`."""
        inner = Router(self._release)
        for pattern, handler in routes.items():
            inner.add(pattern, _reporting(handler))
        handler = self._observed(name, inner.dispatch)
        self._outer.add(prefix, wrap(handler) if wrap else handler)

    def handle(self, request: Request) -> Answer:
        """Answer a request: robots.txt freely, everything else behind the token."""
        if self._release.since("4.8.0") and request.path == "/robots.txt":
            headers = [
                ("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8"),
                ("X-Content-Type-Options", "nosniff"), ("Accept-Ranges", "bytes"), ("Last-Modified", _STARTED),
            ]  # fmt: skip
            return Answer(200, _ROBOTS, headers, chunked=False)
        modern = self._release.since("4.8.0")
        psk = self._config.get("auth.psk")
        if psk and not tokens.accepts(psk["key"], psk.get("iss", []), request.header("authorization"), modern):
            return Answer(401, b"", [], chunked=False)
        return self._outer.dispatch(request)

    def _observed(self, name: str, handler: Handler) -> Handler:
        modern = self._release.since("4.8.0")
        component = "main" if modern else "httptransport/New"

        def observed(request: Request) -> Answer:
            started = time.monotonic()
            if self._release.since("4.7.0"):
                log_lines.request_id.set(request.identifier)
            answer = _reporting(handler)(request)
            answer.chunked = True  # Clair flushes whatever came from below one of its prefixes
            if modern:
                answer = compressed(request, answer)
            with self._counting:
                self.requests[(name, request.method.lower(), answer.status)] += 1
            log_request(component, request, answer, started, modern)
            return answer

        return observed

    def _openapi(self, request: Request) -> Answer:
        if request.method != "GET":
            raise ApiProblem(405, "endpoint only allows GET")
        body = b'{"info":{"title":"Clair","version":"1.1"},"openapi":"3.0.2","paths":{}}'
        return Answer(
            200, body, [("Content-Type", "application/json"), ("Etag", '"stand-in"'), ("Trailer", "Clair-Error")]
        )


def _reporting(handler: Handler) -> Handler:
    def reporting(request: Request) -> Answer:
        try:
            return handler(request)
        except ApiProblem as problem:
            return api_error(problem.status, str(problem))
        except Answered as finished:
            return finished.answer

    return reporting
