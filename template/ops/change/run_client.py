"""Runs a bash script in the one-shot container `database-client`, from which PostgreSQL is reached as Clair reaches it.

Folders of this host are mounted by a Compose file of its own, and the container runs as this user, so that a dump belongs
to whoever makes it (rootless Docker: as root, who is this user there). The script ends with its command: once nobody holds
its standard input any more, everything in the container is killed, also after `kill -9` of the command.
Writes `state/client.json` while it runs. Environment: DOCKER, COMPOSE.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Optional, Sequence, Tuple

from .. import engine
from ..check_external import CONNECT_SECONDS
from ..errors import UNDECIDED, USAGE, Problem
from ..settings import Deployment
from ..start_database import SERVICE
from ..write_files import make_folder, write_file

REMOVE_SECONDS = 60.0
_POLL_SECONDS = 0.5
# What a person needs of many lines: the server's word, else the first program's.
_REASONS = (r"no space left on device", r"\b(FATAL|PANIC): ", r"\b(ERROR|error): ", r"password authentication failed")
# A server that restarts, or is not there; libpq says `connection to server` also where it lets nobody in.
_AWAY = re.compile(
    r"could not connect|connection to server|server closed the connection|terminating connection|starting up|"
    r"shutting down|recovery mode|no such container|is not running|is restarting|timeout expired",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"authentication failed|pg_hba\.conf|database \"[^\"]*\" does not exist|role \"[^\"]*\" does not exist"
)
# The first psql in the image's PATH is a Perl wrapper.
PATH_LINE = 'export PATH="/usr/lib/postgresql/${PG_MAJOR:-0}/bin:$PATH"'


@dataclass(frozen=True)
class Mount:
    """A folder of this host and where the container sees it."""

    source: Path
    target: str
    read_only: bool = True


@dataclass
class Client:
    """How a run ended: its exit code and the last lines of its standard error."""

    code: int = -1
    errors: List[str] = field(default_factory=list)

    def reason(self) -> str:
        """Return the line of its standard error that says why it failed."""
        return reason(self.errors)


def reason(lines: Sequence[str]) -> str:
    """Return the line that says most of why something failed, without the words before it."""
    for pattern in _REASONS:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE if "space" in pattern else 0):
                text = re.sub(r"^.*?\b(FATAL|PANIC|ERROR|error): +", "", line.strip())
                return re.sub(r"^(\S+: )?(error|FATAL): +", "", text)[-300:]
    return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "no message")


def is_away(lines: Sequence[str]) -> bool:
    """Return whether a program's words say that the server did not answer, so that it may the next time."""
    text = "\n".join(lines)
    return bool(_AWAY.search(text)) and not _REFUSED.search(text)


def prelude(deployment: Deployment) -> str:
    """Return the lines every script begins with: where PostgreSQL is, a password file that libpq takes, the end of it all.

    The script finds its standard input at descriptor 3 and calls `guard` once it has read all it wants from there, or
    `guard_line` at its beginning.
    """
    return "\n".join(
        [
            "set -u; umask 077; trap '' PIPE; exec 3<&0 </dev/null",
            PATH_LINE,
            *connection_lines(deployment),
            # Never this shell, which is the container's first process: it ends when its programs are gone. Again and again,
            # because it may just have been between two of them.
            "doom() { while :; do kill -KILL -1; sleep 0.1; done; }",
            "guard() { { cat <&3 >/dev/null; doom; } & }",
            # The same from the first moment, for a script that waits for one line: `read -r line <&6`, empty at the end.
            "guard_line() { mkfifo /tmp/line; exec 6<>/tmp/line; { "
            'read -r line <&3 || line=""; echo "$line" >&6; [ -z "$line" ] || cat <&3 >/dev/null; doom; } & }',
            "",
        ]
    )


def connection_lines(deployment: Deployment) -> List[str]:
    """Return the lines that set libpq's environment."""
    database = deployment.facts["database"]
    host = SERVICE if deployment.bundled_database else str(database["host"])
    port = 5432 if deployment.bundled_database else int(database["port"])
    sslmode = "disable" if deployment.bundled_database else str(database["sslmode"])
    return [
        "install -m 0600 /config/pgpass /tmp/pgpass && export PGPASSFILE=/tmp/pgpass",
        "[ -s /config/ca-bundle.pem ] && export PGSSLROOTCERT=/config/ca-bundle.pem",
        f"export PGHOST={shlex.quote(host)} PGPORT={port} PGSSLMODE={shlex.quote(sslmode)}",
        # A server that restarts must not let a run hang.
        f"export PGCONNECT_TIMEOUT={CONNECT_SECONDS} PGAPPNAME=clair-client",
    ]


def own_user() -> str:
    """Return `uid:gid` with which a container writes files as this user."""
    options = engine.docker(["info", "--format", "{{json .SecurityOptions}}"], timeout_seconds=60, check=False).stdout
    return "0:0" if "rootless" in options else f"{os.getuid()}:{os.getgid()}"


def run_client(
    deployment: Deployment,
    script: str,
    mounts: Sequence[Mount] = (),
    timeout_seconds: float = 600.0,
    *,
    line: Callable[[str], Optional[str]] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
    source: str = "",
) -> Client:
    """Run `script`, after `prelude`, and return how it ended, whatever its exit code is.

    `line` gets each line of its standard output and may return text for its standard input, which begins with `source`.
    `tick` is called twice a second. Raises Problem: it could not be started, or did not end in time (3); and what `line` and
    `tick` raise. The container is gone in every case.
    """
    name = f"{deployment.name}-database-client"
    remove_client(deployment)
    extra = _write_model(deployment, mounts)
    words = [
        "--file",
        str(extra),
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "--name",
        name,
        "--entrypoint",
        "bash",
        "database-client",
    ]
    command = engine.compose_command(deployment, [*words, "-c", prelude(deployment) + script])
    try:
        client = run_script(
            command,
            lambda: remove_client(deployment),
            timeout_seconds,
            folder=deployment.root,
            line=line,
            tick=tick,
            source=source,
        )
    finally:
        extra.unlink(missing_ok=True)
    if client.code != 0 and not any(
        re.match(r"(psql|pg_dump|pg_restore|bash|install|@)", text) for text in client.errors
    ):
        # Compose's own words: the script never began.
        text = "\n".join(client.errors)
        if "no such service" in text.lower():
            raise Problem("client not run, state/applied: applied before this command was there", "./clair up", USAGE)
        raise engine.explain("compose run database-client", text)
    return client


def run_script(
    command: Sequence[str],
    remove: Callable[[], None],
    timeout_seconds: float,
    *,
    folder: Path,
    line: Callable[[str], Optional[str]] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
    source: str = "",
) -> Client:
    """Run a program that runs a script in a container, as `run_client` does; `remove` ends what it left there."""
    deadline = time.monotonic() + timeout_seconds
    process = _start(folder, command)
    try:
        _send(process, source)
        return _follow(process, line, tick, deadline, timeout_seconds)
    finally:
        if process.poll() is None:
            remove()
            process.terminate()
            try:
                process.wait(timeout=REMOVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)


def remove_client(deployment: Deployment) -> None:
    """Remove a container that is left of a run that was killed."""
    name = f"{deployment.name}-database-client"
    engine.docker(["rm", "--force", "--volumes", name], timeout_seconds=REMOVE_SECONDS, check=False)


def _write_model(deployment: Deployment, mounts: Sequence[Mount]) -> Path:
    volumes = [
        {"type": "bind", "source": str(mount.source), "target": mount.target, "read_only": mount.read_only}
        for mount in mounts
    ]
    service: Dict[str, Any] = {"user": own_user(), "volumes": volumes}
    make_folder(deployment.state, 0o700)
    path = deployment.state / "client.json"
    # `$` would start a variable of Compose.
    text = json.dumps({"services": {"database-client": service}}).replace("$", "$$")
    write_file(path, text.encode(), 0o600)
    return path


def _start(folder: Path, command: Sequence[str]) -> "subprocess.Popen[str]":
    return engine.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        # Ctrl-C is for this process, which then removes the container.
        start_new_session=True,
    )


def _follow(
    process: "subprocess.Popen[str]",
    line: Callable[[str], Optional[str]],
    tick: Callable[[], None],
    deadline: float,
    timeout_seconds: float,
) -> Client:
    events: "queue.Queue[Tuple[str, Optional[str]]]" = queue.Queue()
    for kind, stream in (("output", process.stdout), ("error", process.stderr)):
        threading.Thread(target=_read, args=(kind, stream, events), daemon=True).start()
    client, ended = Client(), 0
    ticked = time.monotonic()
    while ended < 2:
        if time.monotonic() > deadline:
            raise Problem(
                f"database client not ended: no end within {timeout_seconds:g} s", "add --timeout SECONDS", UNDECIDED
            )
        if time.monotonic() - ticked > _POLL_SECONDS:
            ticked = time.monotonic()
            tick()
        try:
            kind, text = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if text is None:
            ended += 1
        elif kind == "error":
            client.errors = [*client.errors[-50:], text]
        else:
            _send(process, line(text) or "")
    client.code = process.wait()
    return client


def _send(process: "subprocess.Popen[str]", text: str) -> None:
    try:
        if text and process.stdin is not None:
            process.stdin.write(text)
            process.stdin.flush()
    except OSError:  # it ended before it had read everything; its exit code tells why
        pass


def _close(stream: Optional[IO[str]]) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:  # a pipe whose reader is gone cannot be flushed
        pass


def _read(kind: str, stream: Optional[IO[str]], events: "queue.Queue[Tuple[str, Optional[str]]]") -> None:
    try:
        for text in stream or ():
            events.put((kind, text.rstrip("\r\n")))
    except (OSError, ValueError):  # closed by `run_client`, which waits for it no more
        pass
    events.put((kind, None))
