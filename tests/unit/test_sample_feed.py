"""The sample feed has the feeds' own formats, and changes in the way Clair looks for."""

from __future__ import annotations

import email.parser
import gzip
import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demo import sample_feed, sample_image


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A sample feed, as first written."""
    sample_feed.write_feed(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_feeds_are_the_same_bytes_and_times(feed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")

    sample_feed.write_feed(other)

    assert files(feed) == files(other)


def test_alpine_releases_are_contiguous_from_3_3() -> None:
    minors = [int(release.removeprefix("3.")) for release in sample_feed.ALPINE_RELEASES]

    assert minors == list(range(3, 3 + len(minors)))
    assert set(sample_feed.ALPINE_RELEASES_WITH_DATA) <= set(sample_feed.ALPINE_RELEASES)


def test_release_files_show_the_version_in_the_bytes_that_clair_asks_for(feed: Path) -> None:
    versions = {}
    for path in sorted((feed / "mirror" / "debian" / "dists").glob("*/Release")):
        head = path.read_bytes()[:513].decode()  # claircore debian/updater.go: Range bytes=0-512
        versions[path.parent.name] = email.parser.Parser().parsestr(head)["Version"]

    assert versions == {"bookworm": "12.12", "bullseye": "11.11", "sid": None, "trixie": "13.1"}


def test_tracker_and_secdb_read_back_as_the_entries_they_were_made_from() -> None:
    debian = sample_feed.tracker_entries(sample_feed.tracker_document(sample_feed.DEBIAN_ENTRIES))
    alpine = [
        entry
        for release in sample_feed.ALPINE_RELEASES_WITH_DATA
        for repository in ("main", "community")
        for entry in sample_feed.secdb_entries(
            sample_feed.secdb_document(sample_feed.ALPINE_ENTRIES, release, repository)
        )
    ]

    assert sorted(debian) == sorted(sample_feed.DEBIAN_ENTRIES)
    assert sorted(alpine) == sorted(sample_feed.ALPINE_ENTRIES)


def test_oval_resolves_every_reference_and_leaves_out_what_is_not_affected(feed: Path) -> None:
    root = ElementTree.parse(feed / "oval" / "oval-definitions-bookworm.xml").getroot()
    linux = "{http://oval.mitre.org/XMLSchema/oval-definitions-5#linux}"
    tests = {one.get("id"): one for one in root.iter(f"{linux}dpkginfo_test")}
    states = {one.get("id"): one.findtext(f"{linux}evr") for one in root.iter(f"{linux}dpkginfo_state")}
    objects = {one.get("id"): one.findtext(f"{linux}name") for one in root.iter(f"{linux}dpkginfo_object")}
    plain = "{http://oval.mitre.org/XMLSchema/oval-definitions-5}"

    found = []
    for definition in root.iter(f"{plain}definition"):
        criterion = definition.find(f".//{plain}criterion")
        assert criterion is not None
        test = tests[criterion.get("test_ref")]
        name, state = test.find(f"{linux}object"), test.find(f"{linux}state")
        assert name is not None
        assert state is not None
        fixed = states[state.get("state_ref")]
        found.append((definition.findtext(f"{plain}metadata/{plain}title"), objects[name.get("object_ref")], fixed))

    assert ("CVE-2024-6119", "openssl", "0:3.0.14-1~deb12u2") in found
    assert ("CVE-2010-4756", "glibc", "0:0") in found
    expected = {one.id for one in sample_feed.DEBIAN_ENTRIES if one.release == "bookworm" and one.fixed != "0"}
    assert {identifier for identifier, _, _ in found} == expected


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_cvss_metadata_describes_its_file(feed: Path, version: str) -> None:
    packed = (feed / "cvss" / f"nvdcve-{version}-2023.json.gz").read_bytes()
    meta = dict(line.split(":", 1) for line in (feed / "cvss" / f"nvdcve-{version}-2023.meta").read_text().split())

    assert meta["sha256"] == hashlib.sha256(gzip.decompress(packed)).hexdigest().upper()
    assert int(meta["gzSize"]) == len(packed)


def test_an_added_debian_entry_changes_the_tracker_and_nothing_else_that_is_served_to_new_releases(feed: Path) -> None:
    before = files(feed)

    sample_feed.add_debian_entry(feed, sample_feed.DebianEntry("openssl", "CVE-2099-0001", "high", "3.0.99-1", "new"))

    after = files(feed)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {"tracker/data/json", "oval/oval-definitions-bookworm.xml"}
    tracker = json.loads((feed / "tracker" / "data" / "json").read_text())
    assert tracker["openssl"]["CVE-2099-0001"]["releases"]["bookworm"]["fixed_version"] == "3.0.99-1"
    assert len(sample_feed.tracker_entries(tracker)) == len(sample_feed.DEBIAN_ENTRIES) + 1


def test_two_changes_within_a_second_still_differ_in_last_modified(feed: Path) -> None:
    path = feed / "tracker" / "data" / "json"

    times = []
    for number in range(3):
        entry = sample_feed.DebianEntry("openssl", f"CVE-2099-000{number}", "high", "3.0.99-1")
        sample_feed.add_debian_entry(feed, entry)
        times.append(int(path.stat().st_mtime))

    assert len(set(times)) == 3


def test_an_added_alpine_entry_changes_its_secdb_and_last_update(feed: Path) -> None:
    before = files(feed)

    sample_feed.add_alpine_entry(feed, sample_feed.AlpineEntry("zlib", "CVE-2099-0002", "1.2.13-r9"))

    after = files(feed)
    assert {path for path in after if after[path] != before[path]} == {"alpine/v3.18/main.json", "alpine/last-update"}
    packages = json.loads((feed / "alpine" / "v3.18" / "main.json").read_text())["packages"]
    assert {"pkg": {"name": "zlib", "secfixes": {"0": ["CVE-2023-45853"], "1.2.13-r9": ["CVE-2099-0002"]}}} in packages


def test_the_same_entry_twice_is_one_change(feed: Path) -> None:
    entry = sample_feed.AlpineEntry("zlib", "CVE-2099-0002", "1.2.13-r9")
    sample_feed.add_alpine_entry(feed, entry)
    before = files(feed)

    sample_feed.add_alpine_entry(feed, entry)

    assert files(feed) == before


def test_every_sample_image_has_expected_findings() -> None:
    for reference, build in sample_image.SAMPLES.items():
        for platform in build("amd64").platforms:
            sample_feed.expected_findings(reference, platform.removeprefix("linux/"))


def test_old_releases_are_pointed_at_oval_which_newer_ones_refuse() -> None:
    old = sample_feed.matcher_settings("http://demo:5000/feed", "4.6.1")["updaters"]["config"]["debian"]
    new = sample_feed.matcher_settings("http://demo:5000/feed", "4.7.0")["updaters"]["config"]["debian"]

    assert set(old) == {"mirror_url", "archive_url", "oval_url"}
    assert set(new) == {"mirror_url", "json_url"}
