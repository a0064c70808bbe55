"""The notifier's routes (httptransport/notification_v1.go)."""

from __future__ import annotations

import posixpath
import re
import uuid

from .http_api import Api
from .http_matcher import parse_uuid
from .http_server import Answer, ApiProblem, Request, json_answer, pick_content_type
from .log_lines import log
from .notifier_store import NotifierStore
from .postgres_store import ConnectionFailed, DatabaseError
from .releases import Release

_ROOT = "/notifier/api/v1/"
_PAGE_SIZE = 500
_NOBODY = str(uuid.UUID(int=0))


class NotifierRoutes:
    """Routes below /notifier/api/v1/."""

    def __init__(self, api: Api, release: Release, store: NotifierStore) -> None:
        kind = "notification_page" if release.since("4.9.0") else "notification"
        self._types = [f"application/vnd.clair.{kind}.v1+json", "application/json"]
        self._store = store
        api.mount(_ROOT, "notificationv1", {f"{_ROOT}notification/": self._notification})

    def _notification(self, request: Request) -> Answer:
        if request.method not in ("GET", "DELETE"):
            raise ApiProblem(405, "endpoint only allows GET or DELETE")
        verb = request.method.lower()
        try:
            identifier = parse_uuid(posixpath.basename(request.path.rstrip("/")) or "/")
        except ValueError as error:
            log("warn", f"httptransport/NotificationV1.{verb}", "could not parse notification id",
                error=str(error))  # fmt: skip
            raise ApiProblem(400, f"could not parse notification id: {error}") from error
        return self._delete(identifier) if request.method == "DELETE" else self._page(request, identifier)

    def _delete(self, identifier: str) -> Answer:
        try:
            known = self._store.set_status(identifier, "deleted")
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"could not delete notification: {error}") from error
        if not known:
            raise ApiProblem(500, f"could not delete notification: no receipt exists for notification id {identifier}")
        return Answer(200)

    def _page(self, request: Request, identifier: str) -> Answer:
        size = _PAGE_SIZE
        if request.parameter("page_size"):
            if not re.fullmatch(r"[+-]?\d+", request.parameter("page_size")):
                raise ApiProblem(400, 'could not parse "page_size" query param into integer')
            size = int(request.parameter("page_size")) or _PAGE_SIZE
        after = _NOBODY
        if request.parameter("next"):
            try:
                after = parse_uuid(request.parameter("next"))
            except ValueError as error:
                raise ApiProblem(400, 'could not parse "next" query param into integer') from error
        content_type = pick_content_type(request, self._types)
        prefix = f"failed to retrieve notifications: notification associated with id {identifier} is malformed: "
        if size < 1:
            raise ApiProblem(500, f"{prefix}bad page size: {size}")
        try:
            bodies, following = self._store.page(identifier, after, size)
        except (DatabaseError, ConnectionFailed) as error:
            raise ApiProblem(500, f"{prefix}{error}") from error
        page: dict[str, object] = {"size": size}
        if following:
            page = {"next": following, "size": size}
        return json_answer({"page": page, "notifications": bodies}, content_type)
