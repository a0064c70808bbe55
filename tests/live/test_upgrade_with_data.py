"""Upgrades over several releases with data: what was indexed before is reported after, with the same findings.

From 4.8.0 it is tests/live/test_upgrade.py that does this.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import FAMILIES, add_samples, clair, request, token
from tests.live.support import Images
from tests.live.upgrades import (
    NEW,
    images_of,
    merge_samples,
    no_leftovers,
    render_release,
    sample_findings,
    wait_for_findings,
)
from tests.support import facts


@pytest.mark.parametrize("release", ["4.5.1", "4.7.4"])
def test_upgrade_keeps_what_was_indexed(
    deployment: DeploymentFactory, whole_template: Path, images: Images, release: str
) -> None:
    running = deployment(updater_families=FAMILIES, clair_version=release)
    add_samples(running)
    merge_samples(running)
    clair(running, "up")
    wait_for_findings(running)
    before = {(package, identity) for package, identity, _ in sample_findings(running)}
    manifests = running.psql("indexer", "SELECT hash FROM manifest ORDER BY 1")
    render_release(running, whole_template, NEW)
    images.ensure(*running.facts["images"].values())

    clair(running, "upgrade", "--yes")

    assert images_of(running) == {NEW}
    assert {
        name: int(running.psql(name, f"SELECT max(version) FROM {table}")[0][0])
        for name, table in (
            ("indexer", "libindex_migrations"),
            ("matcher", "libvuln_migrations"),
            ("notifier", "notifier_migrations"),
        )
    } == facts.release(NEW)["schema"]
    assert running.psql("indexer", "SELECT hash FROM manifest ORDER BY 1") == manifests
    for (digest,) in manifests:
        headers = {"Authorization": f"Bearer {token(running)}"}
        assert request(running.edge_url, "GET", f"/indexer/api/v1/index_report/{digest}", headers)[0] == 200
    # From 4.7.0 on the feed of Debian is another one, which knows more.
    assert {(package, identity) for package, identity, _ in sample_findings(running)} >= before
    # 4.9.0 cannot read what older releases stored here, and answers 500 to the notifier.
    assert running.psql("indexer", "SELECT count(*) FROM package WHERE norm_kind IS NULL") == [["0"]]
    no_leftovers(running)
