"""Calls `docker` and `docker compose`.

Reads the applied Compose files (`state/applied/`), or the rendered ones where nothing is applied yet; writes nothing.
Environment: `DOCKER` (default `docker`) and `COMPOSE` (default `$DOCKER compose`) replace the programs, split like a
shell line. `COMPOSE_*` variables that would choose another project, file or profile are not passed on.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import UNDECIDED, Problem
from ..settings import Deployment
from .explain_failure import INSTALL_COMPOSE, explain

DOCKER_MINIMUM = (20, 10)
COMPOSE_MINIMUM = (2, 20)
# `up` without these could start another project than the one the command speaks about.
_HIDDEN_VARIABLES = (
    "COMPOSE_FILE",
    "COMPOSE_PROFILES",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_REMOVE_ORPHANS",
    "COMPOSE_IGNORE_ORPHANS",
)
_INSTALL_DOCKER = (
    "install Docker Engine 20.10 or newer with Compose 2.20 or newer: https://docs.docker.com/engine/install/"
)


def program(name: str) -> List[str]:
    """Return the words of `docker` or `compose`, as the environment replaces them.

    Raises Problem (2) if the variable is no shell line.
    """
    variable = name.upper()
    try:
        words = shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise Problem(f"setting unreadable, {variable}: {error}", f"unset {variable}") from error
    if words:
        return words
    return ["docker"] if name == "docker" else [*program("docker"), "compose"]


def environment() -> Dict[str, str]:
    """Return the environment of every call: this process's own without the variables that redirect Compose."""
    return {name: value for name, value in os.environ.items() if name not in _HIDDEN_VARIABLES}


def compose_command(deployment: Deployment, args: Sequence[str], rendered: bool = False) -> List[str]:
    """Return the whole Compose call for this deployment: of the applied files, or of the rendered ones."""
    root, applied = deployment.root, deployment.applied
    if rendered or not (applied / "compose.yaml").is_file():
        env_file, files = root / ".env", [root / "compose.yaml", root / "compose.override.yaml"]
    else:
        env_file = applied / "env"
        files = [applied / name for name in ("compose.yaml", "compose.override.yaml", "overlay.json")]
    words = [*program("compose"), "--project-name", deployment.name, "--project-directory", str(root)]
    if env_file.is_file():
        words += ["--env-file", str(env_file)]
    for number, path in enumerate(files):
        if number == 0 or path.is_file():
            words += ["--file", str(path)]
    return [*words, *args]


def open_process(command: Sequence[str], text: bool = True, **options: Any) -> "subprocess.Popen[Any]":
    """Start one docker or Compose call with the environment of every call and a pipe to each stream; `options` are Popen's.

    Raises Problem (2) as `run` does if the program is missing or cannot be run.
    """
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    decoded = {"encoding": "utf-8", "errors": "replace"} if text else {}
    try:
        return subprocess.Popen(list(command), env=environment(), **{**streams, **decoded, **options})
    except OSError:
        # `run` fails the same way and has the sentence.
        run(command)
        raise


def run(
    command: Sequence[str],
    input_text: Optional[str] = None,
    timeout_seconds: Optional[float] = None,
    check: bool = True,
    folder: Optional[Path] = None,
) -> "subprocess.CompletedProcess[str]":
    """Run one docker or Compose call and return its result, output as text.

    Raises Problem: program missing (2), daemon not reachable (3), no end within `timeout_seconds` (3), and, with
    `check`, any other failure (2 where the operator can mend it, else 3).
    """
    what = " ".join([Path(command[0]).name, *_verbs(command[1:])])
    try:
        result = subprocess.run(
            list(command),
            check=False,
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            env=environment(),
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise Problem(f"docker missing, {command[0]}: command not found", _INSTALL_DOCKER) from error
    except PermissionError as error:
        # A program that may not be run, or a folder of PATH that may not be searched for one that is not there.
        if shutil.which(command[0]) is None:
            raise Problem(f"docker missing, {command[0]}: command not found", _INSTALL_DOCKER) from error
        raise Problem(f"docker not allowed, {command[0]}: permission denied", "unset DOCKER COMPOSE") from error
    except subprocess.TimeoutExpired as error:
        raise Problem(
            f"call failed, {what}: no answer within {timeout_seconds:g} s", "sudo systemctl status docker", UNDECIDED
        ) from error
    if check and result.returncode != 0:
        raise explain(what, result.stderr or result.stdout)
    return result


def docker(
    args: Sequence[str],
    input_text: Optional[str] = None,
    timeout_seconds: Optional[float] = None,
    check: bool = True,
) -> "subprocess.CompletedProcess[str]":
    """Run `docker ARGS` as `run` does."""
    return run([*program("docker"), *args], input_text, timeout_seconds, check)


def compose(
    deployment: Deployment,
    args: Sequence[str],
    input_text: Optional[str] = None,
    timeout_seconds: Optional[float] = None,
    check: bool = True,
    *,
    rendered: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run `docker compose ARGS` on this deployment as `run` does; see `compose_command` for the files."""
    command = compose_command(deployment, args, rendered)
    return run(command, input_text, timeout_seconds, check, deployment.root)


def version_numbers(text: str) -> Tuple[int, ...]:
    """Return the numbers a version starts with: `v2.20.3-desktop.1` gives (2, 20, 3); none gives ()."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def version_problem(name: str, found: str, minimum: Tuple[int, ...]) -> Optional[Problem]:
    """Return what is wrong with a version of `docker` or `compose`, or None if it is new enough."""
    wanted = ".".join(map(str, minimum))
    hint = _INSTALL_DOCKER if name == "docker" else INSTALL_COMPOSE
    if not version_numbers(found):
        return Problem(f"{name} unreadable, its version: {found.strip() or 'no answer'}", hint)
    if version_numbers(found) < minimum:
        return Problem(f"{name} too old, {found.strip()}: {wanted} or newer is needed", hint)
    return None


def _verbs(args: Sequence[str]) -> List[str]:
    """Return the words that name a call, without its options: `compose up`, not its eight files."""
    words: List[str] = []
    skip = False
    for word in args:
        if skip or word.startswith("-"):
            # Compose's global options here all take a value; after the first verb nothing more is needed.
            skip = word.startswith("--") and "=" not in word and not skip
            continue
        words.append(word)
        if word != "compose":
            break
    return words
