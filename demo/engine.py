"""Docker, as the demo uses it: run a program so that an interrupt ends it, ask the engine, remove a project.

Environment: DOCKER replaces `docker`, COMPOSE replaces `docker compose`; both are split like a shell line.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from demo.outcome import USAGE, DemoError, Progress

STAND_IN_LABEL = "clair-template.stand-in"  # tests/doubles/images/build.py puts it on every image it makes
INTERRUPT_SECONDS = 10.0


def docker_program() -> list[str]:
    """Return the words that call Docker, as DOCKER replaces them."""
    return shlex.split(os.environ.get("DOCKER", "")) or ["docker"]


def compose_program() -> list[str]:
    """Return the words that call Docker Compose, as COMPOSE replaces them."""
    return shlex.split(os.environ.get("COMPOSE", "")) or [*docker_program(), "compose"]


def run(
    command: Sequence[str],
    folder: Path | None = None,
    capture: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its result; with `capture` its output as text, else it goes to stderr.

    It runs in a session of its own: on Ctrl-C it and all its children are told to end before anything is removed.
    Raises DemoError (2) if the program is missing.
    """
    output = subprocess.PIPE if capture else sys.stderr
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE if capture else None,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise DemoError(f"program missing, {command[0]}: {error.strerror}", USAGE) from error
    try:
        stdout, stderr = process.communicate()
    except BaseException:
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=INTERRUPT_SECONDS)
                break
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def docker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGS` and return its result, whatever it is."""
    return run([*docker_program(), *args], capture=True)


def engine_cpus() -> int:
    """Return how many CPUs the Docker engine has; raises DemoError (2) if there is no engine to work with."""
    done = docker("info", "--format", "{{.NCPU}}")
    if done.returncode != 0 or not done.stdout.strip().isdigit():
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise DemoError(f"docker not usable, docker info: {lines[-1]}", USAGE)
    return int(done.stdout)


def describe_images(references: Iterable[str]) -> Iterator[str]:
    """Yield one line per image: whether it came from a registry or was made on this machine."""
    template = f'{{{{index .Config.Labels "{STAND_IN_LABEL}"}}}}|{{{{join .RepoDigests " "}}}}'
    for reference in sorted(set(references)):
        done = docker("image", "inspect", "--format", template, reference)
        stand_in, _, digests = done.stdout.strip().partition("|")
        if done.returncode != 0:
            yield f"{reference}: not on this machine"
        elif stand_in and stand_in != "<no value>":
            yield f"{reference}: stand-in ({stand_in})"
        elif digests:
            yield f"{reference}: from its registry"
        else:
            yield f"{reference}: made or loaded on this machine"


def remove(name: str, workspace: Path, progress: Progress) -> bool:
    """Remove every container, volume and network of the project `name`, and its folder; false if something stays.

    By label and not by the Compose file, which may be what is broken. Twice, because an engine may still be working on
    a call that was just interrupted.
    """
    label = f"label=com.docker.compose.project={name}"
    kinds = {
        "containers": (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
        "volumes": (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
        "networks": (("network", "ls", "--quiet"), ("network", "rm")),
    }
    left: list[str] = []
    for attempt in range(3):
        left = []
        for kind, (listing, removing) in kinds.items():
            found = docker(*listing, "--filter", label).stdout.split()
            if found and docker(*removing, *found).returncode != 0:
                left.append(kind)
        if not left and attempt:
            break
    shutil.rmtree(workspace, ignore_errors=True)
    if workspace.exists():
        left.append(str(workspace))
    if left:
        progress.say(f"not all removed, {name}: {', '.join(left)}")
    return not left
