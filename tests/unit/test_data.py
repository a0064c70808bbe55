"""The data files agree with one another and with what is known of Clair."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from extensions.catalogue import Catalogue
from tests.support import facts
from tests.support.places import ROOT

RELEASES = facts.releases()
OPTIONAL = {"config_keys_added", "config_keys_removed"}

# Updater sets by the release that brought and the one that dropped them (libvuln's defaults, at the version each release links).
SETS = {
    **dict.fromkeys(["alpine", "aws", "clair.cvss", "debian", "oracle", "photon", "suse", "ubuntu"], ("4.5.0", None)),
    "rhel": ("4.5.0", "4.8.0"),
    "rhel-vex": ("4.8.0", None),
    "rhcc": ("4.5.0", "4.9.0"),
    "osv": ("4.7.0", None),
    "pyupio": ("4.5.0", "4.7.0"),
}


def known_sets(version: str) -> set[str]:
    """Return the updater sets that a release knows."""
    index = RELEASES.index(version)
    return {
        name
        for name, (since, until) in SETS.items()
        if RELEASES.index(since) <= index and (until is None or index < RELEASES.index(until))
    }


def test_every_release_has_every_field() -> None:
    fields = {version: set(facts.release(version)) - OPTIONAL for version in RELEASES}

    assert all(names == fields[RELEASES[-1]] for names in fields.values()), fields


def test_every_release_is_dated_and_later_than_the_one_before() -> None:
    dates = [facts.release(version)["date"] for version in RELEASES]

    assert all(isinstance(date, datetime.date) for date in dates)
    assert dates == sorted(set(dates))


def test_every_field_is_explained_above_the_entries() -> None:
    text = (ROOT / "extensions/data/clair.yaml").read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))

    assert [name for name in facts.release(RELEASES[-1]) if name not in comment] == []


@pytest.mark.parametrize("version", RELEASES)
def test_release_names_a_key_set_that_exists(version: str) -> None:
    assert facts.release(version)["config_keys"] in facts.parsed("clair-config-keys.json")["keysets"]


@pytest.mark.parametrize("service", ["indexer", "matcher", "notifier"])
@pytest.mark.parametrize("version", RELEASES)
def test_catalogue_finds_the_keys_of_each_service(catalogue: Catalogue, version: str, service: str) -> None:
    sections = facts.sections_of(service)

    keys = catalogue.keys_of(version, service)

    assert keys == sorted(key for key in facts.config_keys(version) if key.split(".")[0] in sections)


def test_every_config_section_has_a_service() -> None:
    tops = {key.split(".")[0] for version in RELEASES for key in facts.config_keys(version)}

    assert tops == set(facts.parsed("clair-config-keys.json")["sections"])


@pytest.mark.parametrize("version", RELEASES)
def test_strict_releases_and_those_with_drop_ins_begin_together(version: str) -> None:
    newer = RELEASES.index(version) >= RELEASES.index("4.7.0")

    entry = facts.release(version)

    assert (entry["strict_config"], entry["drop_ins"], entry["check_config"]) == (newer, newer, newer)


@pytest.mark.parametrize("version", RELEASES)
def test_updater_sets_are_known_to_the_release(catalogue: Catalogue, version: str) -> None:
    names = {name for family in catalogue.family_names for name in catalogue.family(family, version)["sets"]}
    names |= set(catalogue.family(catalogue.enrichment_name, version)["sets"])

    assert names <= known_sets(version)
    assert known_sets(version) - names <= {"pyupio"}  # retired: its list is gone


@pytest.mark.parametrize("version", RELEASES)
def test_updater_patterns_are_regular_expressions(catalogue: Catalogue, version: str) -> None:
    patterns = [
        catalogue.family(name, version)["updaters"] for name in [*catalogue.family_names, catalogue.enrichment_name]
    ]

    assert all(re.compile(pattern) for pattern in patterns)


def test_every_family_has_an_entry_for_the_oldest_release(catalogue: Catalogue) -> None:
    first = {
        name: entry["releases"][0]["from"]
        for kind in ("families", "enrichment")
        for name, entry in facts.parsed("families.yaml")[kind].items()
    }

    assert set(first.values()) == {RELEASES[0]}


def test_every_refused_pattern_leaves_the_supported_releases_alone(catalogue: Catalogue) -> None:
    assert [version for version in RELEASES if catalogue.refusal_reason(version)] == []


@pytest.mark.parametrize("entry", facts.parsed("clair.yaml")["refused"], ids=lambda entry: entry["match"])
def test_refusal_reason_is_part_of_a_sentence(entry: dict[str, str]) -> None:
    assert re.compile(entry["match"])
    assert entry["reason"].isprintable()
    assert not entry["reason"].endswith(".")


@pytest.mark.parametrize("component", facts.parsed("components.yaml"))
def test_component_images_are_pinned_to_an_exact_tag(component: str) -> None:
    entry: dict[str, Any] = facts.parsed("components.yaml")[component]
    tags = [entry["tag"]] if "tag" in entry else [major["tag"] for major in entry["majors"].values()]

    assert all(re.match(r"v?\d+\.\d+(\.\d+)?(-|$)", tag) for tag in tags)
    assert entry["image"].count("/") == 2
    assert set(entry["platforms"]) >= {"amd64", "arm64"}


def test_default_database_major_is_offered(catalogue: Catalogue) -> None:
    assert catalogue.components["postgres"]["default_major"] in catalogue.database_majors
    assert catalogue.database_majors == ["15", "16", "17", "18"]


def test_image_tags_stand_in_the_data_files_only() -> None:
    components = facts.parsed("components.yaml").values()
    tags = [entry["tag"] for entry in components if "tag" in entry]
    tags += [major["tag"] for entry in components for major in entry.get("majors", {}).values()]
    sources = [*ROOT.glob("template/**/*.jinja"), *ROOT.glob("extensions/*.py"), ROOT / "copier.yml"]

    typed = [(path.name, tag) for path in sources for tag in tags if tag in path.read_text(encoding="utf-8")]

    assert typed == []
