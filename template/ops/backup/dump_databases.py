"""Dumps databases, each from one snapshot in which its tables are measured as well, and reads every dump back.

A psql session exports the snapshot and stays open; `pg_dump -Fd -j2` takes it, while the session counts. Writes a folder per
database, directory format, compressed with zstd where the image's pg_dump can, else with gzip, both at level 1.
"""

from __future__ import annotations

import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Sequence

from ..clair.run_clairctl import size
from ..errors import UNDECIDED, USAGE, Problem
from ..host import engine
from ..host.show_progress import Progress
from ..settings import Deployment
from .follow_script import Client
from .measure_tables import EXTENSIONS, MEASURE, SETTINGS, SIZES, Table, parse_table, schema_statement
from .run_client import Mount, run_client

JOBS = 2
TARGET = "/backup"
# A dump has no indexes, and its rows are compressed: this share of the tables is more than Clair's data ever took.
_SHARE = 0.5
_SPARE_BYTES = 64 * 1024**2

# The session's SQL comes by a pipe, so that it stays open until pg_dump has taken its snapshot, and ends with the script.
_FUNCTIONS = r"""
psql_in() { psql -XqAt -v ON_ERROR_STOP=1 -v database="$1" -w -U "$1" -d "$1" "${@:2}"; }
failed() { echo "@failed|$1"; exit 1; }
dump() {
  local line snapshot='' database=$1 session writer begun=$SECONDS
  rm -f /tmp/in /tmp/out; mkfifo /tmp/in /tmp/out
  psql_in "$database" -f - </tmp/in >/tmp/out & session=$!
  exec 4>/tmp/in 5</tmp/out
  echo "@begin|$database"
  printf '%s\nBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n' "$SETTINGS" >&4
  printf "SELECT '@snapshot|' || pg_export_snapshot();\n%s\n%s\n" "$EXTENSIONS" "$2" >&4
  while read -r line <&5; do case $line in @snapshot*) snapshot=${line#*|}; break;; esac; done
  [ -n "$snapshot" ] || failed "$database"
  pg_dump -w -U "$database" -d "$database" --format=directory --jobs="$JOBS" --compress="$COMPRESS" --snapshot="$snapshot" \
    --no-tablespaces --no-publications --no-subscriptions --no-security-labels --file="$TARGET/$database" 4>&- 5<&- & writer=$!
  printf '%s\n\\echo @measured\n' "$MEASURE" >&4
  line=''
  while read -r line <&5 && [ "$line" != @measured ]; do echo "$line"; done
  [ "$line" = @measured ] || { kill "$writer" 2>/dev/null; failed "$database"; }
  echo "@measured|$database"
  wait "$writer" || failed "$database"
  printf 'COMMIT;\n' >&4
  exec 4>&-; wait "$session" || failed "$database"; exec 5<&-
  echo "@reading|$database"
  pg_restore --file=/dev/null "$TARGET/$database" || failed "$database"
  echo "@dumped|$database|$((SECONDS - begun))"
}
"""


@dataclass
class Dump:
    """What is known of one database's dump."""

    table_bytes: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    schema: int = 0
    tables: Dict[str, Table] = field(default_factory=dict)
    extensions: Dict[str, str] = field(default_factory=dict)


@dataclass
class Dumped:
    """What is known of all dumps, and the server's version, such as `17.10`."""

    postgres_version: str = ""
    databases: Dict[str, Dump] = field(default_factory=dict)


def script(databases: Sequence[str]) -> str:
    """Return the bash script: it tells sizes, waits for the line `go`, then dumps one database after the other."""
    texts = {"SETTINGS": SETTINGS, "EXTENSIONS": EXTENSIONS, "MEASURE": MEASURE, "SIZES": SIZES}
    lines = [f"{name}={shlex.quote(text)}" for name, text in texts.items()]
    lines += [f"JOBS={JOBS} TARGET={TARGET}", _FUNCTIONS, "guard_line"]
    lines += [f'printf "%s" "$SIZES" | psql_in {name} -f - || failed {name}' for name in databases]
    lines += [
        'echo @ask; read -r answer <&6; [ "$answer" = go ] || exit 1',
        # Says before it connects whether this build can.
        "COMPRESS=gzip:1; case $(pg_dump --version) in *' 15.'*|*' 14.'*|*' 13.'*) COMPRESS=1;; esac",
        "probe=$(PGHOST=/nowhere pg_dump -w -Fc --compress=zstd:1 -d postgres 2>&1)",
        "case $probe in *'connection to server'*) COMPRESS=zstd:1;; esac",
    ]
    lines += [f"dump {name} {shlex.quote(schema_statement(name))}" for name in databases]
    return "\n".join([*lines, "echo @done", ""])


def dump_databases(
    deployment: Deployment, databases: Sequence[str], folder: Path, timeout_seconds: float, progress: Progress
) -> Dumped:
    """Dump databases into an existing folder and return what is known of them.

    Raises Problem: too little disk (2), the disk is full (2), a database cannot be read (3), no end in time (3).
    """
    follower = _Follower(databases, folder, progress)
    client = run_client(
        deployment,
        script(databases),
        [Mount(folder, TARGET, read_only=False)],
        timeout_seconds,
        line=follower.line,
        tick=follower.tick,
    )
    progress.end()
    if client.code != 0 or not follower.done:
        raise _failure(follower, client)
    return follower.dumped


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user may still write at a folder."""
    import shutil

    return shutil.disk_usage(folder).free


def folder_bytes(folder: Path) -> int:
    """Return the bytes of the files below a folder that may change meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # pg_dump has just renamed or removed it
            continue
    return total


def _failure(follower: "_Follower", client: Client) -> Problem:
    reason, where = client.reason(), follower.failed or follower.current or "server"
    if any("no space left on device" in text.lower() for text in client.errors):
        return Problem("backup failed, backups/: no space left on the disk", "df -h backups", USAGE)
    if any("file too large" in text.lower() or "quota" in text.lower() for text in client.errors):
        return Problem(f"backup failed, backups/: {reason}", "df -h backups; ulimit -f", USAGE)
    return Problem(f"backup failed, database {where}: {reason}", "./clair verify", UNDECIDED)


class _Follower:
    """Takes in what the script says."""

    def __init__(self, databases: Sequence[str], folder: Path, progress: Progress) -> None:
        self.dumped = Dumped(databases={name: Dump() for name in databases})
        self.failed = ""
        self.current = ""
        self.done = False
        self._folder = folder
        self._progress = progress
        self._doing = "dumping"
        self._begun = time.monotonic()

    def line(self, text: str) -> str:
        """Take in one line; return what the script waits for."""
        kind, *cells = text.split("|")
        table = parse_table(text)
        databases = self.dumped.databases
        if table is not None:
            databases[table[0]].tables[table[1]] = table[2]
        elif kind == "@size":
            databases[cells[0]].size_bytes, databases[cells[0]].table_bytes = int(cells[1]), int(cells[2])
            self.dumped.postgres_version = cells[3].split()[0]
        elif kind == "@ask":
            self._check_disk()
            return "go\n"
        elif kind == "@begin":
            self.current, self._doing, self._begun = cells[0], "dumping", time.monotonic()
        elif kind == "@reading":
            self._doing = "reading back"
        elif kind == "@extension":
            databases[cells[0]].extensions[cells[1]] = cells[2]
        elif kind == "@schema":
            databases[cells[0]].schema = int(cells[1])
        elif kind == "@dumped":
            self._tell(cells[0])
        elif kind == "@failed":
            self.failed = cells[0]
        elif kind == "@done":
            self.done = True
        return ""

    def tick(self) -> None:
        """Tell how far it is."""
        if self.current:
            self._progress.waiting(f"{self._doing} {self.current}, {size(folder_bytes(self._folder))} written")

    def _tell(self, name: str) -> None:
        dump = self.dumped.databases[name]
        dump.seconds = round(time.monotonic() - self._begun, 1)
        rows = sum(table.rows for table in dump.tables.values())
        written = size(folder_bytes(self._folder / name))
        self._progress.line(
            f"{name}: {rows} rows of {len(dump.tables)} tables, {written} for {size(dump.table_bytes)} ({dump.seconds:.1f} s)"
        )

    def _check_disk(self) -> None:
        needed = _SPARE_BYTES + int(_SHARE * sum(dump.table_bytes for dump in self.dumped.databases.values()))
        free = free_bytes(self._folder)
        if free < needed:
            raise Problem(
                f"backup not begun, backups/: {size(free)} free, and up to {size(needed)} are needed",
                "df -h backups",
                USAGE,
            )


def image_identities(deployment: Deployment) -> Dict[str, str]:
    """Return for each image its digest in its registry, or where it came without one, its id; an empty text if it is not here."""
    references = sorted({str(value) for value in deployment.facts["images"].values()})
    with ThreadPoolExecutor() as pool:
        return dict(zip(references, pool.map(_identity, references)))


def _identity(reference: str) -> str:
    words = ["image", "inspect", "--format", "{{.Id}}{{range .RepoDigests}} {{.}}{{end}}", reference]
    found = engine.docker(words, timeout_seconds=60, check=False).stdout.split()
    return found[1] if len(found) > 1 else (found or [""])[0]
