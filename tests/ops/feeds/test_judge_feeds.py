"""No ledger is called fresh unless it is; and what a run's log adds to it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.feeds.judge_feeds import FAILING, FRESH, NEVER_LOADS, FamilyState, exit_code, judge_feeds
from ops.feeds.list_needed import asked_families, is_name, missing_updaters, needed_updaters
from ops.feeds.match_updaters import Ledger, LedgerRow, read_feeds
from ops.feeds.read_runs import Run

from extensions.catalogue import load_catalogue
from tests.ops.scan.conftest import facts
from tests.support import facts as template
from tests.support.places import DATA

CATALOGUE = load_catalogue(DATA)
FEEDS = facts(CATALOGUE)["feeds"]
NOW = time.time()
HOUR = 3600.0
# For each family of 4.9.0 the updaters of an everyday ledger.
USUAL = [
    *(f"alpine-{place}-v3.{number}-updater" for place in ("main", "community") for number in (17, 18)),
    *("aws-AL1-updater", "aws-AL2-updater", "aws-AL2023-updater", "clair.cvss", "debian/updater"),
    *(f"oracle-{year}-updater" for year in (2024, 2025, 2026)),
    *("osv/go", "osv/maven", "osv/pypi", "osv/rubygems", "rhel-vex"),
    *("suse-updater-suse.linux.enterprise.server.15", "suse-updater-opensuse.leap.15.5"),
    *("ubuntu/updater/jammy", "ubuntu/updater/noble"),
]


def settings(**changes: Any) -> dict[str, Any]:
    """Return deployment.json's `feeds` of 4.9.0 with the default families."""
    return {**FEEDS, **changes}


def usual() -> dict[str, LedgerRow]:
    """Return a ledger in which all of USUAL succeeded an hour ago."""
    return {name: LedgerRow(name, NOW - 30 * HOUR, NOW - HOUR, NOW - HOUR) for name in USUAL}


def judge(rows: Mapping[str, LedgerRow], run: Run | None = None, **changes: Any) -> list[FamilyState]:
    """Return the families' states."""
    asked = settings(**changes)
    return judge_feeds(asked, read_feeds(asked), Ledger(rows), run, NOW)


def test_the_usual_ledger_is_fresh_and_complete() -> None:
    families = judge(usual())

    assert [family.name for family in families] == asked_families(settings())
    assert {family.state for family in families} == {FRESH}
    assert all(family.complete and not family.hopeless for family in families)
    assert exit_code(families) == 0


moments = st.one_of(
    st.none(),
    st.floats(0, 23).map(lambda hours: NOW - hours * HOUR),
    st.floats(25, 1e5).map(lambda hours: NOW - hours * HOUR),
    st.floats(0.2, 1e5).map(lambda hours: NOW + hours * HOUR),
    st.floats(allow_nan=False),
)
mutations = st.one_of(
    st.just("gone"),
    st.tuples(st.just("stored_at"), moments),
    st.tuples(st.just("last_success"), moments),
    st.tuples(st.just("last_attempt"), moments),
    st.tuples(st.just("error"), st.sampled_from(["404", "x" * 500, "\x1b[2J"])),
    st.tuples(st.just("updater"), st.sampled_from(["debian/updater/x", "osv/npm", "alpine-main-v3.99-updater", ""])),
)
runs = st.one_of(
    st.none(),
    st.builds(
        Run,
        st.floats(0, 40).map(lambda hours: NOW - hours * HOUR),
        st.one_of(st.none(), st.integers(0, 100)),
        st.integers(0, 100),
        st.booleans(),
        st.lists(st.sampled_from(["debian: x", "Get https://api.launchpad.net/1.0: x", "no idea"]), max_size=2).map(
            tuple
        ),
    ),
)


def mutate(rows: dict[str, LedgerRow], name: str, change: Any) -> None:
    """Change a ledger in one place."""
    row = rows.pop(name, None)
    if row is None or change == "gone":
        return
    field, value = change
    changed = LedgerRow(**{**row.__dict__, field: value})
    rows[changed.updater] = changed


def is_fresh(row: LedgerRow) -> bool:
    """Whether a row by itself supports a verdict: it is loaded, its success lies in the last 24 hours, its run did not fail."""
    if row.stored_at is None or row.error or row.last_success is None:
        return False
    return NOW - 24 * HOUR <= row.last_success <= NOW + 300


def left_behind(row: LedgerRow, run: Run | None) -> bool:
    """Whether the last whole run passed a row by."""
    seen = max(row.last_attempt or 0, row.last_success or 0)
    return run is not None and run.ended and seen < run.started_at


@given(
    changes=st.lists(st.tuples(st.sampled_from(USUAL), mutations), min_size=1, max_size=4),
    families=st.lists(st.sampled_from(CATALOGUE.family_names), min_size=1, max_size=9, unique=True),
    enrichment=st.booleans(),
    run=runs,
)
def test_exit_0_means_that_each_family_has_all_it_needs_and_it_is_fresh(
    changes: list[tuple[str, Any]], families: list[str], enrichment: bool, run: Run | None
) -> None:
    rows = usual()
    for name, change in changes:
        mutate(rows, name, change)

    states = judge(rows, run, families=families, enrichment=enrichment)

    if exit_code(states) == 0:
        asked = asked_families(settings(families=families, enrichment=enrichment))
        known = settings()["catalogue"]
        loadable = [known[name] for name in asked if not known[name]["never_loads"]]
        assert loadable
        for family in loadable:
            own = [row for name, row in rows.items() if re.fullmatch(family["updaters"], name)]
            good = [row.updater for row in own if is_fresh(row)]
            assert all(any(re.fullmatch(pattern, name) for name in good) for pattern in needed_updaters(family))
            assert all(is_fresh(row) or left_behind(row, run) for row in own)


@given(changes=st.lists(st.tuples(st.sampled_from(USUAL), mutations), min_size=1, max_size=6), run=runs)
def test_a_complete_family_has_all_it_needs_and_it_is_current(changes: list[tuple[str, Any]], run: Run | None) -> None:
    rows = usual()
    for name, change in changes:
        mutate(rows, name, change)

    for family in judge(rows, run):
        if family.complete:
            facts_of = settings()["catalogue"][family.name]
            current = [updater.name for updater in family.counted if updater.current]
            assert missing_updaters(facts_of, current) == []
            assert len(current) == len(family.counted)


def test_feed_that_is_not_in_use_is_failing_however_fresh_it_is() -> None:
    rows = {name: LedgerRow(name, NOW, NOW, NOW, "", True) for name in USUAL}

    for family in judge(rows, None):
        assert family.state == FAILING
        assert "is stored and not in use" in family.reason


def test_every_reason_is_one_printable_line() -> None:
    rows = {name: LedgerRow(name, None, NOW, None, "a\nb\x1b[31m" + "c" * 1000) for name in USUAL}

    for family in judge(rows, Run(NOW, 3, 1, False, ("x\ny\x07",))):
        assert family.state != FRESH
        assert family.reason.isprintable()


@pytest.mark.parametrize("version", template.releases())
def test_every_family_of_every_release_needs_something_or_never_loads(version: str) -> None:
    for name in [*CATALOGUE.family_names, CATALOGUE.enrichment_name]:
        family = CATALOGUE.family(name, version)

        assert needed_updaters(family) or family["never_loads"], name
        assert all(re.compile(pattern) for pattern in needed_updaters(family))


def test_what_a_family_needs_is_shown_without_regular_expressions() -> None:
    known = settings()["catalogue"]

    assert missing_updaters(known["alpine"], []) == ["alpine-main-v*-updater", "alpine-community-v*-updater"]
    assert missing_updaters(known["oracle"], []) == ["oracle-*-updater"]
    assert missing_updaters(known["osv"], ["osv/go"]) == ["osv/maven", "osv/pypi", "osv/rubygems"]


@pytest.mark.parametrize(
    ("pattern", "single"),
    [("debian/updater", True), (r"clair\.cvss", True), (r"osv/go", True), ("alpine-main-v?.+-updater", False),
     (r"oracle-\d{4}-updater", False)],
)  # fmt: skip
def test_a_name_is_told_from_a_pattern(pattern: str, single: bool) -> None:
    assert is_name(pattern) is single


@pytest.mark.parametrize(
    ("failure", "family"),
    [
        ("alpine: unexpected status requesting `last-update`: 404 Not Found", "alpine"),
        ('ubuntu: error requesting series collection: Get "https://api.launchpad.net/1.0/ubuntu/series": x', "ubuntu"),
        ('Get "https://osv-vulnerabilities.storage.googleapis.com/ecosystems.txt": dial tcp: lookup failed', "osv"),
        ("suse: error requesting", "suse"),
        ("unexpected response: 404 Not Found", "rhel"),
    ],
    ids=["prefix", "prefix-and-host", "host", "set", "the-only-silent-one"],
)
def test_a_failed_set_is_its_familys(failure: str, family: str) -> None:
    pattern = settings()["catalogue"][family]["updaters"]
    rows = {name: row for name, row in usual().items() if not re.fullmatch(pattern, name)}

    states = {one.name: one for one in judge(rows, Run(NOW - HOUR, 5, 5, True, (failure,)))}

    assert {name for name, one in states.items() if one.state == "excluded"} == {family}
    assert states[family].hopeless


def test_a_family_left_out_of_the_last_run_fails_while_its_data_is_still_young() -> None:
    states = {one.name: one for one in judge(usual(), Run(NOW - HOUR, 5, 5, True, ("debian: no answer",)))}

    assert states["debian"].state == "failing"
    assert states["debian"].complete


def test_two_silent_families_and_one_failure_without_a_name_are_not_guessed() -> None:
    rows = {name: row for name, row in usual().items() if not name.startswith(("debian", "rhel"))}

    states = {one.name: one.state for one in judge(rows, Run(NOW - HOUR, 5, 5, True, ("no answer",)))}

    assert (states["debian"], states["rhel"]) == ("never ran", "never ran")


def offline(
    rows: Mapping[str, LedgerRow], dates: Mapping[str, float] | None, newest: float | None
) -> dict[str, FamilyState]:
    asked = settings(offline=True, max_age_hours=720)
    ledger = Ledger(rows, newest, dates)
    return {one.name: one for one in judge_feeds(asked, read_feeds(asked), ledger, Run(NOW), NOW)}


def test_offline_the_age_is_the_packs_and_status_counts_for_nothing() -> None:
    rows = {name: LedgerRow(name, NOW, None, None, "old failure") for name in USUAL}

    fresh = offline(rows, dict.fromkeys(USUAL, NOW - 600 * HOUR), NOW - 600 * HOUR)
    stale = offline(rows, dict.fromkeys(USUAL, NOW - 800 * HOUR), NOW - 800 * HOUR)
    unknown = offline(rows, None, None)

    assert {one.state for one in fresh.values()} == {"fresh"}
    assert {one.state for one in stale.values()} == {"stale"}
    assert {one.state for one in unknown.values()} == {"stale"}
    assert all(one.hopeless and one.hint == "./clair feeds-import FILE" for one in unknown.values())


def test_offline_an_updater_of_an_earlier_pack_is_as_old_as_that_pack() -> None:
    rows = {name: LedgerRow(name, NOW) for name in USUAL}
    dates = {
        **dict.fromkeys(USUAL, NOW - HOUR),
        "debian/updater": NOW - 900 * HOUR,
        "ubuntu/updater/jammy": NOW - 900 * HOUR,
    }

    states = offline(rows, dates, NOW - HOUR)

    assert states["debian"].state == "stale"
    assert (states["ubuntu"].state, states["ubuntu"].retired) == ("fresh", ["ubuntu/updater/jammy"])


def test_never_loads_only_while_nothing_is_loaded() -> None:
    asked = settings(families=["photon"], enrichment=False)
    rows = {f"photon-updater-photon{number}": LedgerRow("x", NOW, NOW, NOW) for number in (1, 2, 3)}
    named = {name: LedgerRow(name, NOW, NOW, NOW) for name in rows}

    assert [one.state for one in judge({}, **{"families": ["photon"], "enrichment": False})] == [NEVER_LOADS]
    assert [one.state for one in judge(named, families=asked["families"], enrichment=False)] == [FRESH]
