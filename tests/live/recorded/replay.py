"""The script of the recordings: what was done to Clair, in which order; each exchange as it was recorded and as it is now.

The requests go through a real Traefik, as they did then.
"""

from __future__ import annotations

import ast
import http.client
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.recorded import comparing
from tests.live.recorded.programs import KEY, Database, Programs, Service
from tests.live.recorded.surroundings import Edge, Feeds, Receiver, RecordedRegistry
from tests.live.samples import wait_until
from tests.live.support import Engine
from tests.ops.scan.servers import digest_of
from tests.support.recordings import NOT_REPLAYED, Exchange, authorization, document, exchanges
from tests.support.traefik import free_port

WAIT_SECONDS = 60.0

# What a service says last when a wrong configuration does not stop it.
_LAST_WORDS = {"host-port-addr": "openapi discovery configured", "indexer-without-section": "retrying immediately"}
_RECEIVED = "receiver (one webhook POST, then GET and DELETE of its callback)"


@dataclass(frozen=True)
class Replayed:
    """What is recorded of an exchange, and what the double said, both without what differs in every run."""

    recorded: Any
    said: Any


def replay(release: str, engine: Engine, postgres_image: str, folder: Path) -> dict[Exchange, Replayed]:
    """Repeat the recording of a release with the double."""
    with ExitStack() as held:
        run = _Run(release, Database(engine, postgres_image), folder, held)
        run.play()
        return run.replayed


class _Run:
    def __init__(self, release: str, database: Database, folder: Path, held: ExitStack) -> None:
        self.replayed: dict[Exchange, Replayed] = {}
        self._exchanges = {(one.kind, one.name): one for one in exchanges(release)}
        self._requests = iter([one for one in exchanges(release) if one.kind == "http"])
        self._registry = held.enter_context(closing(RecordedRegistry()))
        self._feeds = held.enter_context(closing(Feeds(release)))
        self._receiver = held.enter_context(closing(Receiver()))
        self._database = held.enter_context(closing(database))
        self._database.start()
        self._digests = self._digests_by_recorded(document(release)["manifest"])
        self._programs = Programs(release, folder)
        self._programs.places |= {
            "clair-database:5432": self._database.port,
            "registry.local:5000": self._registry.port,
            "receiver:8000": self._receiver.port,
            "feeds:80": self._feeds.port,
            "127.0.0.1:5432": free_port(),  # nothing listened there
        }
        self._indexer, self._matcher, self._notifier = services = self._configured_services(release)
        self._edge = held.enter_context(closing(Edge(folder / "edge", {one.mode: one.port for one in services})))
        self._programs.places["traefik:6060"] = self._edge.port
        for service in services:
            held.callback(service.stop)

    def _configured_services(self, release: str) -> tuple[Service, Service, Service]:
        sets = {"alpine": {"url": "http://feeds/alpine/"}}
        if release != "4.5.1":  # it was recorded with an image and a feed of Alpine
            sets["debian"] = {"mirror_url": "http://feeds/", "json_url": "http://feeds/tracker.json"}
            sets["clair.cvss"] = {}
        indexer_address = {"indexer_addr": "http://clair-indexer:6060/"}
        addresses = {**indexer_address, "matcher_addr": "http://clair-matcher:6060/"}
        webhook = {"target": "http://receiver:8000/", "callback": "http://traefik:6060/notifier/api/v1/notification/"}
        intervals = {"poll_interval": "1m", "delivery_interval": "1m"}
        updaters = {"sets": list(sets), "config": sets}
        return (
            self._programs.service("indexer", {"scanner": self._programs.mapping_files()}),
            self._programs.service("matcher", {**indexer_address, "update_retention": 3}, {"updaters": updaters}),
            self._programs.service("notifier", {**addresses, **intervals, "webhook": webhook}),
        )

    def play(self) -> None:
        """Do what was done when Clair was recorded."""
        self._indexer.start()
        self._matcher.start()
        self._ask_until("update_operation before any feed")
        self._report("report -o text before any feed", "report -o json before any feed")

        self._load_feeds()
        self._ask_until("vulnerability_report")
        self._report("report -o text", "report -o json", "report -o xml", "report, two images, one missing",
                     "report, unknown host", "report, text, alpine")  # fmt: skip

        self._ask_until("DELETE index_report")  # so that what the feeds hold already is no news
        self._start_notifier()
        self._ask_until("POST index_report (for the notifier)")
        self._receive()
        self._introspect()
        self._read_logs()
        self._start_wrongly()

        self._matcher.stop()
        self._ask_until("vulnerability_report, matcher down, through the edge")
        self._report("report -o text, matcher down", "report -o json, matcher down")

        self._database.close()
        self._ask_until("GET index_report, database down")
        self._keep("logs", "indexer readyz, database down", comparing.same_always, self._indexer.introspect("/readyz"))

    # What is done between the exchanges.

    def _load_feeds(self) -> None:
        self._feeds.opened = True
        self._matcher.restart()
        expected = self._exchanges["http", "update_operation"].recorded["body"]
        statement = "SELECT count(DISTINCT updater) FROM update_operation"
        wait_until(lambda: self._database.ask("matcher", statement) == str(len(expected)), "feeds loaded", WAIT_SECONDS)

    def _start_notifier(self) -> None:
        self._notifier.start()
        operations = self._database.ask("matcher", "SELECT count(*) FROM update_operation")
        statement = "SELECT count(*) FROM receipt WHERE status = 'delivered'"
        wait_until(
            lambda: self._database.ask("notifier", statement) == operations, "nothing is new any more", WAIT_SECONDS
        )

    # The exchanges.

    def _keep(self, kind: str, name: str, compared: Callable[[Any], Any], said: Any) -> None:
        exchange = self._exchanges[kind, name]
        self.replayed[exchange] = Replayed(compared(exchange.recorded), compared(said))

    def _ask_until(self, last: str) -> None:
        """Repeat the recorded requests in their order, up to one of them."""
        for exchange in self._requests:
            recorded = exchange.recorded
            expected = comparing.answer(recorded["status"], recorded["headers"], recorded["body"])
            asked = recorded["request"]
            content = (
                asked["body"] if isinstance(asked["body"], str) or asked["body"] is None else json.dumps(asked["body"])
            )
            self.replayed[exchange] = Replayed(
                expected, self._ask(asked["method"], asked["path"], content, asked["auth"])
            )
            if exchange.name == last:
                return
        raise AssertionError(f"no recorded request that was not asked yet is named {last!r}")

    def _ask(self, method: str, path: str, content: str | None, auth: Any) -> str:
        status, headers, text = self._send(method, path, content, auth)
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        return comparing.answer(status, headers, body)

    def _send(self, method: str, path: str, content: str | None, auth: Any) -> tuple[int, dict[str, str], str]:
        headers = {"Accept": "application/json", "Connection": "close", **authorization(auth, KEY)}
        connection = http.client.HTTPConnection("127.0.0.1", self._edge.port, timeout=WAIT_SECONDS)
        with closing(connection):
            connection.request(method, self._ours(path), content and self._ours(content), headers)
            got = connection.getresponse()
            # Of headers that came twice the first, as it was recorded.
            said = {name: self._theirs(got.headers[name]) for name in got.headers}
            return got.status, said, self._theirs(got.read().decode())

    def _report(self, *names: str) -> None:
        for name in names:
            arguments = self._exchanges["clairctl", name].recorded["args"]
            code, out, err = self._programs.clairctl(arguments, self._matcher.config)
            said = {"exit": code, "stdout": self._theirs(out), "stderr": self._theirs(err)}
            self._keep("clairctl", name, _outcome, said)

    def _receive(self) -> None:
        recorded = self._exchanges["logs", _RECEIVED].recorded
        said = []
        if recorded:
            notified = json.loads(recorded[1].removeprefix("GET 200 "))["notifications"][0]["vulnerability"]
            self._feeds.add_notified(notified)
            self._matcher.restart()
            wait_until(lambda: self._receiver.callbacks, "notification", WAIT_SECONDS)
            said.append(self._receiver.posts[0])
            path = self._receiver.callbacks[0].removeprefix("http://traefik:6060")
            for method in ("GET", "DELETE"):
                status, _, text = self._send(method, path, None, "psk iss=clairctl")
                said.append(f"{method} {status} {text}")
        # Nothing else came: what is known already, and what concerns no indexed image, is told to nobody.
        said += self._receiver.posts[1 if recorded else 0 :]
        self._keep("logs", _RECEIVED, lambda lines: [_delivered(line) for line in lines], said)

    def _introspect(self) -> None:
        for service in (self._indexer, self._matcher, self._notifier):
            for path in ("/readyz", "/healthz"):
                self._keep("logs", f"{service.mode} :8089{path}", comparing.same_always, service.introspect(path))
            names = comparing.metric_names(service.introspect("/metrics"))
            self._keep("logs", f"{service.mode} metric names", comparing.named, names)

    def _read_logs(self) -> None:
        for service in (self._indexer, self._matcher, self._notifier):
            exchange = self._exchanges["logs", f"clair-{service.mode}"]
            self._compare_lines(exchange, exchange.recorded, service.log.read_text(encoding="utf-8").splitlines())

    def _start_wrongly(self) -> None:
        wrong = [one for one in self._exchanges.values() if one.kind == "startup" and one not in NOT_REPLAYED]
        with ThreadPoolExecutor(max_workers=len(wrong)) as pool:
            tried = pool.map(self._try_to_start, wrong)
        for exchange, (code, lines) in zip(wrong, tried, strict=True):
            recorded = exchange.recorded
            expected = [f"exit code {recorded['exit']}", *recorded["log_tail"]]
            self._compare_lines(exchange, expected, [f"exit code {code}", *lines], ends=recorded["exit"] == 1)

    def _try_to_start(self, exchange: Exchange) -> tuple[int, list[str]]:
        recorded = exchange.recorded
        return self._programs.try_to_start(
            exchange.name, recorded["mode"], recorded["config"], _LAST_WORDS.get(exchange.name)
        )

    def _compare_lines(self, exchange: Exchange, recorded: list[str], said: list[str], ends: bool = False) -> None:
        """Each recorded line must have been said, in any order but for the last words of one that `ends`; others may have been."""
        wanted = comparing.log_lines(line for line in recorded if not comparing.reason_to_be_silent(line))
        got = comparing.log_lines(self._programs.as_recorded(self._theirs(line)) for line in said)
        last_words = (wanted[-1:], got[-1:]) if ends else ([], [])
        self.replayed[exchange] = Replayed(
            sorted(set(wanted)) + last_words[0], sorted(set(wanted) & set(got)) + last_words[1]
        )

    # Digests as they were recorded, and those of the images here.

    def _digests_by_recorded(self, manifest: dict[str, Any]) -> dict[str, str]:
        layer = manifest["layers"][0]
        system = "alpine" if "/alpine/" in layer["uri"] else "debian"
        return {
            manifest["hash"]: self._registry.digests[system],
            layer["hash"]: digest_of(self._registry.layers[system]),
        }

    def _ours(self, text: str) -> str:
        for theirs, ours in self._digests.items():
            text = text.replace(theirs, ours)
        return text

    def _theirs(self, text: str) -> str:
        for theirs, ours in self._digests.items():
            text = text.replace(ours, theirs)
        return text


def _outcome(said: dict[str, Any]) -> str:
    """Return what clairctl did as a text that is equal for equal outcomes."""
    out = said["stdout"]
    if out.startswith("<testsuites>"):
        out = comparing.xml(out)
    elif out.startswith("{"):
        out = comparing.document(json.loads(out)) + out[len(out.rstrip()) :]
    return comparing.same_always(f"exit code {said['exit']}\n{out}\n{said['stderr']}")


def _delivered(line: str) -> str:
    """Return a line of the receiver with its headers, a Python dictionary, sorted."""
    headers = re.match(r"POST (\{'.*?'\})", line)
    if headers:
        line = f"POST {sorted(ast.literal_eval(headers.group(1)).items())}{line[headers.end() :]}"
    return comparing.same_always(line)
