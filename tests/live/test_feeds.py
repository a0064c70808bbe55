"""Feeds on a real engine: the ledger, the wait for the first load, and a pack that carries them to a host without internet.

The tests run in the order in which they stand here: the second deployment gets its feeds from the first one's pack.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import sample_feed
from tests.live.conftest import DeploymentFactory
from tests.live.registry import Registry
from tests.live.samples import FAMILIES, FEEDS, add_samples, clair, findings, no_traceback, push_samples, scan
from tests.live.support import Deployment

DEBIAN, ALPINE = "sample/debian:12", "sample/alpine:3.18"
# The double has no scores.
ANSWERS = {"updater_families": FAMILIES, "enrichment_enabled": False}


@pytest.fixture(scope="module")
def connected(shared_deployment: DeploymentFactory) -> Deployment:
    """A deployment whose matcher has just begun to load the sample feeds."""
    deployment = shared_deployment(**ANSWERS)
    add_samples(deployment)
    clair(deployment, "up")
    return deployment


@pytest.fixture(scope="module")
def offline(shared_deployment: DeploymentFactory) -> Deployment:
    """A deployment without internet and without feeds."""
    deployment = shared_deployment(**ANSWERS, feeds_offline=True)
    clair(deployment, "up")
    return deployment


@pytest.fixture(scope="module")
def pack(connected: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The feeds of the connected deployment as one file."""
    path = tmp_path_factory.mktemp("pack") / "feeds.tar"
    done = clair(connected, "feeds-export", str(path))
    assert done.stdout == f"{path}\n"
    yield path


def families(deployment: Deployment) -> tuple[int, dict[str, Any]]:
    """Return exit code and families of `./clair feeds --json`."""
    done = clair(deployment, "feeds", "--json", check=False)
    no_traceback(done)
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return done.returncode, {family["family"]: family for family in document["families"]}


def test_wait_returns_when_the_first_load_is_over(connected: Deployment) -> None:
    done = clair(connected, "wait", "--timeout", "200")

    lines = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert {"alpine", "debian"} <= set(lines)
    assert done.stderr.splitlines()[-1].startswith("feeds complete (")


def test_the_ledger_is_fresh_then_and_counts_rows(connected: Deployment) -> None:
    code, found = families(connected)

    assert code == 0
    assert {name: family["state"] for name, family in found.items()} == {"alpine": "fresh", "debian": "fresh"}
    assert {name for family in found.values() for name in (one["name"] for one in family["updaters"])} >= set(FEEDS)
    assert found["debian"]["rows"] == 10
    assert found["debian"]["rows_exact"] is True
    assert found["debian"]["age_seconds"] < 300


def test_make_feeds_prints_the_table(connected: Deployment) -> None:
    done = connected.make("feeds")

    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["alpine", "fresh"], ["debian", "fresh"]]


def test_a_pack_holds_the_feeds_and_no_secret(connected: Deployment, pack: Path) -> None:
    with tarfile.open(pack) as archive:
        names = archive.getnames()
        member = archive.extractfile("manifest.json")
        assert member is not None
        manifest = json.load(member)

    content = pack.read_bytes()
    assert names == ["updaters.zst", "manifest.json", "SHA256SUMS"]
    assert manifest["clair_release"] == connected.facts["clair_release"]
    assert manifest["families"] == FAMILIES
    assert set(FEEDS) <= set(manifest["updaters"])
    for secret in (connected.root / "secrets").iterdir():
        assert secret.read_bytes().strip() not in content


def leftovers(deployment: Deployment) -> list[str]:
    """Return the containers of one-shots that are still there."""
    label = f"label=com.docker.compose.project={deployment.name}"
    listing = deployment.engine.docker(
        "ps", "--all", "--quiet", "--filter", label, "--filter", "label=com.docker.compose.oneoff=True"
    )
    return listing.stdout.split()


def test_an_export_leaves_no_container_and_no_file_beside_the_pack(connected: Deployment, pack: Path) -> None:
    assert leftovers(connected) == []
    assert list(pack.parent.iterdir()) == [pack]


def test_without_feeds_nothing_is_decided_offline(offline: Deployment) -> None:
    code, found = families(offline)
    waited = clair(offline, "wait", check=False)

    assert code == 3
    assert {family["state"] for family in found.values()} == {"never ran"}
    assert waited.returncode == 3
    assert waited.stderr.splitlines()[-1] == "HINT: ./clair feeds-import FILE"


def operations(deployment: Deployment) -> list[list[str]]:
    """Return the update operations of the matcher's database."""
    return deployment.psql("matcher", "SELECT id, updater FROM update_operation ORDER BY id")


@pytest.mark.parametrize("damage", ["cut", "byte", "release"])
def test_a_damaged_or_foreign_pack_is_refused_before_the_database_is_touched(
    offline: Deployment, pack: Path, tmp_path: Path, damage: str
) -> None:
    content = pack.read_bytes()
    release = offline.facts["clair_release"].encode()
    damaged = {
        "cut": content[: len(content) // 2],
        "byte": content[:600] + bytes([content[600] ^ 1]) + content[601:],
        "release": content.replace(b'"clair_release": "' + release, b'"clair_release": "4.7.0'),
    }[damage]
    (tmp_path / "feeds.tar").write_bytes(damaged)

    done = clair(offline, "feeds-import", str(tmp_path / "feeds.tar"), check=False)

    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"pack refused, \S+: .+\nHINT: .+\n", done.stderr)
    assert operations(offline) == []


def test_a_pack_is_imported_and_remembered(offline: Deployment, pack: Path) -> None:
    done = clair(offline, "feeds-import", str(pack))

    code, found = families(offline)
    remembered = json.loads((offline.root / "state" / "feed-pack.json").read_text(encoding="utf-8"))
    assert done.returncode == 0
    assert "debian  fresh" in done.stdout
    assert code == 0
    assert {family["state"] for family in found.values()} == {"fresh"}
    assert found["debian"]["last_success"] == remembered["exported_at"]
    assert found["debian"]["rows"] == 10
    assert leftovers(offline) == []


@pytest.mark.parametrize("reference", [DEBIAN, ALPINE])
def test_imported_feeds_find_what_they_must(offline: Deployment, registry: Registry, reference: str) -> None:
    address = registry.join(offline)
    push_samples(registry, reference)

    done = scan(offline, f"{address}/{reference}", "--format", "json")

    # Without the scores, what Clair cannot rate stays Unknown; the names and fixes are the same.
    expected = sample_feed.expected_findings(reference, release=offline.facts["clair_release"])
    found = findings(json.loads(done.stdout))
    assert done.returncode == 1
    assert {(one.package, one.id, one.fixed) for one in found} == {(one.package, one.id, one.fixed) for one in expected}


def test_the_same_pack_again_changes_nothing_and_says_so(offline: Deployment, pack: Path) -> None:
    before = operations(offline)

    done = clair(offline, "feeds-import", str(pack))

    assert "nothing new, this pack was imported before: " in done.stderr
    assert operations(offline) == before


def test_a_pack_warms_up_a_connected_deployment(connected: Deployment, pack: Path) -> None:
    done = clair(connected, "feeds-import", str(pack))

    assert done.returncode == 0
    assert families(connected)[0] == 0


def test_an_export_without_the_feed_fails_and_leaves_nothing(connected: Deployment, tmp_path: Path) -> None:
    connected.engine.docker("stop", "--time", "1", f"{connected.name}-demo")

    done = clair(connected, "feeds-export", str(tmp_path / "feeds.tar"), check=False)

    connected.engine.docker("start", f"{connected.name}-demo")
    assert done.returncode == 3
    assert "feeds not exported, feeds.tar: the list of feeds could not be read: " in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert leftovers(connected) == []
