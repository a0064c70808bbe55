"""How long `./clair feeds` takes, against the same database asked for nothing: `docker compose exec ... psql -c 'select 1'`.

On the stack that `make demo KEEP=1` leaves, once as it is and once with as many rows as real feeds have, which are written
into the tables that the counting reads.
"""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path

from bench.engine import compose, docker, remove_project
from bench.measure import BenchError, Pair, Row, alternate, call, note, timed_call
from bench.project import with_interpreter
from bench.scanning import start_demo, workspace

__all__ = ["measure"]

RUNS = 15
LIMIT_SECONDS = 0.3
# About what 4.9.0's default families come to: Red Hat's feed alone, and 150 updaters with three operations each.
LARGE_ROWS, UPDATERS, SMALL_ROWS = 3_300_000, 150, 5_000
FILL = f"""
ALTER TABLE uo_vuln DROP CONSTRAINT IF EXISTS uo_vuln_vuln_fkey;
INSERT INTO update_operation (updater, fingerprint, kind)
  SELECT 'bench-' || number, '', 'vulnerability' FROM generate_series(1, {UPDATERS}) AS number, generate_series(1, 3);
INSERT INTO update_operation (updater, fingerprint, kind) VALUES ('bench-large', '', 'vulnerability');
INSERT INTO uo_vuln SELECT id, number FROM update_operation, generate_series(1, {SMALL_ROWS}) AS number
  WHERE updater ~ '^bench-[0-9]';
INSERT INTO uo_vuln SELECT id, number FROM update_operation, generate_series(1, {LARGE_ROWS}) AS number
  WHERE updater = 'bench-large';
ANALYZE uo_vuln;
"""


def measure() -> list[Row]:
    """Return the rows of `./clair feeds`."""
    note("feeds: ./clair feeds (about two minutes)")
    log = start_demo()
    kept = re.search(r"kept: (\S+) in (\S+)", log)
    if not kept:
        raise BenchError(f"the demo kept nothing to measure: {' / '.join(log.splitlines()[-3:])}")
    name, folder = kept.group(1), Path(kept.group(2))
    try:
        rows = [row(pair(name, folder), "`./clair feeds` above `docker compose exec ... psql -c 'select 1'`")]
        words = ("exec", f"{name}-database", "psql", "--quiet", "-U", "postgres", "-d", "matcher", "-c", FILL)
        call(docker(*words))
        millions = (LARGE_ROWS + 3 * UPDATERS * SMALL_ROWS) / 1e6
        rows.append(row(pair(name, folder), f"the same with {millions:.1f} million rows"))
    finally:
        remove_project(name)
        shutil.rmtree(workspace(folder, name), ignore_errors=True)
    return rows


def pair(name: str, folder: Path) -> Pair:
    """Return the times of both."""
    files = (
        "--project-name",
        name,
        "--project-directory",
        str(folder),
        "--file",
        f"{folder}/state/applied/compose.yaml",
    )
    floor = compose(*files, "exec", "-T", "clair-database", "psql", "-U", "postgres", "-c", "select 1")
    return alternate(
        RUNS,
        lambda: timed_call([folder / "clair", "feeds"], environment=with_interpreter(), accept=(0, 1, 3)),
        lambda: timed_call(floor),
    )


def row(times: Pair, what: str) -> Row:
    """Return the table's line: how much longer ours takes, in milliseconds."""
    ours, floor = statistics.median(times.ours), statistics.median(times.floor)
    detail = f"{ours * 1000:.0f} ms and {floor * 1000:.0f} ms, median of {len(times.ours)} runs each"
    return Row(what, f"< {LIMIT_SECONDS * 1000:.0f} ms", f"{(ours - floor) * 1000:.0f} ms", detail)
