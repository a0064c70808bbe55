"""`./clair feeds`: what it prints, and its exit codes, against a docker that is none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import NAMES, Run, World, log_line, row, rows


def normal(text: str) -> list[str]:
    """Return lines with times and ages taken out, and with single spaces."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\b(\d+ (s|min|h|d)( \d+ (min|h))?)\b", "AGE", text)
    return [" ".join(line.split()) for line in text.splitlines()]


HEAD = "FAMILY STATE LAST SUCCESS AGE ROWS UPDATERS DETAIL"
FRESH = [
    "alpine fresh TIME AGE 14 2 of 2 -",
    "debian fresh TIME AGE 7 1 of 1 -",
    "clair.cvss fresh TIME AGE 7 1 of 1 -",
]


def test_fresh_feeds_are_exit_0(run: Run) -> None:
    outcome = run("feeds")

    assert (outcome.code, normal(outcome.out), outcome.err) == (0, [HEAD, *FRESH], "")


def changed(*changes: list[Any]) -> list[list[Any]]:
    """Return fresh rows with these instead of those of the same updater; a row of one item takes it away."""
    known = {item[0]: item for item in rows()} | {item[0]: item for item in changes}
    return [item for item in known.values() if len(item) > 1]


@pytest.mark.parametrize(
    ("ledger", "line", "error", "code"),
    [
        pytest.param(
            lambda: [row("debian/updater", 25)],
            "debian stale TIME AGE 7 0 of 1 the feed debian/updater last succeeded AGE ago, AGE are allowed",
            "debian stale: the feed debian/updater last succeeded AGE ago, AGE are allowed",
            1,
            id="stale",
        ),
        pytest.param(
            lambda: [row("debian/updater", 2, error="404 Not Found\x1b[31m")],
            "debian failing TIME AGE 7 1 of 1 the feed debian/updater failed: 404 Not Found [31m",
            "debian failing: the feed debian/updater failed: 404 Not Found [31m",
            1,
            id="failing",
        ),
        pytest.param(
            lambda: [row("debian/updater", None, stored=False, error="404")],
            "debian failing - - 7 0 of 1 the feed debian/updater never loaded: 404",
            "debian failing: the feed debian/updater never loaded: 404",
            1,
            id="failing-from-the-first-run-on",
        ),
        pytest.param(
            lambda: [["debian/updater"]],
            "debian never ran - - - 0 of 1 the feed debian/updater never ran",
            "debian never ran: the feed debian/updater never ran",
            3,
            id="never-ran",
        ),
        pytest.param(
            lambda: [["alpine-main-v3.18-updater"]],
            "alpine never ran TIME AGE 7 1 of 2 the feed alpine-main-v*-updater never ran",
            "alpine never ran: the feed alpine-main-v*-updater never ran",
            3,
            id="half-a-family",
        ),
        pytest.param(
            lambda: [row("debian/updater", 1, stored=False)],
            "debian never ran - - 7 0 of 1 the feed debian/updater ran, and nothing of it is stored",
            "debian never ran: the feed debian/updater ran, and nothing of it is stored",
            3,
            id="deleted-by-a-migration",
        ),
        pytest.param(
            lambda: [row("debian/updater", -1)],
            "debian stale - - 7 0 of 1 nothing tells how old the feed debian/updater is",
            "debian stale: nothing tells how old the feed debian/updater is",
            1,
            id="from-the-future",
        ),
    ],
)
def test_what_is_not_fresh_is_named(
    *, run: Run, world: World, ledger: Callable[[], list[list[Any]]], line: str, error: str, code: int
) -> None:
    world.set(rows=changed(*ledger()))

    outcome = run("feeds")

    family = line.split(maxsplit=1)[0]
    table = {one.split()[0]: one for one in normal(outcome.out)}
    assert (outcome.code, table[family]) == (code, line)
    assert normal(outcome.err) == [f"feeds not fresh, clair: {error}", "HINT: ./clair logs matcher"]


def test_a_set_that_could_not_be_made_is_read_from_the_matchers_log(run: Run, world: World) -> None:
    failure = "debian: examining remote: unexpected status"
    world.set(
        rows=changed(["debian/updater"]),
        log=[
            "2026/11/25 02:10:33 invalid compression type: 'none', using no compression as default",
            log_line("starting initial updates"),
            log_line("failed constructing factory, excluding from run", error=failure),
            log_line("running updaters", total=3),
            log_line("GC started"),
        ],
    )

    outcome = run("feeds")

    reason = f"left out of the run, its list of feeds could not be read: {failure}"
    assert outcome.code == 1
    assert f"debian excluded - - - 0 of 1 {reason}" in normal(outcome.out)
    assert outcome.err == f"feeds not fresh, clair: debian excluded: {reason}\nHINT: ./clair logs matcher\n"


def test_a_family_that_never_loads_is_named_and_does_not_count(run: Run, document: dict[str, Any]) -> None:
    document["feeds"]["families"] = ["alpine", "photon"]

    outcome = run("feeds")

    assert outcome.code == 0
    assert "photon never loads - - - 0 of 0 its address answers 403" in normal(outcome.out)


def test_only_families_that_never_load_are_undecided(run: Run, document: dict[str, Any]) -> None:
    document["feeds"] |= {"families": ["photon"], "enrichment": False}

    outcome = run("feeds")

    sentence = (
        "feeds not fresh, clair: no family that this release can load was asked for\nHINT: ./clair feeds --json\n"
    )
    assert (outcome.code, outcome.err) == (3, sentence)


def test_osv_that_is_stale_needs_a_restart(run: Run, world: World, document: dict[str, Any]) -> None:
    document["feeds"] |= {"families": ["osv"], "enrichment": False}
    world.set(rows=[row(f"osv/{name}", 30) for name in ("go", "maven", "pypi", "rubygems")])

    outcome = run("feeds")

    assert outcome.code == 1
    assert outcome.err.endswith("HINT: ./clair restart matcher\n")


def test_an_updater_that_the_last_whole_run_did_not_have_is_retired(
    run: Run, world: World, document: dict[str, Any]
) -> None:
    document["feeds"] |= {"families": ["ubuntu"], "enrichment": False}
    start = time.time() - 2 * 3600
    world.set(
        rows=[row("ubuntu/updater/jammy", 1), row("ubuntu/updater/lunar", 900)],
        log=[log_line("running updaters", start, total=1), log_line("GC started", start + 60)],
    )

    outcome = run("feeds")

    assert outcome.code == 0
    assert "ubuntu fresh TIME AGE - 1 of 1 not offered any more: ubuntu/updater/lunar" in normal(outcome.out)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param([], id="log-without-a-run"),
        pytest.param([log_line("running updaters", total=2)], id="run-under-way"),
    ],
)
def test_without_a_whole_run_nothing_is_retired(
    run: Run, world: World, document: dict[str, Any], log: list[str]
) -> None:
    document["feeds"] |= {"families": ["ubuntu"], "enrichment": False}
    world.set(rows=[row("ubuntu/updater/jammy", 0), row("ubuntu/updater/lunar", 900)], log=log)

    assert run("feeds").code == 1


def test_a_first_load_under_way_is_not_complete(run: Run, world: World) -> None:
    start = time.time() - 2 * 3600
    world.set(log=[log_line("running updaters", start, total=40), log_line("finished update", start, updater="x")])

    outcome = run("feeds")

    reason = "not all of it is loaded yet; the matcher is loading, 1 of 40 updaters done"
    assert outcome.code == 3
    assert normal(outcome.out) == [HEAD, f"alpine never ran TIME AGE 14 2 of 2 {reason}", *FRESH[1:]]


def test_a_first_load_shows_by_its_locks_where_the_log_tells_nothing(run: Run, world: World) -> None:
    world.set(busy=3)

    outcome = run("feeds")

    assert outcome.code == 3
    assert outcome.err.startswith(
        "feeds not fresh, clair: alpine never ran: not all of it is loaded yet; the matcher is"
    )


def test_feeds_as_json(run: Run, world: World) -> None:
    world.set(rows=changed(row("debian/updater", 30)), counts=[["debian/updater", 1001, 123456.7]])

    outcome = run("feeds", "--json")

    debian = next(family for family in outcome.json["families"] if family["family"] == "debian")
    assert (outcome.code, outcome.json["exit_code"], outcome.json["clair_release"]) == (1, 1, "4.9.0")
    assert (debian["state"], debian["rows"], debian["rows_exact"]) == ("stale", 123457, False)
    assert 30 * 3600 <= debian["age_seconds"] < 30 * 3600 + 60
    assert debian["updaters"][0]["name"] == "debian/updater"
    assert debian["updaters"][0]["last_attempt"] is not None
    assert debian["hint"] == "./clair logs matcher"


@pytest.mark.parametrize(
    ("complaint", "reason", "hint"),
    [
        (
            "Error response from daemon: No such container: clair-database",
            "the database's container is not running",
            "./clair database",
        ),
        (
            'psql: error: connection to server at "127.0.0.1", port 5432 failed: Connection refused',
            'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
            "./clair database",
        ),
        (
            'psql:<stdin>:5: ERROR:  relation "updater_status" does not exist',
            "the matcher has not made its tables yet",
            "./clair database",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "docker unreachable, its daemon: not running",
            "sudo systemctl start docker",
        ),
    ],
    ids=["no-container", "refused", "no-tables", "no-daemon"],
)
def test_a_ledger_that_cannot_be_read_is_undecided(
    run: Run, world: World, complaint: str, reason: str, hint: str
) -> None:
    world.set(complaint=complaint)

    table, document = run("feeds"), run("feeds", "--json")

    sentence = f"feed ledger unreadable, database matcher: {reason}"
    assert (table.code, table.out, table.err) == (3, "", f"{sentence}\nHINT: {hint}\n")
    assert document.code == 3
    assert document.json == {"format": 1, "exit_code": 3, "error": sentence, "families": []}


def test_states_stand_without_counts(run: Run, world: World) -> None:
    world.set(counts="no list")

    outcome = run("feeds")

    assert (outcome.code, normal(outcome.out)[1]) == (0, "alpine fresh TIME AGE - 2 of 2 -")


def test_with_an_external_database_the_client_asks_it(run: Run, world: World, document: dict[str, Any]) -> None:
    document["database"] = {"mode": "external", "host": "db.example.com", "port": 5433, "sslmode": "verify-full"}

    outcome = run("feeds")

    asked = next(call for call in world.calls if "database-client" in call)
    assert outcome.code == 0
    assert "host='db.example.com' port='5433' sslmode='verify-full'" in asked[-1]
    assert not any("ledger-password" in word for call in world.calls for word in call)


def test_matchers_with_replicas_are_read_one_by_one(run: Run, world: World, document: dict[str, Any]) -> None:
    document["services"]["matcher"]["replicas"] = 2

    run("feeds")

    logs = sorted(call[-1] for call in world.calls if call[0] == "logs")
    assert logs == ["clair-matcher-1", "clair-matcher-2"]


def test_every_updater_of_the_fixture_is_asked_for() -> None:
    assert [item[0] for item in rows()] == NAMES
