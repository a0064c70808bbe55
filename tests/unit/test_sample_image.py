"""The sample images are OCI images with real package databases, and the same bytes each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from demo import sample_image


def layer(image: sample_image.Image, number: int = 0) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.blobs[number + 1].data)))


def read(image: sample_image.Image, path: str) -> str:
    file = layer(image).extractfile(path)
    assert file is not None
    return file.read().decode()


def document(blob: sample_image.Blob) -> Any:
    return json.loads(blob.data)


@pytest.mark.parametrize("reference", sample_image.SAMPLES)
def test_two_builds_are_the_same_bytes(reference: str) -> None:
    build = sample_image.SAMPLES[reference]

    first, second = build("amd64"), build("amd64")

    assert [blob.data for blob in (*first.manifests, *first.blobs)] == [
        blob.data for blob in (*second.manifests, *second.blobs)
    ]


@pytest.mark.parametrize("reference", sample_image.SAMPLES)
def test_every_descriptor_names_a_blob_with_its_digest_and_size(reference: str) -> None:
    artifact = sample_image.SAMPLES[reference]("amd64")
    present = {blob.digest: blob for blob in (*artifact.manifests, *artifact.blobs)}

    for manifest in artifact.manifests:
        content = document(manifest)
        named = content.get("manifests") or [content["config"], *content["layers"]]
        for descriptor in named:
            blob = present[descriptor["digest"]]
            assert descriptor["digest"] == "sha256:" + hashlib.sha256(blob.data).hexdigest()
            assert (descriptor["size"], descriptor["mediaType"]) == (len(blob.data), blob.media_type)


def test_diff_ids_are_the_digests_of_the_uncompressed_layers() -> None:
    image = sample_image.debian_image()

    diff_ids = document(image.blobs[0])["rootfs"]["diff_ids"]

    assert diff_ids == ["sha256:" + hashlib.sha256(gzip.decompress(blob.data)).hexdigest() for blob in image.blobs[1:]]


def test_members_of_a_layer_have_fixed_times_owners_and_their_folders_first() -> None:
    members = layer(sample_image.debian_image()).getmembers()

    seen: set[str] = set()
    for member in members:
        assert (member.mtime, member.uid, member.gid) == (sample_image.MODIFIED_SECONDS, 0, 0)
        assert all(str(parent) in seen for parent in Path(member.name).parents if str(parent) != ".")
        seen.add(member.name)


@pytest.mark.parametrize(
    ("image", "path"),
    [
        pytest.param(sample_image.debian_image(), "var/lib/dpkg/status", id="debian"),
        pytest.param(sample_image.alpine_image(), "lib/apk/db/installed", id="alpine"),
    ],
)
def test_os_release_is_a_link_as_in_the_distributions_own_images(image: sample_image.Image, path: str) -> None:
    assert layer(image).getmember("etc/os-release").linkname == "../usr/lib/os-release"
    assert read(image, "etc/os-release") == read(image, "usr/lib/os-release")
    assert read(image, path)


def test_dpkg_has_a_list_and_checksums_for_each_package_of_its_status() -> None:
    image = sample_image.debian_image("arm64")
    stanzas = [
        dict(line.split(": ", 1) for line in stanza.splitlines() if not line.startswith(" ") and ": " in line)
        for stanza in read(image, "var/lib/dpkg/status").strip().split("\n\n")
    ]

    expected = {
        f"var/lib/dpkg/info/{one['Package']}{':arm64' if one.get('Multi-Arch') == 'same' else ''}.{kind}"
        for one in stanzas
        for kind in ("list", "md5sums")
    }

    assert {name for name in layer(image).getnames() if name.startswith("var/lib/dpkg/info/")} == expected
    assert {one["Architecture"] for one in stanzas} == {"arm64"}


@pytest.mark.parametrize("architecture", sample_image.DEBIAN_ARCHITECTURES)
def test_package_databases_name_the_architecture_of_the_image(architecture: str) -> None:
    debian = read(sample_image.debian_image(architecture), "var/lib/dpkg/status")
    alpine = read(sample_image.alpine_image(architecture), "lib/apk/db/installed")

    assert f"\nArchitecture: {sample_image.DEBIAN_ARCHITECTURES[architecture]}\n" in debian
    assert f"\nA:{sample_image.ALPINE_ARCHITECTURES[architecture]}\n" in alpine


def test_an_updated_image_has_other_versions_of_the_same_packages() -> None:
    before = read(sample_image.debian_image(), "var/lib/dpkg/status").splitlines()
    after = read(sample_image.debian_image(updated=True), "var/lib/dpkg/status").splitlines()

    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]

    assert ("Version: 3.0.11-1~deb12u2", "Version: 3.0.17-1~deb12u3") in changed
    assert not [line for line in after for old in sample_image.DEBIAN_UPDATES if line == f"Version: {old}"]


def test_multi_architecture_index_holds_an_updated_amd64_and_an_old_arm64() -> None:
    index = sample_image.multi_architecture_index()

    assert index.platforms == {
        "linux/amd64": sample_image.debian_image("amd64", updated=True).digest,
        "linux/arm64": sample_image.debian_image("arm64").digest,
    }


def test_an_image_without_packages_has_no_package_database_and_no_os_release() -> None:
    assert layer(sample_image.empty_image()).getnames() == ["app", "app/hello"]


def test_a_layout_holds_each_tag_once_and_every_blob_under_its_digest(tmp_path: Path) -> None:
    artifacts = sample_image.write_registry(tmp_path)

    layout = tmp_path / "sample" / "debian"
    index = json.loads((layout / "index.json").read_text())
    tags = {one["annotations"][sample_image.REFERENCE_NAME]: one["digest"] for one in index["manifests"]}

    assert tags == {tag: artifacts[f"sample/debian:{tag}"].digest for tag in ("12", "12-updated")}
    for blob in (layout / "blobs" / "sha256").iterdir():
        assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()
