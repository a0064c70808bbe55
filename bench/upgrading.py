"""For how long reads fail during `./clair upgrade`, against `docker compose up -d` after editing the tag by hand.

A probe reads four paths through the edge, each 20 times a second: index_state and a known index_report (indexer), a known
vulnerability_report (matcher), a notification (notifier). Reported is how long each was not answered. Both ways start from
the same old release with the sample feeds, with one replica of each service and with two.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.engine import compose, remove_project
from bench.measure import BenchError, Row, call, note
from bench.project import ROOT, copier_command, more_answers, with_interpreter
from demo import deployment
from demo.engine import engine_cpus
from demo.outcome import DemoError

__all__ = ["measure"]

OLD, NEW = "4.8.0", "4.9.0"
SAMPLE = "sample/debian:12"
RATE_HERTZ = 20
# A read that takes longer is a failed one: a client has given up.
READ_SECONDS = 5.0
SETTLE_SECONDS = 3.0
HEALTHY_SECONDS = 120.0
NAME = "clair-bench-upgrade"


@dataclass
class Probe:
    """Reads through the edge until it is stopped; `answered` has for each path when a read was due and whether it came."""

    port: int
    paths: dict[str, str]
    token: Callable[[], str]
    answered: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)

    def run(self, work: Callable[[], object]) -> None:
        """Probe while `work` runs, and a little longer."""
        self.answered = {name: [] for name in self.paths}
        ended = threading.Event()
        threads = [threading.Thread(target=self._probe, args=(name, ended)) for name in self.paths]
        for thread in threads:
            thread.start()
        try:
            work()
            time.sleep(SETTLE_SECONDS)
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def away(self) -> str:
        """Return for each path the seconds during which no read was answered."""
        return ", ".join(f"{name} {away_seconds(reads):.2f} s" for name, reads in self.answered.items())

    def failed(self) -> str:
        """Return how many reads failed, of how many."""
        reads = [came for path in self.answered.values() for _, came in path]
        return f"{reads.count(False)} of {len(reads)} reads"

    def _probe(self, name: str, ended: threading.Event) -> None:
        due = time.monotonic()
        while not ended.is_set():
            self.answered[name].append((due, self._read(self.paths[name])))
            due = max(due + 1 / RATE_HERTZ, time.monotonic() - 1 / RATE_HERTZ)
            time.sleep(max(0.0, due - time.monotonic()))

    def _read(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READ_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token()}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def away_seconds(reads: list[tuple[float, bool]]) -> float:
    """Return the seconds from each failed read to the next one that was due, all together."""
    following = [due for due, _ in reads[1:]]
    return sum(after - due for (due, came), after in zip(reads, following, strict=False) if not came)


def measure() -> list[Row]:
    """Return a row for one replica and one for two."""
    return [row for replicas in (1, 2) for row in _measure(replicas)]


def _measure(replicas: int) -> list[Row]:
    note(f"upgrade: ./clair upgrade with {replicas} replica(s) of each service (about two minutes)")
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name) / "deployment"
        try:
            probe = _start(folder, replicas)
            probe.run(lambda: _clair(folder, "upgrade", "--yes"))
            ours = f"{probe.failed()}; {probe.away()}"
            _clair(folder, "rollback", "--yes")
            probe.run(lambda: _by_hand(folder))
            floor = f"{probe.failed()}; {probe.away()}"
        except DemoError as error:
            raise BenchError(str(error)) from error
        finally:
            remove_project(NAME)
            shutil.rmtree(folder, ignore_errors=True)
    plural = f"{replicas} replicas" if replicas > 1 else "one replica"
    what = f"reads fail during `./clair upgrade`, {plural} (by hand: edit the tag, `docker compose up -d`)"
    asked = "no failed read of the indexer" if replicas > 1 else "reported"
    return [Row(what, asked, ours, f"by hand: {floor}")]


def _start(folder: Path, replicas: int) -> Probe:
    """Start the old release with data, render the new one over it, and return the probe."""
    chosen = " ".join(f"{key}={value}" for key, value in more_answers().items())
    counts = {f"{service}_replicas": replicas for service in ("indexer", "matcher", "notifier")}
    answers = {**deployment.answers(NAME, chosen), "clair_version": OLD, **counts}
    facts = deployment.render(folder, answers)
    deployment.add_samples(folder, facts, engine_cpus())
    deployment.start(folder)
    image = f"{deployment.server_address(NAME)}/{SAMPLE}"
    digest = _indexed(folder, image)
    words = copier_command(ROOT, folder, {**answers, "updater_families": "[alpine, debian]", "clair_version": NEW})
    call([*words, "--overwrite", "--vcs-ref", "HEAD"] if (ROOT / ".git").exists() else [*words, "--overwrite"])
    paths = {
        "index_state": "/indexer/api/v1/index_state",
        "index_report": f"/indexer/api/v1/index_report/{digest}",
        "vulnerability_report": f"/matcher/api/v1/vulnerability_report/{digest}",
        "notification": "/notifier/api/v1/notification/00000000-0000-0000-0000-000000000000",
    }
    return Probe(int(facts["edge"]["port"]), paths, _signer(folder))


def _indexed(folder: Path, image: str) -> str:
    """Scan an image until its feed is loaded, and return its digest."""
    end = time.monotonic() + HEALTHY_SECONDS
    while True:
        result = deployment.scan(folder, image, "--format", "json")
        if result.returncode in (0, 1):
            return str(json.loads(result.stdout)["digest"])
        if time.monotonic() > end:
            raise BenchError(f"the sample was not scanned: {result.stderr.strip().splitlines()[-1]}")
        time.sleep(1)


def _signer(folder: Path) -> Callable[[], str]:
    """Return a function that signs a token with the deployment's key, as its own commands do."""
    sys.path.insert(0, str(folder))
    try:
        from ops.clair.bearer import decode_key, token
    finally:
        sys.path.remove(str(folder))
    key = decode_key((folder / "secrets" / "psk").read_text(encoding="utf-8").strip())
    return lambda: token(key, "clairctl")


def _clair(folder: Path, *words: str) -> None:
    call([folder / "clair", *words], environment={"ALLOW_SMALL": "1", **with_interpreter()})


def _by_hand(folder: Path) -> None:
    """Do what an operator without `upgrade` does: another tag in the Compose file, `up -d`, wait until all is healthy."""
    applied = folder / "state" / "applied"
    file = applied / "by-hand.yaml"
    text = (applied / "compose.yaml").read_text(encoding="utf-8")
    file.write_text(re.sub(rf"(/clair:){re.escape(OLD)}\b", rf"\g<1>{NEW}", text), encoding="utf-8")
    files = [file, applied / "compose.override.yaml", applied / "overlay.json"]
    named = [word for path in files for word in ("--file", str(path))]
    project = ("--project-name", NAME, "--project-directory", str(folder), "--env-file", str(applied / "env"))
    call(compose(*project, *named, "up", "--detach", "--wait"))
