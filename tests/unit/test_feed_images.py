"""Which image imports feed packs: a fact of the release, in the data, and everywhere that an image has to be named."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.catalogue import Catalogue, version_key
from extensions.derive import derive
from tests.support import facts
from tests.support.answers import complete


def derived(catalogue: Catalogue, **answers: Any) -> dict[str, Any]:
    """Return what is derived from these answers and the defaults."""
    return derive(complete(catalogue, answers), catalogue)


@pytest.mark.parametrize("version", facts.releases())
def test_another_release_that_imports_is_an_older_one_for_the_same_machines(version: str) -> None:
    other = facts.release(version)["import_release"]

    if other is not None:
        assert version_key(other) < version_key(version)
        assert set(facts.release(version)["platforms"]) <= set(facts.release(other)["platforms"])


@pytest.mark.parametrize("version", facts.releases())
def test_its_image_is_listed_only_where_it_is_another(catalogue: Catalogue, version: str) -> None:
    values = derived(catalogue, clair_version=version)
    other = facts.release(version)["import_release"]

    image = f"{catalogue.clair['image']}:{other or version}"
    assert values["import_image"] == image
    assert values["images"].get("clair-import") == (image if other else None)
    assert values["commands"]["images"] == values["images"]


def test_the_release_whose_clairctl_cannot_import_has_another(catalogue: Catalogue) -> None:
    assert derived(catalogue, clair_version="4.9.0")["images"]["clair-import"] == "quay.io/projectquay/clair:4.8.0"


def test_the_mirror_serves_it_as_well(catalogue: Catalogue) -> None:
    images = derived(catalogue, clair_version="4.9.0", image_mirror="reg.example.com/m")["images"]

    assert images["clair-import"] == "reg.example.com/m/projectquay/clair:4.8.0"


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_feed_tools_may_use_as_much_as_the_matcher(catalogue: Catalogue, size: str) -> None:
    values = derived(catalogue, deployment_size=size)
    tools, matcher = values["feed_tools"], values["services"]["matcher"]

    assert (tools["memory"], tools["cpus"]) == (matcher["memory"], matcher["cpus"])
    assert 0.8 * tools["memory"] < tools["go_memory"] < tools["memory"]
    assert values["commands"]["feeds"]["tools"] == {"memory_mib": matcher["memory"], "spool_gib": tools["spool_gib"]}
