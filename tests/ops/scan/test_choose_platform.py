"""The choice among the images of an index, and the check of a single one."""

from __future__ import annotations

from typing import Any

import pytest
from ops.errors import USAGE, Problem
from ops.host.read_json import Unreadable
from ops.registries.choose_platform import choose_entry, config_platform, image_manifest, index_entries
from ops.registries.parse_reference import Platform, parse_platform

IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def index(*platforms: str, **extra: Any) -> dict[str, Any]:
    """Return an index with images 1, 2, ... for platforms; `unknown/unknown` is an attestation."""
    entries = []
    for number, platform in enumerate(platforms, 1):
        os, architecture, *variant = platform.split("/")
        described = {"os": os, "architecture": architecture, "variant": variant[0] if variant else None}
        entries.append({"digest": digest(number), "platform": described, **extra})
    return {"schemaVersion": 2, "manifests": entries}


@pytest.mark.parametrize(
    ("platforms", "wanted", "number"),
    [
        pytest.param(["linux/amd64", "linux/arm64"], "linux/arm64", 2, id="by architecture"),
        pytest.param(["linux/amd64", "linux/arm64/v8"], "linux/arm64", 2, id="the usual variant"),
        pytest.param(["linux/arm/v6", "linux/arm/v7"], "linux/arm", 2, id="the default variant of arm"),
        pytest.param(["linux/arm/v6", "linux/arm/v7"], "linux/arm/v6", 1, id="the variant asked for"),
        pytest.param(["linux/amd64/v3", "linux/amd64"], "linux/amd64", 2, id="no variant before another one"),
        pytest.param(["linux/amd64/v2"], "linux/amd64", 1, id="the only one of an architecture"),
        pytest.param(["linux/amd64/v2", "linux/amd64/v3"], "linux/amd64", None, id="two variants, none the usual"),
        pytest.param(["linux/arm/v7"], "linux/arm/v6", None, id="another variant than asked for"),
        pytest.param(["windows/amd64"], "linux/amd64", None, id="another system"),
        pytest.param(["unknown/unknown", "linux/amd64"], "linux/amd64", 2, id="past an attestation"),
        pytest.param(["unknown/unknown"], "linux/amd64", None, id="nothing but an attestation"),
    ],
)
def test_the_image_of_a_platform_is_chosen(platforms: list[str], wanted: str, number: int | None) -> None:
    entry = choose_entry(index_entries(index(*platforms)), parse_platform(wanted))

    assert (entry.digest if entry else None) == (digest(number) if number else None)


def test_an_attestation_is_skipped_even_if_it_names_a_platform() -> None:
    attested = index("linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"})

    assert index_entries(attested) == []


def test_an_entry_without_digest_is_not_read() -> None:
    with pytest.raises(Unreadable):
        index_entries({"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]})


def test_an_image_for_another_architecture_is_refused_with_the_one_there_is() -> None:
    with pytest.raises(Problem) as refusal:
        config_platform({"os": "linux", "architecture": "arm64"}, "r.local/a:1", Platform("linux", "amd64"))

    assert refusal.value.sentence == "no image for linux/amd64, r.local/a:1: there is linux/arm64"
    assert refusal.value.hint == "./clair scan --platform linux/arm64 r.local/a:1"
    assert refusal.value.code == USAGE


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(
            {"schemaVersion": 1},
            "image not usable, r.local/a:1: its manifest is of the retired schema 1",
            id="schema 1",
        ),
        pytest.param(
            {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []},
            "not a container image, r.local/a:1: it is an artifact of type application/vnd.cncf.helm.config.v1+json",
            id="chart",
        ),
        pytest.param(
            {"config": {"mediaType": IMAGE_CONFIG, "digest": digest(1)}, "layers": []},
            "nothing to scan, r.local/a:1: the image has no layers",
            id="no layers",
        ),
    ],
)
def test_what_is_no_image_is_refused(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Problem) as refusal:
        image_manifest(document, "r.local/a:1")

    assert (refusal.value.sentence, refusal.value.code) == (sentence, USAGE)


@pytest.mark.parametrize("layers", [[{}], ["x"], [{"digest": "sha256:1"}], None])
def test_a_damaged_manifest_is_not_read(layers: Any) -> None:
    with pytest.raises(Unreadable):
        image_manifest({"config": {"mediaType": IMAGE_CONFIG, "digest": digest(1)}, "layers": layers}, "r.local/a:1")
