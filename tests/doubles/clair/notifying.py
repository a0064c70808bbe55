"""Find new update operations, store notifications, deliver them (notifier/poller.go, processor.go, delivery.go)."""

from __future__ import annotations

import os
import threading
import uuid
from typing import Any, Protocol

from .clock import TIME_FACTOR
from .config_loading import Config
from .delivering import DeliveryFailed, make_deliverer
from .durations import format_duration
from .log_lines import log
from .notifier_store import NotifierStore
from .postgres_store import ConnectionFailed, Database, DatabaseError
from .releases import Release
from .service_clients import IndexerClient, MatcherClient, ServiceProblem, Signer
from .tokens import INTRASERVICE_ISSUER

_CHUNK = 1000
_GARBAGE_SECONDS = 3600.0
_SEVERITIES = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")
_DELIVERY = "notifier/Delivery.RunDelivery"


class _Matcher(Protocol):
    def update_operations(self, latest: bool) -> dict[str, list[dict[str, Any]]]: ...

    def update_diff(self, previous: str, current: str) -> dict[str, Any]: ...


class _Indexer(Protocol):
    def affected_manifests(self, vulnerabilities: list[dict[str, Any]]) -> dict[str, Any]: ...


class Notifier:
    """The notifier's background work."""

    def __init__(self, store: NotifierStore, database: Database, config: Config, release: Release) -> None:
        """Set up poller, processor and deliverer; a broker is only connected to when there is something to deliver."""
        self._store = store
        self._database = database
        self._config = config
        self._release = release
        self._stop = threading.Event()
        signer = Signer(config, release, INTRASERVICE_ISSUER)
        self._indexer: _Indexer = IndexerClient(config.get("notifier.indexer_addr", ""), signer, release)
        self._matcher: _Matcher = MatcherClient(config.get("notifier.matcher_addr", ""), signer, release)
        component = "notifier/service/New"
        poll, delivery = config.get("notifier.poll_interval"), config.get("notifier.delivery_interval")
        if os.environ.get("NOTIFIER_TEST_MODE"):
            log("warn", component, "NOTIFIER TEST MODE ENABLED. NOTIFIER WILL CREATE TEST NOTIFICATIONS ON A SET INTERVAL",
                interval=format_duration(poll))  # fmt: skip
            self._matcher, self._indexer = _TestMatcher(), _TestIndexer()
        log("info", component, "initializing poller", interval=format_duration(poll))
        log("info", component, "initializing processors", count=2)
        self._poll_seconds = poll / TIME_FACTOR
        self._delivery_seconds = delivery / TIME_FACTOR
        if config.get("notifier.webhook") is not None:
            log("info", component, "initializing webhook deliverers", count=2)
        self._deliverer = make_deliverer(config, release)

    def start(self) -> None:
        """Poll, deliver and tidy up in the background."""
        for work, seconds in (
            (self.poll, self._poll_seconds),
            (self.deliver, self._delivery_seconds),
            (self._collect, _GARBAGE_SECONDS),
        ):
            threading.Thread(target=self._repeat, args=(work, seconds), daemon=True).start()
        log("info", "notifier/Delivery.Deliver", "delivering notifications", deliverer=self._deliverer.name)

    def stop(self) -> None:
        """End the background work."""
        self._stop.set()

    def _repeat(self, work: Any, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                work()
            except (DatabaseError, ConnectionFailed) as error:
                log("error", "notifier/service/Notifier.Run", "encountered error on tick", error=str(error))

    def _collect(self) -> None:
        self._store.collect()
        log("info", "notifier/service/Notifier.gc", "gc done")

    def poll(self) -> None:
        """Look for update operations without a receipt and make notifications of them."""
        try:
            latest = self._matcher.update_operations(latest=True)
        except ServiceProblem as problem:
            log("error", "notifier/Poller.onTick",
                "client error retrieving latest update operations. backing off until next interval", error=str(problem))  # fmt: skip
            return
        for updater, operations in latest.items():
            if not operations:
                return
            operation = operations[0]["ref"]
            if self._store.has_receipt(operation):
                continue
            try:
                with self._database.try_lock(operation) as free:
                    if free and not self._store.has_receipt(operation):
                        self._process(updater, operation)
            except ServiceProblem as problem:
                log("error", "notifier/Processor.process", "failed to create notifications", error=str(problem),
                    updater=updater, UOID=operation)  # fmt: skip

    def _process(self, updater: str, operation: str) -> None:
        every = self._matcher.update_operations(latest=False).get(updater) or []
        if not every:
            log("warn", "notifier/Processor.safe",
                "updater missing from update operations returned from matcher. matcher may have garbage collected",
                updater=updater)  # fmt: skip
            return
        if every[0]["ref"] != operation:
            log("info", "notifier/Processor.safe",
                "newer update operation is present, will not process notifications", new=every[0]["ref"])  # fmt: skip
            return
        previous = every[1]["ref"] if len(every) > 1 else str(uuid.UUID(int=0))
        try:
            difference = self._matcher.update_diff(previous, operation)
        except ServiceProblem as problem:
            raise ServiceProblem(f"failed to get update diff: {problem}") from problem
        bodies: list[dict[str, Any]] = []
        places: dict[str, int] = {}
        for reason in ("added", "removed"):
            self._affected(difference.get(reason) or [], reason, bodies, places)
        if bodies:
            self._store.put_notifications(updater, operation, bodies)
        else:
            self._store.put_receipt(updater, operation)

    def _affected(
        self, vulnerabilities: list[dict[str, Any]], reason: str, bodies: list[dict[str, Any]], places: dict[str, int]
    ) -> None:
        everything = bool(self._config.get("notifier.disable_summary"))
        for start in range(0, len(vulnerabilities), _CHUNK):
            try:
                affected = self._indexer.affected_manifests(vulnerabilities[start : start + _CHUNK])
            except ServiceProblem as problem:
                raise ServiceProblem(f"failed to get affected manifests: {problem}") from problem
            known = affected.get("vulnerabilities") or {}
            for manifest, identifiers in (affected.get("vulnerable_manifests") or {}).items():
                for identifier in identifiers if everything else identifiers[:1]:
                    summary = _summary(known[identifier])
                    body = {"id": "", "manifest": manifest, "reason": reason, "vulnerability": summary}
                    if everything or manifest not in places:
                        places[manifest] = len(bodies)
                        bodies.append(body)
                    elif _rank(bodies[places[manifest]]["vulnerability"]) < _rank(summary):
                        bodies[places[manifest]]["vulnerability"] = summary

    def deliver(self) -> None:
        """Deliver what is due; the first failure ends the round, and what failed stays due."""
        created = self._store.with_status("created")
        if created:
            log(
                "info",
                _DELIVERY,
                "notification ids in created status",
                deliverer=self._deliverer.name,
                created=len(created),
            )
        failed = self._store.with_status("delivery_failed")
        for identifier in [*created, *failed]:
            with self._database.try_lock(identifier) as free:
                if not free:
                    continue
                try:
                    self._deliverer.deliver(identifier)
                except DeliveryFailed as problem:
                    log("error", "notifier/Delivery.Deliver", "encountered error on tick",
                        deliverer=self._deliverer.name, error=str(problem))  # fmt: skip
                    return
                self._store.set_status(identifier, "delivered")
            log("info", "notifier/Delivery.do", "successfully delivered notifications",
                deliverer=self._deliverer.name, notification_id=identifier)  # fmt: skip


def _summary(entry: dict[str, Any]) -> dict[str, Any]:
    summary = {"name": entry.get("name", ""), "description": entry.get("description", "")}
    for name, source in (("package", "package"), ("distribution", "distribution"), ("repo", "repository")):
        if entry.get(source) is not None:
            summary[name] = entry[source]
    summary["severity"] = entry.get("normalized_severity", "Unknown")
    summary["fixed_in_version"] = entry.get("fixed_in_version", "")
    summary["links"] = entry.get("links", "")
    return summary


def _rank(summary: dict[str, Any]) -> int:
    return _SEVERITIES.index(summary["severity"]) if summary["severity"] in _SEVERITIES else 0


class _TestMatcher:
    """NOTIFIER_TEST_MODE: a new pair of update operations at every poll (notifier/service/testmode.go)."""

    def __init__(self) -> None:
        self._operations: dict[str, list[dict[str, Any]]] = {}

    def update_operations(self, latest: bool) -> dict[str, list[dict[str, Any]]]:
        if latest:
            pair = [{"ref": str(uuid.uuid4()), "updater": "test-updater"} for _ in range(2)]
            self._operations = {"test-updater": pair}
            return {"test-updater": pair[:1]}
        return self._operations

    def update_diff(self, previous: str, current: str) -> dict[str, Any]:
        vulnerability = {
            "id": "0",
            "updater": "test-updater",
            "name": "test-vulnerability",
            "description": "this vulnerability indicates you are running the notifier in test mode.",
            "normalized_severity": "Unknown",
        }
        return {"added": [vulnerability], "removed": []}


class _TestIndexer:
    """NOTIFIER_TEST_MODE: one random manifest is affected."""

    def affected_manifests(self, vulnerabilities: list[dict[str, Any]]) -> dict[str, Any]:
        if not vulnerabilities:
            return {}
        first = vulnerabilities[0]
        return {
            "vulnerabilities": {first["id"]: first},
            "vulnerable_manifests": {f"sha256:{os.urandom(32).hex()}": [first["id"]]},
        }
