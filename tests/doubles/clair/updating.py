"""Run the updaters: once at the start, then at every period (claircore libvuln/updates/manager.go)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, Protocol

from .clock import TIME_FACTOR
from .config_loading import Config
from .durations import format_duration
from .feed_alpine import AlpineFactory
from .feed_debian import DebianFactory
from .feeds import Feed, FeedProblem, Unchanged
from .feeds_elsewhere import elsewhere
from .log_lines import log
from .matcher_store import MatcherStore
from .postgres_store import ConnectionFailed, Database, DatabaseError
from .releases import Release

_RUN = "libvuln/updates/Manager.Run"
_DRIVE = "libvuln/updates/Manager.driveUpdater"


class Factory(Protocol):
    """Makes updaters."""

    def updaters(self) -> list[Feed]:
        """Return the updaters of the set."""


def make_factories(config: Config, release: Release) -> dict[str, Factory]:
    """Build the factories of the sets asked for; unknown names are ignored.

    Raises:
        FeedProblem: a set refuses its configuration; Clair does not start then.
    """
    asked = config.get("updaters.sets")
    settings: dict[str, Any] = config.get("updaters.config", {})
    factories: dict[str, Factory] = {}
    for name in release.updater_sets:
        if asked is not None and name not in asked:
            continue
        own = settings.get(name) or {}
        if name == "alpine":
            factories[name] = AlpineFactory(own, release)
        elif name == "debian":
            factories[name] = DebianFactory(own, release)
        else:
            factories[name] = elsewhere(name, own, release)
    return factories


class Manager:
    """Runs the updaters of one matcher; two matchers on one database share the work by advisory locks."""

    def __init__(self, store: MatcherStore, database: Database, config: Config, release: Release) -> None:
        """Build the factories.

        Raises:
            FeedProblem: a set refuses its configuration.
        """
        self._store = store
        self._database = database
        self._settings: dict[str, Any] = config.get("updaters.config", {})
        self._retention = config.get("matcher.update_retention", 10)
        self._period_seconds = max(config.get("matcher.period"), 60.0)
        self._stop = threading.Event()
        try:
            self._factories = make_factories(config, release)
        except FeedProblem as problem:
            raise FeedProblem(
                f"failed to configure updater set factory: updater: errors configuring factories:\n\t{problem}"
            ) from problem

    def start(self) -> None:
        """Run in the background until `stop`."""
        threading.Thread(target=self._loop, daemon=True).start()

    def stop(self) -> None:
        """End the background runs."""
        self._stop.set()

    def _loop(self) -> None:
        component = "libvuln/updates/Manager.Start"
        log("info", component, "starting initial updates")
        self._run_logged(component)
        log("info", component, "starting background updates", interval=format_duration(self._period_seconds))
        while not self._stop.wait(self._period_seconds / TIME_FACTOR):
            self._run_logged(component)

    def _run_logged(self, component: str) -> None:
        problems = self.run()
        if problems:
            text = "updating errors:\n" + "".join(f"{problem}\n" for problem in problems)
            log("error", component, "errors encountered during updater run", error=text)

    def run(self) -> list[str]:
        """Run every updater once and return their errors."""
        feeds = collect_feeds(self._factories, self._settings)
        log("info", _RUN, "running updaters", total=len(feeds), batchSize=10)
        with ThreadPoolExecutor(max_workers=10) as pool:
            results = list(pool.map(self._drive_locked, feeds))
        if self._retention:
            log("info", _RUN, "GC started", retention=self._retention)
            try:
                remaining = self._store.collect_garbage(self._retention)
                log("info", _RUN, "GC completed", remaining_ops=remaining, retention=self._retention)
            except (DatabaseError, ConnectionFailed) as error:
                log("error", _RUN, "error while performing GC", error=str(error))
        return [f"{feed.name}: {problem}" for feed, problem in zip(feeds, results) if problem]

    def _drive_locked(self, feed: Feed) -> str | None:
        if self._stop.is_set():
            return None
        try:
            with self._database.try_lock(feed.name) as free:
                return self._drive(feed) if free else None
        except (DatabaseError, ConnectionFailed) as error:
            return str(error)

    def _drive(self, feed: Feed) -> str | None:
        log("info", _DRIVE, "starting update", updater=feed.name)
        if feed.kind == "enrichment":
            log("info", _DRIVE, "found EnrichmentUpdater", updater=feed.name)
        attempted = datetime.now(timezone.utc).isoformat()
        fingerprint, problem = "", None
        try:
            body, fingerprint = feed.fetch(self._store.latest_fingerprint(feed.name))
            ref = self._save(feed, body, fingerprint)
            log("info", _DRIVE, "successful update", updater=feed.name, ref=ref)
        except Unchanged:
            fingerprint = self._store.latest_fingerprint(feed.name)
            log("info", _DRIVE, "vulnerability database unchanged", updater=feed.name)
        except FeedProblem as error:
            problem = str(error)
        finally:
            log("info", _DRIVE, "finished update", updater=feed.name)
        self._store.record_status(feed.name, attempted, fingerprint, problem)
        return problem

    def _save(self, feed: Feed, body: bytes, fingerprint: str) -> str:
        word = "enrichment" if feed.kind == "enrichment" else "vulnerability"
        try:
            records = feed.parse(body)
        except (FeedProblem, ValueError, TypeError, AttributeError, KeyError) as error:
            raise FeedProblem(f"{word} database parse failed: {error}") from error
        try:
            if feed.kind == "enrichment":
                return self._store.update_enrichments(feed.name, fingerprint, records)
            return self._store.update_vulnerabilities(feed.name, fingerprint, records)
        except DatabaseError as error:
            raise FeedProblem(f"failed to update: {error}") from error


def collect_feeds(factories: dict[str, Factory], settings: dict[str, Any]) -> list[Feed]:
    """Ask every factory for its updaters; one that fails is logged and left out."""
    with ThreadPoolExecutor(max_workers=max(1, len(factories))) as pool:
        futures = [pool.submit(factory.updaters) for factory in factories.values()]
    feeds = []
    for future in futures:
        try:
            found = future.result()
        except FeedProblem as problem:
            log("error", _RUN, "failed constructing factory, excluding from run", error=str(problem))
            continue
        for feed in found:
            try:
                feed.configure(settings.get(feed.name) or {})
            except FeedProblem as problem:
                log("warn", _RUN, "failed configuring updater, excluding from current run", error=str(problem),
                    updater=feed.name)  # fmt: skip
                continue
            feeds.append(feed)
    return feeds
