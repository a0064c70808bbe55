"""The program `clair`: read the configuration, build the services, answer, stop on the release's signals (cmd/clair/main.go)."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading

from .config_loading import Config, ConfigProblem, load_config
from .config_validation import validate
from .http_api import Api
from .http_introspection import Introspection
from .http_server import Server
from .layer_fetching import spool_folder
from .log_lines import log, plain, set_level
from .releases import Release, current_release
from .services import Panicked, Services, StartFailed

_MODES = ("combo", "indexer", "matcher", "notifier")
_SHUTDOWN_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """Run until a signal; returns the exit code."""
    release = current_release()
    log("info", "main", f"this is a test double of Clair {release.name}, it is not Clair", **{"stand-in": True})
    stopping = threading.Event()
    _catch_signals(release, stopping)
    try:
        config = _configure(arguments, release)
        lints = validate(config, release)
    except ConfigProblem as problem:
        plain(str(problem))
        return 1
    set_level(config.get("log_level", "info"))
    log("info", "main", "starting", version=release.version)
    for lint in lints:
        log("info", "main", lint=lint)
    log("info", "main", "set GOMAXPROCS value", cur=os.cpu_count(), prev=os.cpu_count())
    log("info", "main", "registered signal handler")
    log("info", "main", "ready", version=release.version)
    return _Process(config, release, stopping).run()


class _Process:
    def __init__(self, config: Config, release: Release, stopping: threading.Event) -> None:
        self._config = config
        self._release = release
        self._stopping = stopping

    def run(self) -> int:
        introspection, listener = self._introspect()
        services = Services(self._config, self._release, self._stopping)
        api_server = None
        code = 0
        try:
            if self._config.mode in ("indexer", "combo") and self._release.since("4.9.0"):
                folder = spool_folder(self._release)
                if not os.path.isdir(folder):
                    plain(f'panic: fetcher: unable to OpenRoot(""): open {folder}: no such file or directory')
                    return 2
            log("info", "main", "launching http transport")
            if not self._stopping.is_set():
                services.build()
                api = Api(self._config, self._release)
                services.mount(api)
                if introspection:
                    introspection.requests = api.requests
                api_server = self._listen(api)
                services.start()
                if introspection:
                    introspection.ready.set()
                self._wait()
        except Panicked as problem:
            print(f"panic: {problem}\n\ngoroutine 1 [running]:\nclair-template.stand-in()", file=sys.stderr, flush=True)
            os._exit(2)
        except StartFailed as problem:
            if not (self._stopping.is_set() and "context canceled" not in str(problem)):
                log("error", "main", "fatal error", error=str(problem))
            code = 1
        else:
            log("info", "main", "unregistered signal handler")
        services.stop()
        if api_server:
            api_server.stop(_SHUTDOWN_SECONDS)
        if listener:
            listener.stop(1.0)
        return code

    def _introspect(self) -> tuple[Introspection | None, Server | None]:
        log("info", "main", "launching introspection server")
        log("warn", "introspection/New", "no health check configured; unconditionally reporting OK")
        if self._release.since("4.9.0") and self._config.get("metrics.name") == "otlp":
            if not (self._config.get("trace.otlp.grpc") or self._config.get("trace.otlp.http")):
                log("warn", "main", "introspection server configuration failed; continuing anyway",
                    error='must define either "grpc" or "http" transport for otlp traces')  # fmt: skip
                return None, None
        introspection = Introspection(self._config, self._release)
        if not self._config.get("trace.name"):
            log("info", "introspection/New", "no distributed tracing enabled")
        address = self._config.get("introspection_addr") or ":8089"
        try:
            server = Server(address, introspection.handle)
        except (OSError, ValueError) as error:
            log("warn", "main", "introspection server failed to launch; continuing anyway",
                error=f"listen tcp {address}: {error}")  # fmt: skip
            return introspection, None
        server.start()
        return introspection, server

    def _listen(self, api: Api) -> Server:
        address = self._config.get("http_listen_addr")
        tls = None
        if self._config.get("tls") is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                tls.load_cert_chain(self._config.get("tls.cert", ""), self._config.get("tls.key", ""))
            except (OSError, ssl.SSLError) as error:
                raise StartFailed(
                    f"tls configuration failed: failed to read x509 cert and key pair: {error}"
                ) from error
        try:
            server = Server(address, api.handle, tls)
        except (OSError, ValueError) as error:
            words = (
                f"listen tcp {address}: bind: {os.strerror(error.errno).lower()}"
                if isinstance(error, OSError)
                else error
            )
            raise StartFailed(f"http transport configuration failed: {words}") from error
        server.start()
        return server

    def _wait(self) -> None:
        while not self._stopping.wait(3600):
            pass


def _configure(arguments: list[str], release: Release) -> Config:
    flags = _flags(arguments)
    path = flags.get("conf") or os.environ.get("CLAIR_CONF", "")
    if not flags.get("conf") and "CLAIR_CONF" not in os.environ:
        raise ConfigProblem('must provide a -conf value or set "CLAIR_CONF" in the environment')
    config = load_config(path, release)
    if not flags.get("mode") and "CLAIR_MODE" not in os.environ:
        raise ConfigProblem('must provide a -mode value or set "CLAIR_MODE" in the environment')
    mode = flags.get("mode") or os.environ.get("CLAIR_MODE") or "combo"
    if mode.lower() not in _MODES:
        raise ConfigProblem(f'bad mode "{mode}": unknown mode "{mode}"')
    config.mode = mode.lower()
    return config


def _flags(arguments: list[str]) -> dict[str, str]:
    flags: dict[str, str] = {}
    waiting = list(arguments)
    while waiting and waiting[0].startswith("-"):
        name, equals, value = waiting.pop(0).lstrip("-").partition("=")
        if name in ("h", "help"):
            _usage()
            raise SystemExit(0)
        if name not in ("conf", "mode"):
            print(f"flag provided but not defined: -{name}", file=sys.stderr)
            _usage()
            raise SystemExit(2)
        if not equals:
            if not waiting:
                print(f"flag needs an argument: -{name}", file=sys.stderr)
                _usage()
                raise SystemExit(2)
            value = waiting.pop(0)
        flags[name] = value
    return flags


def _usage() -> None:
    print("Usage of clair:\n  -conf string\n    \tThe file system path to Clair's config file.\n"
          "  -mode string\n    \tThe operation mode for this server, will default to combo.", file=sys.stderr)  # fmt: skip


def _catch_signals(release: Release, stopping: threading.Event) -> None:
    """SIGINT drains in every release; SIGTERM drains from 4.8.0 and kills at once before.

    As PID 1 the kernel drops signals without a handler; Go's runtime has one for SIGTERM that ends the process, so the double has
    one as well.
    """

    def drain(number: int, _: object) -> None:
        stopping.set()

    def die(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGQUIT or os.getpid() == 1:  # no default action for PID 1: Go then exits with 2
            os._exit(2)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, drain)
    signal.signal(signal.SIGTERM, drain if release.handles_sigterm else die)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, die)
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # Go's runtime has a handler for these that does nothing
        signal.signal(number, signal.SIG_IGN)
