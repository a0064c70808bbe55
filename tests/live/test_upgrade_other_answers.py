"""An upgrade that changes more than the release, and its ways back: another edge port, and no notifier any more."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import yaml

from tests.live.conftest import DeploymentFactory
from tests.live.samples import FAMILIES, clair, wait_until
from tests.live.support import Images
from tests.live.upgrades import NEW, OLD, image_of, images_of, journal, rows
from tests.support import copier_runs
from tests.support.traefik import free_port


def test_both_ways_back_load_the_notifier_that_was_taken_out(
    deployment: DeploymentFactory, whole_template: Path, images: Images
) -> None:
    running = deployment(updater_families=FAMILIES, clair_version=OLD)
    clair(running, "up")
    before = rows(running)
    assert any(name.startswith("notifier.") for name in before)
    recorded = yaml.safe_load((running.root / ".copier-answers.yml").read_text(encoding="utf-8"))
    kept = {name: value for name, value in recorded.items() if not name.startswith(("_", "notifier_"))}
    changes = {"clair_version": NEW, "notifier_delivery": "none", "edge_port": free_port()}
    copier_runs.copy(whole_template, running.root, {**kept, **changes}, overwrite=True)
    images.ensure(*running.facts["images"].values())
    process = subprocess.Popen(
        ["./clair", "upgrade", "--yes"], cwd=running.root, env={**os.environ, "ALLOW_SMALL": "1"},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: (journal(running) or {}).get("step") in ("verify", "thaw"), "its last steps", 120)

    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=180)[1]

    assert told.splitlines()[-2].endswith(f"interrupted; Clair {OLD} answers as before")
    assert (images_of(running), rows(running), journal(running)) == ({OLD}, before, None)

    clair(running, "upgrade", "--yes")
    assert image_of(running, "indexer") == NEW
    told = clair(running, "rollback", "--yes", "--timeout", "60").stderr

    assert "restarting it" not in told
    assert (images_of(running), rows(running), journal(running)) == ({OLD}, before, None)
