"""Runs clairctl in its one-shot container, with what it may use limited and what it used measured.

The container has the hardening, memory and CPU limits of compose.yaml; its spool, the folder in which clairctl keeps feeds
as JSON, is limited here, because Docker cannot limit a volume. Feeds go in and out by its standard streams, so that no
file of this host has to be readable for its user. Removed in every case. Environment: DOCKER, COMPOSE.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from ..errors import UNDECIDED, Problem
from ..host import engine
from ..settings import Deployment
from .follow_process import Outcome, follow, older_state

REMOVE_SECONDS = 60.0
KILLED = 137
GIBIBYTE = 1024**3
# Which of clairctl's own files may be told from the sizes of its open ones: feeds are unlinked as soon as they are made.
# Shell builtins and stat, which every release's image has. A configuration comes by standard input and never meets a disk.
SCRIPT = r"""
limit=$1 config=$2; shift 2
echo @begin >&2
if [ "$config" = config ]; then cat >/tmp/config.json; exec 3</dev/null; else exec 3<&0; fi
"$@" <&3 3<&- &
child=$! memory=0 spool=0 rounds=0
while kill -0 "$child" 2>/dev/null; do
  { while read -r name value _; do
      if [ "$name" = VmHWM: ]; then memory=$((value > memory ? value : memory)); fi
    done <"/proc/$child/status"; } 2>/dev/null
  sum=0
  while read -r mode size; do
    if [ $((16#$mode & 61440)) = 32768 ]; then sum=$((sum + size)); fi
  done < <(stat -Lc '%f %s' /proc/"$child"/fd/* 2>/dev/null)
  spool=$((sum > spool ? sum : spool))
  if [ "$sum" -gt "$limit" ]; then echo "@full" >&2; kill -KILL "$child"; fi
  rounds=$((rounds + 1))
  if [ "$rounds" -lt 50 ]; then sleep 0.1; else sleep 0.5; fi
done
wait "$child"; code=$?
echo "@end $code $memory $spool" >&2
exit "$code"
"""


class Clairctl:
    """The limits of a deployment's clairctl, and how to run it."""

    def __init__(self, deployment: Deployment, service: str) -> None:
        self._deployment = deployment
        self._service = service
        self.container = f"{deployment.name}-{service}"
        tools = deployment.facts["feeds"].get("tools")
        if tools is None:
            raise older_state()
        self.memory_mib = int(tools["memory_mib"])
        self.spool_bytes = int(tools["spool_gib"]) * GIBIBYTE

    def run(
        self,
        arguments: Sequence[str],
        *,
        config: Optional[bytes] = None,
        source: Iterable[bytes] = (),
        take: Callable[[bytes], None] = lambda chunk: None,
        line: Callable[[str], None] = lambda text: None,
        tick: Callable[[], None] = lambda: None,
        timeout_seconds: float,
    ) -> Outcome:
        """Run `clairctl ARGUMENTS` and return how it ended, whatever its exit code is.

        `config` is its configuration, else that of the tools; `source` is its standard input. `take` gets what it prints,
        `line` each line of its standard error, `tick` is called a few times a second. Raises Problem: the container could
        not be started, or did not end in time (3); and what `source`, `take` and `line` raise.
        """
        started = time.monotonic()
        self.remove()
        mode = "stream" if config is None else "config"
        program = ["clairctl", *(["-c", "/tmp/config.json"] if config is not None else []), *arguments]  # noqa: S108 - in a container
        words = ["run", "--rm", "-T", "--no-deps", "--name", self.container, "--entrypoint", "bash", self._service]
        command = [*words, "-c", SCRIPT, "bash", str(self.spool_bytes), mode, *program]
        process = self._start(engine.compose_command(self._deployment, command))
        try:
            outcome = follow(
                process,
                [config] if config is not None else source,
                take=take,
                line=line,
                tick=tick,
                end_at=started + timeout_seconds,
            )
        finally:
            self._end(process)
        outcome.seconds = time.monotonic() - started
        return outcome

    def remove(self) -> None:
        """Remove a container that is left of a run that was killed, with its spool."""
        engine.docker(["rm", "--force", "--volumes", self.container], timeout_seconds=REMOVE_SECONDS, check=False)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # Ctrl-C is for this process, which then removes the container.
        return engine.open_process(command, text=False, cwd=self._deployment.root, start_new_session=True)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            self.remove()
            process.terminate()
            try:
                process.wait(timeout=REMOVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self.remove()


def failure(what: str, outcome: Outcome, clairctl: Clairctl, detail: str = "") -> Problem:
    """Return the Problem (3) for a run that did not end well; `what` begins its sentence."""
    more = "copier update --trust --data deployment_size=medium, or more memory in compose.override.yaml"
    if outcome.spool_full:
        limit = clairctl.spool_bytes // GIBIBYTE
        return Problem(f"{what}: its files grew beyond {limit} GiB", "docker system df", UNDECIDED)
    if outcome.code == KILLED:
        return Problem(f"{what}: clairctl was killed, its memory limit is {clairctl.memory_mib} MiB", more, UNDECIDED)
    reason = detail or next((text for text in reversed(outcome.last_lines) if text.strip()), "no message")
    return Problem(f"{what}: clairctl ended with exit code {outcome.code}: {reason}", "./clair logs matcher", UNDECIDED)


def usage(outcome: Outcome) -> str:
    """Return what a run used, for a person."""
    if not outcome.memory_bytes:
        return "too short to see what it used"
    return f"used {size(outcome.memory_bytes)} of memory and {size(outcome.spool_bytes)} of disk in its container"


def size(count: int) -> str:
    """Return a number of bytes for a person, in KiB, MiB or GiB."""
    for unit, scale in (("GiB", GIBIBYTE), ("MiB", 1024**2)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"
