"""A throwaway PostgreSQL beside the deployment: same image, same hardening, a network and a volume of its own, nothing stays.

Container and network are `DEPLOYMENT-scratch-PURPOSE`, labelled `clair.scratch=DEPLOYMENT`; what a killed run left is removed
by the next one. Its password is random and lies below `state/` while it runs. It need not survive a power loss, so it does not
wait for the disk.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.explain_failure import explain, image_problem
from ..host.read_logs import log_reason
from ..host.remove_scratch import SCRATCH
from ..host.show_progress import Progress
from ..host.write_files import make_folder, write_file
from ..settings import Deployment
from ..state.role_passwords import SUPERUSER
from .follow_script import Client, reason, run_script
from .run_client import PATH_LINE, Mount, own_user

ALIAS = "scratch-database"
_READY_SECONDS = 120.0
_MEMORY = "1g"
_CPUS = 2
_HARDENING = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--user", "999:999"),
    *("--tmpfs", "/tmp:mode=1777,size=64m", "--shm-size", "256m", "--pids-limit", "512", "--memory", _MEMORY),  # noqa: S108
    *("--tmpfs", "/var/run/postgresql:mode=3777,uid=999,gid=999,size=1m"),
    *("--log-driver", "json-file", "--log-opt", "max-size=10m"),
)
# Where 15 to 17 and 18 can have their data alike; the image's own volume below it stays empty.
_DATA = "/var/lib/postgresql"
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "192MB",
    "maintenance_work_mem": "96MB",
    "password_encryption": "scram-sha-256",
}
_CONNECT = "\n".join(
    [
        "set -u; umask 077; trap '' PIPE; exec 3<&0 </dev/null",
        PATH_LINE,
        "export PGHOST=127.0.0.1 PGSSLMODE=disable PGPASSFILE=$(mktemp)",
        'printf \'*:*:*:*:%s\\n\' "$(cat /run/scratch/password)" >"$PGPASSFILE"',
        "guard() { { cat <&3 >/dev/null; kill -KILL $$ -1; } & }",
        "",
    ]
)


@dataclass(frozen=True)
class Scratch:
    """A running scratch server: its container, its internal network, its host name there, the superuser's password."""

    deployment: Deployment
    container: str
    network: str
    host: str
    password: str = field(repr=False)

    def psql(self, sql: str, database: str = "postgres", timeout_seconds: float = 300.0) -> str:
        """Run a psql script as superuser and return what it prints. Raises Problem (1) with what psql says."""
        lines: List[str] = []
        script = f"psql -XqAt -v ON_ERROR_STOP=1 -w -U {SUPERUSER} -d {shlex.quote(database)} -f - <&3\n"
        client = self.run(script, timeout_seconds, line=lines.append, source=f"{sql}\n\\q\n")
        if client.code != 0:
            raise Problem(f"scratch database failed, {database}: {reason(client.errors)}", "", NO)
        return "".join(text + "\n" for text in lines)

    def run(
        self,
        script: str,
        timeout_seconds: float,
        *,
        line: Callable[[str], Optional[str]] = lambda text: None,
        tick: Callable[[], None] = lambda: None,
        source: str = "",
    ) -> Client:
        """Run a bash script in its container, as this user, connected to it; as `run_client.run_client` does."""
        words = ["exec", "--interactive", "--user", own_user(), self.container, "bash", "-c", _CONNECT + script]
        command = [*engine.program("docker"), *words]
        return run_script(
            command, lambda: None, timeout_seconds, folder=self.deployment.root, line=line, tick=tick, source=source
        )

    def free_bytes(self) -> Optional[int]:
        """Return how much is free where its data is; None if it cannot be told."""
        words = ["exec", self.container, "bash", "-c", f"df --output=avail -B1 {_DATA} | tail -n 1"]
        text = engine.docker(words, timeout_seconds=60, check=False).stdout.strip()
        return int(text) if text.isdigit() else None


@contextmanager
def scratch_server(
    deployment: Deployment, purpose: str, progress: Progress, mounts: Sequence[Mount] = ()
) -> Iterator[Scratch]:
    """Start a scratch server for the block and remove it, its volume and its network after it, also after Ctrl-C.

    `purpose` is such as `restore-test`; one server for each at a time, which the caller's lock sees to. Raises Problem: the
    image is not here (3), or it does not start (1).
    """
    name = f"{deployment.name}-scratch-{purpose}"
    folder = deployment.state / f"scratch-{purpose}"
    _remove(name, folder)
    try:
        password = secrets.token_urlsafe(24)
        make_folder(deployment.state, 0o700)
        make_folder(folder, 0o755)
        write_file(folder / "password", password.encode(), 0o444)
        label = ["--label", f"{SCRATCH}={deployment.name}"]
        engine.docker(["network", "create", "--internal", *label, name], timeout_seconds=60)
        words = ["run", "--detach", "--pull", "never", "--name", name, *label, *_HARDENING, "--cpus", str(_cpus())]
        words += ["--network", name, "--network-alias", ALIAS, "--mount", f"type=volume,target={_DATA}"]
        for mount in [Mount(folder, "/run/scratch"), *mounts]:
            words += ["--mount", _mount_option(mount)]
        for variable, value in _environment().items():
            words += ["--env", f"{variable}={value}"]
        image = str(deployment.facts["images"]["clair-database"])
        started = engine.docker(
            [*words, image, "postgres", *(word for item in _SETTINGS.items() for word in ("-c", "=".join(item)))],
            timeout_seconds=120,
            check=False,
        )
        if started.returncode != 0:
            raise _start_problem(image, started.stderr)
        _wait(name, progress)
        yield Scratch(deployment, name, name, ALIAS, password)
    finally:
        progress.end()
        _remove(name, folder)


def _environment() -> Dict[str, str]:
    return {
        "POSTGRES_PASSWORD_FILE": "/run/scratch/password",
        "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --auth-local=scram-sha-256 --no-sync",
        "PGDATA": f"{_DATA}/scratch",
    }


def _cpus() -> int:
    return min(_CPUS, os.cpu_count() or 1)


def _mount_option(mount: Mount) -> str:
    """Return `--mount`'s value, which is a line of CSV: a path may hold a comma."""
    quoted = str(mount.source).replace('"', '""')
    return f'type=bind,"source={quoted}",target={mount.target}' + (",readonly" if mount.read_only else "")


def _start_problem(image: str, output: str) -> Problem:
    problem = explain("docker run", output)
    if "image not available" in problem.sentence or "No such image" in output:
        return image_problem(image, output)
    return Problem(f"scratch database not started, {image}: {problem.sentence}", problem.hint, UNDECIDED)


def _wait(name: str, progress: Progress) -> None:
    """Return when it answers by TCP, which the server of the first initialization does not. Raises Problem (1, 3)."""
    deadline = time.monotonic() + _READY_SECONDS
    ready = ["exec", name, "bash", "-c", f"{PATH_LINE}; pg_isready --quiet --host=127.0.0.1"]
    while engine.docker(ready, timeout_seconds=30, check=False).returncode != 0:
        state = engine.docker(["inspect", "--format", "{{.State.Status}}", name], timeout_seconds=30, check=False)
        if state.stdout.strip() != "running":
            raise Problem(f"scratch database not started, {name}: {log_reason(name)}", "./clair check", NO)
        if time.monotonic() > deadline:
            raise Problem(
                f"scratch database not started, {name}: no answer within {_READY_SECONDS:g} s",
                "./clair check",
                UNDECIDED,
            )
        progress.waiting("waiting for the scratch database")
        time.sleep(0.2)


def _remove(name: str, folder: Path) -> None:
    engine.docker(["rm", "--force", "--volumes", name], timeout_seconds=120, check=False)
    engine.docker(["network", "rm", name], timeout_seconds=60, check=False)
    shutil.rmtree(folder, ignore_errors=True)
