"""Every release by every architecture: rendered where there is an image, refused by name where there is none."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.support import clair_config, facts
from tests.support.copier_runs import refusal_of_copy

SUPPORTED = [(version, name) for version in facts.releases() for name in facts.release(version)["platforms"]]
UNSUPPORTED = [
    (version, name)
    for version in facts.releases()
    for name in facts.architectures()
    if name not in facts.release(version)["platforms"]
]
# The oldest release, the newest, and those between which the word for the Java scanner came.
JAVA_CHANGES = sorted(
    {facts.releases()[0], facts.releases()[-1]}
    | {
        version
        for pair in itertools.pairwise(facts.releases())
        if len({facts.release(version)["java_api_setting"] for version in pair}) > 1
        for version in pair
    }
)


@pytest.mark.parametrize(("version", "architecture"), SUPPORTED, ids=lambda value: value)
def test_release_with_an_image_renders_configs_that_it_knows(render: Render, version: str, architecture: str) -> None:
    project = render({"clair_version": version, "architecture": architecture})

    complaints = [line for service in project.clair_services for line in clair_config.complaints(project, service)]

    assert complaints == []
    assert (project.facts["clair_release"], project.facts["architecture"]) == (version, architecture)
    assert project.clair_services == ["indexer", "matcher", "notifier"]


@pytest.mark.parametrize(("version", "architecture"), UNSUPPORTED, ids=lambda value: value)
def test_release_without_an_image_is_refused(template: Path, tmp_path: Path, version: str, architecture: str) -> None:
    platforms = facts.release(version)["platforms"]
    since = next(known for known in facts.releases() if architecture in facts.release(known)["platforms"])

    refusal = refusal_of_copy(template, tmp_path / "new", {"clair_version": version, "architecture": architecture})

    assert refusal == (
        f"architecture '{architecture}' has no image of Clair {version}: "
        f"choose {', '.join(platforms)} or clair_version {since} or newer."
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("version", facts.releases())
def test_release_decides_signal_connection_pool_and_sections(render: Render, version: str) -> None:
    entry = facts.release(version)
    project = render({"clair_version": version, "architecture": "amd64"})

    compose, config = project.yaml("compose.yaml"), project.config("matcher")

    assert {compose["services"][name]["stop_signal"] for name in project.clair_services} == {entry["stop_signal"]}
    assert ("pool_max_conns=" in config["matcher"]["connstring"]) == ("setting" in entry["pool"])
    assert compose["services"]["clairctl"]["entrypoint"] == [f"{entry['bin_dir']}/clairctl"]
    assert project.facts["release"]["drop_ins"] == entry["drop_ins"]


@pytest.mark.parametrize("version", JAVA_CHANGES)
def test_offline_indexer_of_a_release_is_told_only_what_it_knows(render: Render, version: str) -> None:
    setting = facts.release(version)["java_api_setting"]
    project = render({"clair_version": version, "architecture": "amd64", "feeds_offline": True})

    scanner = project.config("indexer")["indexer"]["scanner"]

    assert clair_config.complaints(project, "indexer") == []
    assert scanner["package"].get("java") == ({setting: True} if setting else None)
