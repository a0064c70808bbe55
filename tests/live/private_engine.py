"""A Docker engine of a test's own, which it may restart: another data folder, another socket, a network namespace of its own.

In the namespace it makes its own bridges and firewall rules; in the machine's it would take away those of the engine that is
there. What it publishes is on the loopback of that namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["PrivateEngine", "missing_for_private_engine"]

START_SECONDS = 60.0
STOP_SECONDS = 60.0


def missing_for_private_engine() -> str:
    """Return what this machine lacks for one, or an empty text."""
    if os.geteuid() != 0:
        return "only root can make a network namespace"
    absent = [program for program in ("dockerd", "ip", "nsenter") if shutil.which(program) is None]
    return f"not on this machine: {', '.join(absent)}" if absent else ""


class PrivateEngine:
    """The engine; `start` before use, `remove` at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._namespace = name
        self._process: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{folder}/docker.sock"
        _run(["ip", "netns", "add", name])
        self.inside: tuple[str, ...] = ("nsenter", f"--net=/run/netns/{name}")
        _run([*self.inside, "ip", "link", "set", "lo", "up"])

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self._folder / "dockerd.log").open("ab")
        pool = "base=10.211.0.0/16,size=24"
        words = ["dockerd", "--data-root", str(self._folder / "data"), "--exec-root", str(self._folder / "exec"),
                 "--host", self.host, "--pidfile", str(self._folder / "pid"), "--bridge", "none",
                 "--default-address-pool", pool]  # fmt: skip
        self._process = subprocess.Popen([*self.inside, *words], stdout=log, stderr=log, start_new_session=True)
        limit = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "--host", self.host, "info"], check=False, capture_output=True).returncode != 0:
            said = (self._folder / "dockerd.log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < limit, said
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it, as a shutdown of the host does: its containers end with it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def take(self, images: Sequence[str]) -> None:
        """Copy images of the machine's engine into it."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            _run(["docker", "--host", self.host, "load", "--quiet"], stdin=saved.stdout)
        assert saved.returncode == 0

    def remove(self) -> None:
        """Stop it and delete all that it had."""
        if self._process is not None and self._process.poll() is None:
            listed = ["docker", "--host", self.host, "ps", "--all", "--quiet"]
            found = subprocess.run(listed, check=False, capture_output=True, text=True).stdout.split()
            if found:
                subprocess.run(
                    ["docker", "--host", self.host, "rm", "--force", *found], check=False, capture_output=True
                )
            self.stop()
        _run(["ip", "netns", "delete", self._namespace])
        shutil.rmtree(self._folder / "data", ignore_errors=True)


def _run(command: Sequence[str], stdin: object = None) -> None:
    done = subprocess.run(command, check=False, capture_output=True, stdin=stdin, timeout=300)  # type: ignore[call-overload]
    assert done.returncode == 0, (command, done.stderr)
