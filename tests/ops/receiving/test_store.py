"""The receiver's database: plans that take no longer than they must, and stores of earlier receivers."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from ops.receiving.open_store import Store
from ops.receiving.plan_deliveries import plan_deliveries, store_findings
from ops.receiving.read_settings import Target

from tests.ops.receiving.conftest import finding


def test_plan_of_many_images_does_not_hold_up_the_posts(tmp_path: Path) -> None:
    """Posts wait 5 s for the write lock; 10,000 findings over 3,000 images held it for 20 s."""
    store, identity = Store(tmp_path / "receiver.db"), str(uuid.uuid4())
    targets = [Target(name, "webhook", url="http://x") for name in "abc"]
    findings = [finding(f"CVE-{number}", manifest=f"sha256:{number % 3000:064}") for number in range(10_000)]
    with store.write() as connection:
        store_findings(connection, identity, findings)

    before = time.monotonic()
    with store.write() as connection:
        waiting = plan_deliveries(connection, identity, targets, False)

    assert waiting == 9000
    assert time.monotonic() - before < 4
