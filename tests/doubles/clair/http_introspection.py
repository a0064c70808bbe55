"""The introspection server: /healthz, /readyz, /metrics with the recorded names (introspection/server.go, health/readinesshandler.go)."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path

from .config_loading import Config
from .http_server import Answer, Request, Router, not_found
from .log_lines import log
from .releases import Release

_STARTED = time.time()


class Introspection:
    """Answers about the process; `ready` is set once the API listens, and never unset."""

    def __init__(self, config: Config, release: Release) -> None:
        self.ready = threading.Event()
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._release = release
        self._mode = config.mode
        self._router = Router(release)
        self._router.add("/healthz", self._healthz)
        self._router.add("/readyz", self._readyz)
        self._router.add("/debug/pprof/", lambda _: not_found())
        self._router.add("/debug/pprof/cmdline", self._command_line)
        endpoint = config.get("metrics.prometheus.endpoint", "/metrics")
        name = config.get("metrics.name", "")
        if not release.since("4.9.0") or name in ("", "prometheus"):
            component = "introspection/New" if release.since("4.9.0") else "introspection/Server.withPrometheus"
            server = config.get("introspection_addr") or ":8089"
            log("info", component, "configuring prometheus", endpoint=endpoint, server=server)
            self._router.add(endpoint, self._metrics)

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        return self._router.dispatch(request)

    def _healthz(self, _: Request) -> Answer:
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
        return Answer(200, b"ok", headers, chunked=False)

    def _command_line(self, _: Request) -> Answer:
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
        return Answer(200, b"/usr/bin/clair" if self._release.since("4.8.0") else b"/bin/clair", headers, chunked=False)

    def _readyz(self, request: Request) -> Answer:
        headers = [
            ("Cache-Control", "no-store"), ("Content-Length", "0"), ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
        ]  # fmt: skip
        if request.method != "GET":
            return Answer(405, b"", headers, chunked=False)
        return Answer(200 if self.ready.is_set() else 503, b"", headers, chunked=False)

    def _metrics(self, _: Request) -> Answer:
        lines = []
        for family, kind, samples in self._families():
            lines += [f"# HELP {family} {family.replace('_', ' ')} (test double)", f"# TYPE {family} {kind}", *samples]
        body = ("\n".join(lines) + "\n").encode()
        return Answer(200, body, [("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=values")], False)

    def _families(self) -> list[tuple[str, str, list[str]]]:
        names = _recorded_names(self._release.name).get(self._mode, ())
        histograms = {name[: -len("_bucket")] for name in names if name.endswith("_bucket")}
        families: list[tuple[str, str, list[str]]] = []
        for name in names:
            if re.sub(r"_(bucket|count|sum)$", "", name) in histograms and name not in histograms:
                continue
            families.append((name, "counter" if name.endswith("_total") else "gauge", self._samples(name)))
        for name in histograms:
            samples = [f'{name}_bucket{{le="+Inf"}} 0', f"{name}_sum 0", f"{name}_count 0"]
            families.append((name, "histogram", samples))
        families += [
            ("process_start_time_seconds", "gauge", [f"process_start_time_seconds {_STARTED:.2f}"]),
            ("process_resident_memory_bytes", "gauge", [f"process_resident_memory_bytes {_resident_bytes()}"]),
            ("go_goroutines", "gauge", [f"go_goroutines {threading.active_count()}"]),
            ("go_info", "gauge", ['go_info{version="not Go, a test double"} 1']),
        ]
        return sorted(families)

    def _samples(self, name: str) -> list[str]:
        if name == "clair_cmd_version_info":
            labels = f'claircore_version="{self._release.claircore}",version="v{self._release.name}"'
            return [f"{name}{{{labels}}} 1"]
        match = re.fullmatch(r"clair_http_(\w+)_request_total", name)
        if match:
            counted = [
                f'{name}{{code="{status}",handler="",method="{method}"}} {count}'
                for (api, method, status), count in sorted(self.requests.items())
                if api == match.group(1)
            ]
            return counted or [f"{name} 0"]
        return [f"{name} 0"]


@lru_cache(maxsize=1)
def _recorded_names(release: str) -> dict[str, tuple[str, ...]]:
    beside = Path(__file__).with_name("recordings")
    folder = beside if beside.is_dir() else Path(__file__).parents[1] / "recordings"
    recorded = {path.stem.partition("-")[2]: path for path in folder.glob("clair-*.json")}
    older = [name for name in recorded if _numbers(name) <= _numbers(release)] or sorted(recorded)[:1]
    logs = json.loads(recorded[max(older, key=_numbers)].read_text(encoding="utf-8"))["logs"]
    return {
        mode: tuple(name for name in logs.get(f"{mode} metric names", ()) if name)
        for mode in ("indexer", "matcher", "notifier")
    }


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.split(".")]


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
