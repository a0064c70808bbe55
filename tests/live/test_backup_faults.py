"""What can go wrong in a backup and a restore, each on real PostgreSQL: the old data or the new, whole, and one line that says so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.backups import background, backup, databases, fill, folder_names, letter, no_leftovers
from tests.live.conftest import DeploymentFactory
from tests.live.samples import clair, wait_until
from tests.live.support import Deployment

ROWS = 40_000
MANY_ROWS = 300_000
KILLS = 10


@pytest.fixture(scope="module")
def filled(shared_deployment: DeploymentFactory) -> Deployment:
    """A running deployment without feeds, so that nothing but the tests writes."""
    deployment = shared_deployment(feeds_offline=True)
    clair(deployment, "up")
    return deployment


@pytest.fixture(scope="module")
def pair(filled: Deployment) -> dict[str, Path]:
    """Two backups by the letter of their data."""
    made = {}
    for mark in ("a", "b"):
        fill(filled, mark, ROWS)
        made[mark] = backup(filled)
    return made


def other(mark: str) -> str:
    """Return the letter that is not in use."""
    return "b" if mark == "a" else "a"


@contextmanager
def large_table(deployment: Deployment) -> Iterator[None]:
    """Give the matcher a table whose dump and load take a second or two."""
    deployment.psql("matcher", f"SET ROLE matcher; CREATE TABLE public.large AS SELECT n, md5(n::text) || md5((-n)::text) AS more "
                               f"FROM generate_series(1, {MANY_ROWS}) AS n")  # fmt: skip
    try:
        yield
    finally:
        deployment.psql("matcher", "DROP TABLE IF EXISTS public.large")


@contextmanager
def stopped_in(deployment: Deployment, query: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command until one of its sessions runs a query; hold its container still for the block, then let it go on."""
    running = background(deployment, *arguments)
    # In the server: a look from outside takes longer than what is looked for.
    deployment.psql(
        "postgres",
        f"""DO $$ BEGIN FOR n IN 1..6000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'clair-client' AND query LIKE '{query}');
        PERFORM pg_sleep(0.01);
    END LOOP; END $$""",
    )
    client = f"{deployment.name}-database-client"
    deployment.engine.docker("pause", client)
    try:
        yield running
    finally:
        deployment.engine.docker("unpause", client, check=False)


DUMPS = "COPY public.large %TO stdout%"
LOADS = "COPY public.large %FROM stdin%"


def restart_database(deployment: Deployment) -> None:
    """Restart the server at once and wait until it answers again."""
    container = deployment.container("clair-database")
    deployment.engine.docker("restart", "--time", "10", container)
    ready = ("exec", container, "pg_isready", "--quiet", "--host=127.0.0.1")
    wait_until(lambda: deployment.engine.docker(*ready, check=False).returncode == 0, "the database", 60)


def one_line(text: str, begins: str) -> None:
    """Fail if there is not exactly one line that begins so, or a traceback."""
    assert "Traceback" not in text, text
    assert sum(line.startswith(begins) for line in text.splitlines()) == 1, text


def test_a_full_disk_leaves_the_older_backups_only(filled: Deployment, pair: dict[str, Path]) -> None:
    before = folder_names(filled)
    # A small file system where pg_dump writes; the applied file is what runs.
    override = filled.root / "state" / "applied" / "compose.override.yaml"
    override.write_text(
        "services: {database-client: {tmpfs: ['/tmp:mode=1777,size=64m', '/backup/matcher:mode=1777,size=256k']}}\n",
        encoding="utf-8",
    )
    try:
        done = filled.run("backup", check=False)
    finally:
        override.unlink()

    assert done.returncode == 2
    assert done.stdout == ""
    one_line(done.stderr, "backup failed, backups/: no space left on the disk")
    assert folder_names(filled) == before
    assert pair


def test_a_killed_backup_is_none_and_the_next_one_clears_up(filled: Deployment, pair: dict[str, Path]) -> None:
    before = folder_names(filled)
    with large_table(filled):
        with stopped_in(filled, DUMPS, "backup") as running:
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            left = folder_names(filled) - before
        # The container ends with its command, without anybody's help.
        listing = ("ps", "--all", "--quiet", "--filter", f"name={filled.name}-database-client")
        wait_until(lambda: not filled.engine.docker(*listing).stdout.strip(), "the client's end", 30)
        folder = backup(filled)

    assert len(left) == 1
    assert left.pop().startswith(".")
    assert folder_names(filled) == {*before, folder.name}
    assert clair(filled, "restore-test", str(pair["a"])).returncode == 0


def test_an_interrupted_backup_leaves_nothing(filled: Deployment, pair: dict[str, Path]) -> None:
    before = folder_names(filled)
    with large_table(filled), stopped_in(filled, DUMPS, "backup") as running:
        os.kill(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=90)

    assert running.returncode == 130
    assert "Traceback" not in output
    assert folder_names(filled) == before
    assert pair
    no_leftovers(filled)


def test_a_database_that_restarts_breaks_a_backup_off(filled: Deployment, pair: dict[str, Path]) -> None:
    before = folder_names(filled)
    with large_table(filled):
        with stopped_in(filled, DUMPS, "backup") as running:
            restart_database(filled)
        output, _ = running.communicate(timeout=90)

    assert running.returncode == 3, output
    one_line(output, "backup failed, database matcher: ")
    assert folder_names(filled) == before
    assert pair


def test_a_database_that_restarts_in_a_restore_keeps_the_old_data(filled: Deployment, pair: dict[str, Path]) -> None:
    now = letter(filled, ROWS)
    with large_table(filled):
        large = backup(filled)
    with stopped_in(filled, LOADS, "restore", str(large), "--yes") as running:
        restart_database(filled)
    output, _ = running.communicate(timeout=200)

    assert running.returncode == 3, output
    one_line(output, "restore failed, database matcher: ")
    assert filled.psql("matcher", "SELECT to_regclass('public.large')") == [[""]]
    assert letter(filled, ROWS) == now
    no_leftovers(filled)
    clair(filled, "restore", str(pair[other(now)]), "--yes")
    assert letter(filled, ROWS) == other(now)


def test_one_changed_byte_is_found_before_anything_is_touched(filled: Deployment, pair: dict[str, Path]) -> None:
    now = letter(filled, ROWS)
    folder = pair[other(now)]
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    try:
        restored = filled.run("restore", str(folder), "--yes", check=False)
        tested = filled.run("restore-test", str(folder), check=False)
    finally:
        largest.write_bytes(whole)

    assert (restored.returncode, tested.returncode) == (1, 1)
    one_line(restored.stderr, f"backup damaged, {folder.name}: {largest.relative_to(folder)} is not what it was")
    assert letter(filled, ROWS) == now
    no_leftovers(filled)


def test_an_interrupted_restore_brings_the_old_data_back(filled: Deployment, pair: dict[str, Path]) -> None:
    now = letter(filled, ROWS)
    running = background(filled, "restore", str(pair[other(now)]), "--yes")
    wait_until(
        lambda: not databases(filled).isdisjoint({f"matcher_old_{suffix}" for suffix in _ids(filled)}), "the swap", 90
    )
    os.kill(running.pid, signal.SIGINT)
    output, _ = running.communicate(timeout=120)

    assert running.returncode == 130, output
    assert "the old data is in use, as before" in output
    assert letter(filled, ROWS) == now
    wait_until(lambda: clair(filled, "ps", check=False).returncode == 0, "all healthy", 30)
    no_leftovers(filled)


def _ids(deployment: Deployment) -> set[str]:
    return {name.rpartition("_")[2] for name in databases(deployment) if name.count("_") == 2}


def test_a_restore_killed_at_any_moment_leaves_whole_data_and_the_next_one_works(
    filled: Deployment, pair: dict[str, Path]
) -> None:
    now = letter(filled, ROWS)
    began = time.monotonic()
    clair(filled, "restore", str(pair[other(now)]), "--yes")
    whole_seconds = time.monotonic() - began
    outcomes = []
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    for number in range(KILLS):
        now = letter(filled, ROWS)
        # One in each tenth of the time it takes.
        delay = whole_seconds * (number + chance.random()) / KILLS
        running = background(filled, "restore", str(pair[other(now)]), "--yes")
        time.sleep(delay)
        running.kill()
        running.wait()

        told = f"seed {seed}, killed after {delay:.2f} of {whole_seconds:.2f} s"
        between = letter(filled, ROWS)
        unfinished = (filled.root / "state" / "journal.json").exists()
        # What is running still sees whole data, and both ways on work.
        if unfinished:
            done = filled.run("restore", check=False)
            assert done.returncode == 0, f"{told}: {done.stderr}"
        outcomes.append((round(delay, 2), "new" if between != now else "old", unfinished))
        assert letter(filled, ROWS) in (now, other(now)), told
        assert clair(filled, "up").returncode == 0, told
        no_leftovers(filled)
    print(f"seed {seed}: {outcomes}")
    assert {found for _, found, _ in outcomes} == {"old", "new"}, outcomes
