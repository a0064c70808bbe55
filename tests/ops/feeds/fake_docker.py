"""Stands in for `docker` and `docker compose`: psql that answers as the ledger's, a matcher's log, a container of clairctl.

Reads `state.json` in the folder FAKE_FEEDS: `rows` (as read_ledger.ROWS selects them; without the last member: in use; `rows_after` once clairctl ran),
`busy`, `counts`, `unproven` (answers to the other statements), `complaint` (what psql says before it ends), `log` (lines of
the matcher's log), `inspect`, and `clairctl`: `lines` (its standard error), `output` (hexadecimal), `take` (bytes of standard
input it reads, default all), `code`, `seconds` before it ends, `file` (bytes of a file it keeps open). The container's script
is run by bash as it stands, but for the path of the configuration, which is kept in the folder. Notes each call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["FAKE_FEEDS"])
HERE = Path(__file__).resolve()


def state() -> dict[str, Any]:
    """Return what the test wants to be the case."""
    found: dict[str, Any] = json.loads((FOLDER / "state.json").read_text(encoding="utf-8"))
    return found


def psql() -> int:
    """Answer the statements of a session."""
    found = state()
    sys.stdin.readline()  # the password
    if "complaint" in found:
        print(found["complaint"], file=sys.stderr)
        return 1
    rows = found.get("rows_after", found["rows"]) if (FOLDER / "ran").exists() else found["rows"]
    answers = {
        "FROM updater_status s": json.dumps({"rows": [[*row, False][:6] for row in rows]}),
        "pg_locks": str(found.get("busy", 0)),
        "uo_vuln": json.dumps({"rows": found.get("counts", [])}),
        "coalesce(fingerprint": json.dumps(found.get("unproven", [])),
    }
    statement = ""
    for line in sys.stdin:
        statement += line
        if not statement.rstrip().endswith(";") or statement.lstrip().startswith("SET"):
            statement = "" if statement.rstrip().endswith(";") else statement
            continue
        print(next(answer for text, answer in answers.items() if text in statement), flush=True)
        statement = ""
    return 0


def container(arguments: list[str]) -> int:
    """Run a container's script with a clairctl of this module."""
    program = FOLDER / "clairctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE} --clairctl "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = arguments[0].replace("/tmp/config.json", str(FOLDER / "config.json"))
    path = f"{FOLDER}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script, *arguments[1:]], env={**os.environ, "PATH": path}, check=False
    ).returncode


def clairctl() -> int:
    """Do what the state says."""
    wanted = state().get("clairctl", {})
    taken = sys.stdin.buffer.read(wanted.get("take", -1))
    (FOLDER / "taken").write_bytes(taken)
    if "file" in wanted:
        spool = (FOLDER / "spool").open("wb")
        spool.write(bytes(wanted["file"]))
        spool.flush()
    for line in wanted.get("lines", []):
        print(line, file=sys.stderr, flush=True)
    time.sleep(wanted.get("seconds", 0))
    sys.stdout.buffer.write(bytes.fromhex(wanted.get("output", "")))
    sys.stdout.buffer.flush()
    (FOLDER / "ran").touch()
    return int(wanted.get("code", 0))


def main(arguments: list[str]) -> int:
    """Answer a call of docker."""
    if arguments[0] == "--clairctl":
        return clairctl()
    with (FOLDER / "calls").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(arguments) + "\n")
    if arguments[0] == "exec" or "database-client" in arguments:
        return psql()
    if arguments[0] == "logs":
        for number, line in enumerate(state().get("log", [])):
            print(f"2026-11-25T00:00:00.{number:09}Z {line}", file=sys.stderr)
        return 0
    if arguments[0] == "ps":
        print(state().get("ps", ""), end="")
        return 0
    if "--entrypoint" in arguments:
        return container(arguments[arguments.index("-c") + 1 :])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
