"""A `docker` that runs nothing: it notes each call with its input, and answers by rules, the newest that fits first."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = """#!{python} -IS
import json, re, sys
folder = {folder!r}
args = sys.argv[1:]
line = " ".join(args)
wants_input = "exec --interactive" in line or "bash database-client -s" in line
with open(folder + "/calls.jsonl", "a+", encoding="utf-8") as log:
    log.seek(0)
    earlier = [" ".join(json.loads(row)["args"]) for row in log]
    script = sys.stdin.read() if wants_input else ""
    log.write(json.dumps({{"args": args, "input": script}}) + "\\n")
for rule in reversed(json.load(open(folder + "/rules.json", encoding="utf-8"))):
    fits = re.search(rule["pattern"], line) and re.search(rule["script"], script)
    if fits and (not rule["after"] or any(re.search(rule["after"], call) for call in earlier)):
        sys.stdout.write(rule["stdout"])
        sys.stderr.write(rule["stderr"])
        sys.exit(rule["code"])
"""
UP = r"compose .*\bup --detach"
CONTAINERS = r"^ps --all --no-trunc"
PORTS = r"^ps --format .*\.Ports"
PSQL = r"^exec --interactive \S+ psql"
_INFO = {
    "ServerVersion": "28.2.2",
    "MemTotal": 64 * 1024**3,
    "NCPU": 16,
    "DockerRootDir": "/nonexistent",
    "Architecture": "x86_64",
}


@dataclass(frozen=True)
class Call:
    """One call of the fake: its arguments and what stood on its standard input."""

    args: list[str]
    input: str

    @property
    def line(self) -> str:
        """The arguments as one text."""
        return " ".join(self.args)


class FakeDocker:
    """The fake's program file, its rules and its notes, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "docker"
        self.rules: list[dict[str, Any]] = []
        self.path.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
        self.path.chmod(0o755)
        self.info()
        self.on(r"compose version --short", "2.39.1\n")
        self.on(r"^image inspect", "amd64\n")
        self.on(r"^volume ls", "")

    def on(
        self, pattern: str, stdout: str = "", *, stderr: str = "", code: int = 0, after: str = "", script: str = ""
    ) -> None:
        """Answer calls that match; with `after`, only once an earlier call matched that; with `script`, if their input does."""
        rule = {"pattern": pattern, "stdout": stdout, "stderr": stderr, "code": code, "after": after, "script": script}
        self.rules.append(rule)
        (self.folder / "rules.json").write_text(json.dumps(self.rules), encoding="utf-8")

    def info(self, **changes: Any) -> None:
        """Answer `docker info` as a fitting host with these changes."""
        self.on(r"^info", json.dumps({**_INFO, **changes}) + "\n")

    def containers(self, *rows: tuple[str, str, str], after: str = "") -> None:
        """Answer `docker ps` with containers given as service, state and status."""
        lines = [f"id-{service}\t{state}\t{status}\t{service}\tclair-{service}" for service, state, status in rows]
        self.on(CONTAINERS, "".join(line + "\n" for line in lines), after=after)

    def healthy(self, *services: str, after: str = "") -> None:
        """Answer `docker ps` with these services, all healthy."""
        self.containers(*((service, "running", "Up 9 seconds (healthy)") for service in services), after=after)

    def stored_passwords(self, *rows: str) -> None:
        """Answer the query for stored verifiers with rows `role verifier`."""
        self.on(PSQL, "-- verifiers follow --\n" + "".join(row + "\n" for row in rows))

    def migrations(self, **versions: int) -> None:
        """Answer the question for the migrations of each database; size is of no interest."""
        rows = "".join(f"{name} 8000000 {version}\n" for name, version in versions.items())
        self.on(r"\bbash\b.* -s$", rows, script="pg_database_size")

    def calls(self, containing: str = "") -> list[Call]:
        """Return the calls so far whose line contains a text."""
        notes = self.folder / "calls.jsonl"
        rows = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
        calls = [Call(**json.loads(row)) for row in rows]
        return [call for call in calls if containing in call.line]
