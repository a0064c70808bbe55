"""Which feed answers for what is in an image, by the rules of the feed catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from ops.feeds.find_feeds import Cover, find_feeds, presence_questions
from ops.feeds.match_updaters import Feeds, Ledger, LedgerRow, duration, fill_template

from extensions.catalogue import Catalogue

from .conftest import FAMILIES
from .reports import contents

NOW = 1_700_000_000.0
HOUR = 3600.0
BOOKWORM = ("debian/updater", "dist_version_code_name", "bookworm")


def row(updater: str, hours: float | None = 1, *, stored: bool = True, error: str = "") -> LedgerRow:
    """Return an updater that succeeded some hours ago, or of which no success is known (None)."""
    return LedgerRow(updater, NOW if stored else None, NOW, None if hours is None else NOW - hours * HOUR, error)


def ledger(*rows: LedgerRow | str, pack: float | None = None) -> Ledger:
    """Return a ledger; an updater given by its name succeeded an hour ago."""
    found = [row(item) if isinstance(item, str) else item for item in rows]
    return Ledger({item.updater: item for item in found}, None if pack is None else NOW - pack * HOUR)


def feeds(catalogue: Catalogue, release: str = "4.9.0", asked: Any = FAMILIES, *, offline: bool = False) -> Feeds:
    """Return the feeds of a release; a feed may be 24 hours old."""
    known = {name: catalogue.family(name, release) for name in catalogue.family_names}
    return Feeds(tuple(asked), known, offline, 24 * HOUR)


def covers(
    catalogue: Catalogue, packages: list[str], found: Ledger, release: str = "4.9.0", **changes: Any
) -> list[Cover]:
    """Return the covers of an image."""
    present = changes.pop("present", {BOOKWORM: True})
    return find_feeds(contents(*packages), feeds(catalogue, release, **changes), found, present, NOW)


FRESH = [
    pytest.param("4.9.0", "a@debian", ["debian/updater"], id="debian"),
    pytest.param("4.5.1", "a@debian", ["debian/updater/bookworm"], id="debian by release"),
    pytest.param("4.9.0", "a@alpine", ["alpine-main-v3.18-updater", "alpine-community-v3.18-updater"], id="alpine"),
    pytest.param("4.9.0", "a@ubuntu", ["ubuntu/updater/jammy"], id="ubuntu"),
    pytest.param("4.9.0", "a@amazon", ["aws-AL2-updater"], id="amazon"),
    pytest.param("4.9.0", "a@amazon-1", ["aws-AL1-updater"], id="amazon by its alias"),
    pytest.param("4.5.1", "a@amazon", ["aws-linux2-updater"], id="amazon under its old name"),
    pytest.param("4.9.0", "a@oracle", ["oracle-2023-updater", "oracle-2024-updater"], id="oracle, every year"),
    pytest.param("4.9.0", "a@suse", ["suse-updater-suse.linux.enterprise.server.15"], id="suse by its dotted name"),
    pytest.param("4.9.0", "a@rhel+cpe", ["rhel-vex"], id="rhel"),
    pytest.param("4.8.0", "a@rhel+cpe", ["rhel-vex", "rhel-container-updater"], id="rhel and its containers"),
    pytest.param("4.5.1", "a@rhel+cpe", ["RHEL9-rhel-9", "rhel-container-updater"], id="rhel by OVAL"),
    pytest.param("4.9.0", "a+pypi", ["osv/pypi"], id="python"),
]


@pytest.mark.parametrize(("release", "package", "updaters"), FRESH)
def test_a_feed_answers_for_its_distribution(
    catalogue: Catalogue, release: str, package: str, updaters: list[str]
) -> None:
    (cover,) = covers(catalogue, [package], ledger(*updaters), release)

    assert (cover.state, cover.reason) == ("fresh", "")
    assert cover.updaters == tuple(sorted(updaters))
    assert cover.packages == 1


@pytest.mark.parametrize(("release", "package", "updaters"), FRESH)
def test_it_does_not_answer_while_one_of_its_updaters_is_missing(
    catalogue: Catalogue, release: str, package: str, updaters: list[str]
) -> None:
    for missing in updaters:
        rest = [row(name) if name != missing else row(name, stored=False) for name in updaters]

        (cover,) = covers(catalogue, [package], ledger(*rest), release)

        assert cover.state == "never loaded"
        assert cover.reason.startswith(f"the feed {missing} never loaded")


@pytest.mark.parametrize(
    ("hours", "state", "reason"),
    [
        pytest.param(23.99, "fresh", "", id="just young enough"),
        pytest.param(
            24.02,
            "stale",
            "the feed debian/updater last succeeded 24 h 1 min ago, 24 h are allowed",
            id="a minute too old",
        ),
        pytest.param(
            None, "of unknown age", "nothing tells how old the feed debian/updater is", id="imported without a pack"
        ),
        pytest.param(-1, "of unknown age", "nothing tells how old the feed debian/updater is", id="from the future"),
    ],
)
def test_a_feed_is_as_old_as_its_last_success(
    catalogue: Catalogue, hours: float | None, state: str, reason: str
) -> None:
    (cover,) = covers(catalogue, ["a@debian"], ledger(row("debian/updater", hours)))

    assert (cover.state, cover.reason) == (state, reason)


def test_a_failing_feed_tells_its_error(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@debian"], ledger(row("debian/updater", 48, error="HTTP 403\x1b[2J")))

    expected = "the feed debian/updater last succeeded 2 d ago, 24 h are allowed: HTTP 403 [2J"
    assert cover.reason == expected


def test_a_success_without_stored_data_is_no_feed(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@debian"], ledger(row("debian/updater", 1, stored=False)))

    assert cover.state == "never loaded"


def test_offline_the_age_is_the_packs(catalogue: Catalogue) -> None:
    imported = row("debian/updater", None)

    (young,) = covers(catalogue, ["a@debian"], ledger(imported, pack=20), offline=True)
    (old,) = covers(catalogue, ["a@debian"], ledger(imported, pack=30), offline=True)

    assert (young.state, old.state) == ("fresh", "stale")


def test_a_family_that_was_not_asked_for_is_named(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@ubuntu"], ledger("debian/updater"), asked=["debian"])

    assert cover.reason == "the feed ubuntu/updater/jammy never loaded; ubuntu is not among updater_families"


def test_a_family_that_cannot_be_loaded_any_more_is_named(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@photon"], ledger(), asked=["photon"])

    assert cover.reason == "the feed photon-updater-photon3 never loaded; its address answers 403"


def test_a_distribution_that_no_family_lists_has_no_feed(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@fedora"], ledger("debian/updater"))

    assert (cover.state, cover.reason) == ("none", "no feed of Clair covers it")


def test_packages_of_no_distribution_are_named_with_their_database(catalogue: Catalogue) -> None:
    debian, lost = covers(catalogue, ["a@debian", "b", "c"], ledger("debian/updater"))

    assert debian.state == "fresh"
    assert (lost.kind, lost.packages) == ("unrecognised", 2)
    assert lost.reason == "2 packages are of no distribution that Clair recognises (var/lib/db)"


def test_a_language_without_a_feed_is_named(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a+npm"], ledger("osv/npm"))

    assert (cover.subject, cover.reason) == ("npm packages", "no feed that is loaded covers them")


def test_a_release_that_compares_no_language_packages_says_so(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a+pypi"], ledger(), "4.5.1")

    assert (cover.kind, cover.state) == ("language", "none")


def test_red_hats_packages_without_a_repository_are_compared_with_nothing(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@rhel", "b@rhel"], ledger("rhel-vex"))

    assert (cover.state, cover.reason) == ("none", "none of its packages has a repository that Clair can compare by")


def test_some_of_red_hats_packages_without_a_repository_are_counted(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@rhel+cpe", "b@rhel"], ledger("rhel-vex"))

    assert cover.state == "fresh"
    assert cover.notes == ("1 of 2 packages have no repository and were not compared",)


def test_red_hats_containers_belong_to_the_distribution_beside_them(catalogue: Catalogue) -> None:
    (cover,) = covers(catalogue, ["a@rhel+cpe", "ubi9+rhcc"], ledger("rhel-vex"))

    assert (cover.kind, cover.packages) == ("distribution", 2)


def test_a_debian_that_the_feed_does_not_know_is_not_covered(catalogue: Catalogue) -> None:
    found = ledger("debian/updater")
    asked = presence_questions(contents("a@debian"), feeds(catalogue), found)

    (cover,) = covers(catalogue, ["a@debian"], found, present={BOOKWORM: False})

    assert asked == [BOOKWORM]
    assert (cover.state, cover.reason) == ("none", "the feed debian/updater holds nothing for 'bookworm'")


def test_oracles_false_red_hat_is_ignored_on_old_releases(catalogue: Catalogue) -> None:
    found = covers(catalogue, ["a@oracle", "@rhel"], ledger("oracle-2021-updater"), "4.7.2")

    assert [cover.family for cover in found] == ["oracle"]


@pytest.mark.parametrize(
    ("template", "fields", "expected"),
    [
        pytest.param("alpine-v{version}", {"version": "3.18"}, r"alpine\-v3\.18|alpine-v3\.18", id="escaped"),
        pytest.param("x-{version}", {}, None, id="missing"),
        pytest.param("x-{version}", {"version": ""}, None, id="empty"),
        pytest.param("x-{version}", {"version": 3}, None, id="no text"),
        pytest.param(r"oracle-\d{4}", {}, r"oracle-\d{4}", id="braces of a regular expression"),
        pytest.param("x-{version}", {"version": ".*"}, r"x-\.\*", id="a pattern in the image"),
    ],
)
def test_a_template_is_filled_with_what_the_image_says(
    template: str, fields: dict[str, Any], expected: str | None
) -> None:
    filled = fill_template(template, fields, {})

    assert filled is expected if expected is None else filled in expected.split("|")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (90060, "25 h 1 min"),
        (86400 * 3, "3 d"),
        (270000, "3 d 3 h"),
    ],
)
def test_a_duration_is_told_in_the_units_a_reader_needs(seconds: float, text: str) -> None:
    assert duration(seconds) == text
