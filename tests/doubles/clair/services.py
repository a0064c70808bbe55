"""Build the services of a mode: database, schema, stores, routes (initialize/services.go)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from . import schema_indexer, schema_matcher, schema_notifier
from .config_loading import Config
from .connection_string import ConnectionStringProblem
from .feeds import FeedProblem
from .http_api import Api
from .log_lines import log
from .postgres_store import ConnectionFailed, Database, DatabaseError
from .releases import Release
from .schema_changes import MigrationFailed, Migrations, migrate
from .tokens import INTRASERVICE_ISSUER

_COMPONENT = "initialize/Services"


class StartFailed(Exception):
    """The process cannot go on; the text is the original's after `fatal error`."""


class Panicked(Exception):
    """The original dies of a Go panic here; the text is what follows `panic: `."""


class Services:
    """The running services of one process."""

    def __init__(self, config: Config, release: Release, stopping: threading.Event) -> None:
        self._config = config
        self._release = release
        self._stopping = stopping
        self._mounts: list[Callable[[Api], None]] = []
        self._stops: list[Callable[[], None]] = []
        self._starts: list[Callable[[], None]] = []
        self._has_notifier = False

    def build(self) -> None:
        """Connect and migrate whatever the mode needs.

        Raises:
            StartFailed: with the original's text.
            Panicked: migrations come before the first connection of the pool, and cannot connect.
        """
        log("info", _COMPONENT, "begin service initialization")
        mode = self._config.mode
        try:
            if mode in ("indexer", "combo"):
                self._build_indexer()
            if mode in ("matcher", "combo"):
                self._build_matcher()
            if mode in ("notifier", "combo"):
                self._build_notifier()
        except (
            ConnectionFailed, ConnectionStringProblem, DatabaseError, MigrationFailed, FeedProblem, ValueError,
        ) as error:  # fmt: skip
            raise StartFailed(
                f"service initialization failed: failed to initialize {self._current}: {error}"
            ) from error
        finally:
            log("info", _COMPONENT, "end service initialization")

    def mount(self, api: Api) -> None:
        """Add the routes.

        Raises:
            StartFailed: the mode's service could not be built.
        """
        if self._config.mode == "notifier" and not self._has_notifier:
            modern = self._release.since("4.8.0")
            words = (
                'mode "notifier" requires a notifier service' if modern else "NotifierMode requires a notifier service"
            )
            raise StartFailed(f"http transport configuration failed: {words}")
        for add in self._mounts:
            add(api)

    def start(self) -> None:
        """Start what runs in the background."""
        for start in self._starts:
            start()

    def stop(self) -> None:
        """Stop what runs in the background."""
        for stop in self._stops:
            stop()

    def _connect(self, section: str, application: str, table: str, migrations: Migrations, highest: int) -> Database:
        self._current = section
        text = self._config.get(f"{section}.connstring", "")
        try:
            database = Database(text, application, self._release)
        except ConnectionStringProblem as problem:
            raise ConnectionStringProblem(f"failed to parse ConnString: {problem}") from problem
        self._stops.append(database.close)
        migrations_wanted = bool(self._config.get(f"{section}.migrations"))
        while True:
            try:
                database.connect().close()
                break
            except ConnectionFailed as failure:
                migrates_first = self._release.waits_for_database or section == "notifier"
                if migrations_wanted and migrates_first:
                    raise Panicked(f"migrate: {failure}") from failure
                if not self._release.waits_for_database or self._stopping.is_set():
                    prefix = "" if section == "notifier" else "failed to create ConnPool: "
                    raise ConnectionFailed(f"{prefix}{failure}") from failure
                log("warn", "internal/ctxlock/Locker.run", "unexpected error; retrying immediately", error=str(failure))
                self._stopping.wait(1.0)
                if self._stopping.is_set():
                    raise ConnectionFailed("context canceled") from failure
        if migrations_wanted:
            migrate(database, table, migrations, highest)
        return database

    def _build_indexer(self) -> None:
        from .http_indexer import IndexerRoutes
        from .indexer_store import IndexerStore
        from .indexing import Indexer

        database = self._connect(
            "indexer",
            "libindex",
            schema_indexer.MIGRATION_TABLE,
            schema_indexer.MIGRATIONS,
            self._release.indexer_schema,
        )
        store = IndexerStore(database, self._release)
        try:
            store.register_scanners()
        except (DatabaseError, ValueError) as error:
            raise ValueError(f"failed to register configured scanners: {error}") from error
        log("info", "libindex/New", "registered configured scanners")
        log("info", "indexer.NewLayerScanner", "NewLayerScanner: constructing a new layer-scanner")
        indexer = Indexer(store, self._config, self._release)
        self._mounts.append(lambda api: IndexerRoutes(api, self._config, self._release, store, indexer) and None)

    def _build_matcher(self) -> None:
        from .http_matcher import MatcherRoutes
        from .matcher_store import MatcherStore
        from .matching import Matching
        from .service_clients import IndexerClient, Signer
        from .updating import Manager

        database = self._connect(
            "matcher",
            "libvuln",
            schema_matcher.MIGRATION_TABLE,
            schema_matcher.MIGRATIONS,
            self._release.matcher_schema,
        )
        store = MatcherStore(database, self._release)
        if self._release.since("4.9.0") and not self._config.get("matcher.disable_enrichment"):
            log("info", _COMPONENT, "enrichment enabled")
        matching = Matching(store, self._config, self._release)
        log("info", "libvuln/New", "matchers created")
        manager = Manager(store, database, self._config, self._release)
        log("info", "libvuln/New", "libvuln initialized")
        self._starts.append(manager.start)
        self._stops.append(manager.stop)
        signer = Signer(self._config, self._release, INTRASERVICE_ISSUER)
        address = self._config.get("matcher.indexer_addr", "")
        if self._config.mode == "combo":
            address = "http://localhost:" + self._config.get("http_listen_addr").rpartition(":")[2]
            signer.add(address)
        client = IndexerClient(address, signer, self._release)
        self._mounts.append(
            lambda api: MatcherRoutes(api, self._config, self._release, store, matching, client) and None
        )

    def _build_notifier(self) -> None:
        self._current = "notifier"
        if not any(self._config.get(f"notifier.{kind}") is not None for kind in ("webhook", "amqp", "stomp")):
            if self._config.get("notifier.connstring") or self._config.mode == "notifier":
                self._connect(
                    "notifier", "", schema_notifier.MIGRATION_TABLE, schema_notifier.MIGRATIONS,
                    self._release.notifier_schema,
                )  # fmt: skip
            log("info", _COMPONENT, "notifier disabled", reason="no delivery mechanisms configured")
            return
        from .http_notifier import NotifierRoutes
        from .notifier_store import NotifierStore
        from .notifying import Notifier

        log("info", "notifier/postgres/Init", "performing notifier migrations")
        database = self._connect(
            "notifier", "", schema_notifier.MIGRATION_TABLE, schema_notifier.MIGRATIONS, self._release.notifier_schema
        )
        store = NotifierStore(database)
        notifier = Notifier(store, database, self._config, self._release)
        self._has_notifier = True
        self._starts.append(notifier.start)
        self._stops.append(notifier.stop)
        self._mounts.append(lambda api: NotifierRoutes(api, self._release, store) and None)
