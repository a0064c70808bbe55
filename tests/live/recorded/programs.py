"""The double's programs as processes of this machine, and the PostgreSQL that they need, in a container."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.samples import wait_until
from tests.live.support import Engine
from tests.support.places import ROOT
from tests.support.traefik import free_port

KEY = b"a key of the tests, long enough."
START_SECONDS = 30.0
# `timeout` ended a recorded program that went on running, with this exit code.
TIMED_OUT = 124
# Where the recorded services listened; on this machine they listen where a port is free.
LISTENING = (":6060", ":8089")
# In place of the folder of PostgreSQL's socket, where this machine may have one.
_NO_FOLDER = "/no-folder-of-sockets"


class Database:
    """PostgreSQL with a role and a database for each service; it forgets everything when it stops."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.port = free_port()
        self._engine = engine
        self._image = image
        self._name = f"clairtest-{secrets.token_hex(4)}-recorded"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._engine.docker(
            "run", "--detach", "--name", self._name, "--tmpfs", "/var/lib/postgresql/data",
            "--publish", f"127.0.0.1:{self.port}:5432", "--env", "POSTGRES_HOST_AUTH_METHOD=trust",
            self._image, "-c", "fsync=off",
        )  # fmt: skip
        ready = ("exec", self._name, "pg_isready", "--quiet", "--host", "127.0.0.1")
        wait_until(lambda: self._engine.docker(*ready, check=False).returncode == 0, "PostgreSQL", START_SECONDS)
        for service in ("indexer", "matcher", "notifier"):
            self.ask("postgres", f"CREATE ROLE {service} SUPERUSER LOGIN")
            self.ask("postgres", f"CREATE DATABASE {service} OWNER {service}")

    def ask(self, database: str, statement: str) -> str:
        """Run one SQL statement and return what psql prints."""
        command = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database)
        return self._engine.docker("exec", self._name, *command, "-c", statement).stdout.strip()

    def close(self) -> None:
        """Stop and remove it, if it is there."""
        self._engine.docker("rm", "--force", "--volumes", self._name, check=False)


@dataclass
class Service:
    """A service that can be stopped and started again on the same ports."""

    mode: str
    config: Path
    port: int
    introspection_port: int
    spawn: Callable[..., subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.config.with_suffix(".log")

    def start(self) -> None:
        """Start the service and wait until it is ready; raises AssertionError with its log."""
        with self.log.open("ab") as log:
            self.process = self.spawn("clair", "-conf", str(self.config), "-mode", self.mode, stderr=log)
        limit = time.monotonic() + START_SECONDS
        while "200 OK" not in self.introspect("/readyz"):
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < limit, f"{self.mode} is not ready:\n{self.log.read_text()}"
            time.sleep(0.05)

    def restart(self) -> None:
        """Stop the service and start it again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop the service, if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def introspect(self, path: str) -> str:
        """Return a whole answer of the introspection server to a request of HTTP/1.0, or an empty text if nothing listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.introspection_port), timeout=10) as stream:
                stream.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return b"".join(iter(lambda: stream.recv(65536), b"")).decode().replace("\r\n", "\n")
        except OSError:
            return ""


class Programs:
    """Starts the double of one release in the network of the recordings."""

    def __init__(self, release: str, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, int] = {}
        self._release = release
        (folder / "nothing-mapped.json").write_text('{"data":{}}', encoding="utf-8")

    def service(self, mode: str, section: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Service:
        """Configure a service; it is not started yet."""
        ports = free_port(), free_port()
        config: dict[str, Any] = {
            "http_listen_addr": f"127.0.0.1:{ports[0]}",
            "introspection_addr": f"127.0.0.1:{ports[1]}",
            "auth": {"psk": {"key": base64.b64encode(KEY).decode(), "iss": ["clairctl", "clair-notifier"]}},
            mode: {"connstring": f"host=clair-database user={mode} dbname={mode} sslmode=disable", "migrations": True},
        }
        config[mode] |= section
        config |= others or {}
        path = self.folder / f"{mode}.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        self.places[f"clair-{mode}:6060"] = ports[0]
        return Service(mode, path, *ports, self.spawn)

    def mapping_files(self) -> dict[str, Any]:
        """Return the settings by which an indexer needs no file of Red Hat's."""
        path = str(self.folder / "nothing-mapped.json")
        return {
            "package": {"rhel_containerscanner": {"name2repos_mapping_file": path}},
            "repo": {"rhel-repository-scanner": {"repo2cpe_mapping_file": path}},
        }

    def spawn(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None,
              **options: Any) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start `clair` or `clairctl`."""
        command = [sys.executable, "-m", "tests.live.recorded.in_network", program, *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self._environment(environment or {}), **options)

    def clairctl(self, arguments: list[str], config: Path) -> tuple[int, str, str]:
        """Run `clairctl` to its end; return exit code and both outputs."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.spawn("clairctl", *arguments, environment={"CLAIR_CONF": str(config)}, **pipes) as process:
            out, said = process.communicate(timeout=START_SECONDS)
        return process.returncode, out.decode(), said.decode()

    def try_to_start(self, name: str, mode: str, text: str | None, last_words: str | None) -> tuple[int, list[str]]:
        """Start `clair` with a configuration that is no good, or none; return exit code and log lines.

        A program that goes on running is stopped after its `last_words`, and has the exit code that `timeout` has then.
        """
        folder = self.folder / "su"
        folder.mkdir(exist_ok=True)
        config, log_path = folder / f"{name}.yaml", folder / f"{name}.log"
        if text is not None:
            for address in LISTENING:
                text = text.replace(f'"{address}"', f'"127.0.0.1:{free_port()}"')
            config.write_text(text, encoding="utf-8")
        environment = {"PGHOST": _NO_FOLDER, "PGUSER": "nobody"}
        with log_path.open("wb") as log:
            process = self.spawn("clair", "-conf", str(config), "-mode", mode, environment=environment, stderr=log)
        try:
            code = self._wait_for_end(process, name, log_path, last_words)
        finally:
            process.kill()
        return code, log_path.read_text(encoding="utf-8").splitlines()

    @staticmethod
    def _wait_for_end(process: subprocess.Popen[bytes], name: str, log_path: Path, last_words: str | None) -> int:
        limit = time.monotonic() + START_SECONDS
        while process.poll() is None and not (last_words and last_words in log_path.read_text(encoding="utf-8")):
            assert time.monotonic() < limit, f"{name} neither ended nor said {last_words!r}:\n{log_path.read_text()}"
            time.sleep(0.05)
        try:
            return process.wait(timeout=0.3)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(timeout=START_SECONDS)
            return TIMED_OUT

    def as_recorded(self, line: str) -> str:
        """Return a log line with the places that it had in the recordings."""
        line = line.replace(str(self.folder / "su"), "/su").replace(_NO_FOLDER, "/tmp")
        return re.sub(r'"server":"127\.0\.0\.1:\d+"', '"server":":8089"', line)

    def _environment(self, additions: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not re.match(r"(?i)PG|CLAIR_|.*_proxy$", name)}
        return {
            **kept,
            "CLAIR_DOUBLE_RELEASE": self._release,
            "CLAIR_DOUBLE_TIME_FACTOR": "240",
            "RECORDED_PLACES": json.dumps(self.places),
            "TMPDIR": str(self.folder),
            "HOME": str(self.folder),
            **additions,
        }
