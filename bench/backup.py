"""How long `./clair backup` takes and how much memory, against `pg_dump -Fd -j2` of the same databases.

The floor runs in the same one-shot container of the same deployment, with its limits, and with pg_dump's own compression
(gzip, level 6). Ours counts and digests every row beside the dump, reads all of it back and sums every file. The matcher's
table of vulnerabilities is filled with rows of the size and kind that feeds bring; Clair is stopped, so that both dump the same.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engine import compose, docker, free_ports, remove_project
from bench.measure import Row, alternate, call, note, timed_call
from bench.memory import peak_memory
from bench.project import render, with_interpreter

__all__ = ["measure"]

RUNS = 3
NAME = "clair-bench-backup"
# Rows of about 1 KB: a few hundred megabytes, and an eighth of it to see whether memory grows.
SMALL, LARGE = 50_000, 400_000
FILL = """
SET ROLE matcher;
TRUNCATE vuln CASCADE;
INSERT INTO vuln (hash_kind, hash, updater, name, description, issued, links, severity, normalized_severity, package_name,
  package_version, package_kind, dist_id, dist_name, dist_version, dist_version_code_name, dist_version_id, dist_pretty_name,
  fixed_in_version)
SELECT 'md5', decode(md5(n::text), 'hex'), 'ubuntu/updater/jammy', 'CVE-20' || 10 + n % 16 || '-' || n,
  'In ' || md5((n % 5000)::text) || ', the function ' || md5((n * 7)::text) || ' in ' || md5((n % 900)::text) || '.c does not '
  || repeat('properly validate the length of an attribute that a local user may choose, which allows out-of-bounds access ', 3)
  || 'in versions before ' || n % 9 || '.' || n % 37 || '.' || n % 111,
  '2020-01-01'::timestamptz + n * interval '37 seconds', 'https://ubuntu.com/security/CVE-2020-' || n || ' https://cve.org/' || n,
  'medium', 'Medium', 'package-' || n % 9000, '', 'source', 'ubuntu', 'Ubuntu', '22.04 LTS (Jammy Jellyfish)', 'jammy', '22.04',
  'Ubuntu 22.04.5 LTS', n % 9 || '.' || n % 37 || '-' || n % 111 || 'ubuntu0.22.04.1'
FROM generate_series(1, {rows}) AS n;
RESET ROLE;
VACUUM ANALYZE vuln;
CHECKPOINT;
"""
FLOOR = (
    "install -m 0600 /config/pgpass /tmp/pgpass && export PGPASSFILE=/tmp/pgpass && "
    'PATH="/usr/lib/postgresql/${PG_MAJOR:-0}/bin:$PATH" && for name in indexer matcher notifier; do '
    'pg_dump -h clair-database -U "$name" -d "$name" -Fd -j2 -f "/floor/$name" || exit 1; done'
)


def measure() -> list[Row]:
    """Return the rows of `./clair backup`."""
    note("backup: ./clair backup of a few hundred megabytes (about four minutes)")
    ports = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        project = render(
            Path(name) / "project",
            {"deployment_name": NAME, "edge_port": ports[0], "operations_port": ports[1], "feeds_offline": "true"},
        )
        try:
            call([project / "clair", "up"], environment={"ALLOW_SMALL": "1", **with_interpreter()})
            call(docker("stop", *(f"{NAME}-{service}" for service in ("indexer", "matcher", "notifier"))))
            fill(SMALL)
            small = memory(project)
            fill(LARGE)
            large = memory(project)
            pair = alternate(RUNS, lambda: ours(project), lambda: floor(project))
            megabytes = int(psql("SELECT pg_table_size('vuln') / 1000000")), written(project)
        finally:
            remove_project(NAME)
    speed = pair.row(f"`./clair backup` of {megabytes[0]} MB to `pg_dump -Fd -j2`, same container and limits", "<= 1.1")
    speed = Row(
        speed.what, speed.asked, speed.measured, f"{speed.detail}; {megabytes[1][0]} MB to {megabytes[1][1]} MB"
    )
    detail = f"{LARGE // SMALL} times the rows: command {told(small[0])} to {told(large[0])}, container {told(small[1])} to {told(large[1])}"
    ratio = (large[0] + large[1]) / (small[0] + small[1])
    return [speed, Row("highest memory of `./clair backup`, command and container", "flat", f"{ratio:.2f}", detail)]


def psql(statement: str) -> str:
    """Run SQL as superuser in the matcher's database."""
    words = ("exec", f"{NAME}-database", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "matcher")
    return call(
        docker(*words, *(word for one in statement.split(";\n") if one.strip() for word in ("-c", one)))
    ).strip()


def fill(rows: int) -> None:
    """Put that many vulnerabilities into the matcher's database."""
    psql(FILL.format(rows=rows))


def ours(project: Path) -> float:
    """Return the seconds of one `./clair backup`; its folder goes, that of the last run stays for its size."""
    shutil.rmtree(project / "backups", ignore_errors=True)
    return timed_call([project / "clair", "backup"], environment=with_interpreter())


def floor(project: Path) -> float:
    """Return the seconds of one pg_dump of the same databases into a folder of the same disk."""
    folder = project / "floor"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    applied = project / "state" / "applied"
    files = ("--project-name", NAME, "--project-directory", str(project), "--env-file", str(applied / "env"))
    user = f"{folder.stat().st_uid}:{folder.stat().st_gid}"
    words = ("run", "--rm", "-T", "--no-deps", "--user", user, "--volume", f"{folder}:/floor", "--entrypoint", "bash")
    return timed_call(compose(*files, "--file", str(applied / "compose.yaml"), *words, "database-client", "-c", FLOOR))


def written(project: Path) -> tuple[int, int]:
    """Return the megabytes of our last dump and of the floor's."""
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in (project / "backups", project / "floor")
    ]
    return sizes[0] // 1_000_000, sizes[1] // 1_000_000


def memory(project: Path) -> tuple[int, int]:
    """Return the highest memory in bytes of the command itself, and of its container as `docker stats` shows it."""
    with watched(f"{NAME}-database-client") as seen:
        command: list[str | Path] = [project / "clair", "backup"]
        size, _ = peak_memory(command, with_interpreter(), project / "memory.out")
    return size, max(seen, default=0)


@contextmanager
def watched(container: str) -> Iterator[list[int]]:
    """Note the memory of a container, without its file cache, about twice a second while the block runs."""
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            text = call(docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container), accept=(0, 1))
            found = re.match(r"([\d.]+)([KMG]iB|B)", text)
            if found:
                scale = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[found.group(2)]
                seen.append(int(float(found.group(1)) * scale))
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def told(count: int) -> str:
    """Return bytes as MiB."""
    return f"{count / 1024 / 1024:.0f} MiB"
