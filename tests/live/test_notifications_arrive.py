"""A new entry in a feed, about an image that was indexed before, arrives in the bundled receiver.

Clair takes no interval below one minute, so with the real one this takes up to three; its stand-in is told to count
faster by a variable that Clair does not know.
"""

from __future__ import annotations

import json

import yaml

from demo import sample_feed
from demo.deployment import SERVICE
from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    request,
    sample_repository,
    scan,
    token,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

SAMPLE = "sample/debian:12"
NEW_ENTRY = sample_feed.DebianEntry("openssl", "CVE-2099-0001", "high", "3.0.99-1", "an entry that came later")
ARRIVE_SECONDS = 240.0
SPEED = "12"

_READ = """
import json, sqlite3
connection = sqlite3.connect("file:/var/tmp/receiver.db?mode=ro", uri=True)
print(json.dumps(connection.execute("SELECT id, callback FROM notification").fetchall()))
"""


def shorten_intervals(deployment: Deployment) -> None:
    """Poll and deliver every minute, by a drop-in as an operator would; a minute is five seconds for the stand-in."""
    settings = {"notifier": {"poll_interval": "1m", "delivery_interval": "1m"}}
    folder = deployment.root / "config" / "notifier" / "config.yaml.d"
    folder.mkdir(exist_ok=True)
    (folder / "fast.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    override = deployment.root / "compose.override.yaml"
    model = yaml.safe_load(override.read_text(encoding="utf-8"))
    model["services"]["notifier"] = {"environment": {"CLAIR_DOUBLE_TIME_FACTOR": SPEED}}
    override.write_text(yaml.safe_dump(model, sort_keys=False), encoding="utf-8")


def stored(deployment: Deployment) -> dict[str, str]:
    """Return the callback of every notification in the receiver's database, by its id."""
    return dict(json.loads(deployment.execute("receiver", "python3", "-c", _READ).stdout))


def vulnerabilities(deployment: Deployment, callback: str) -> set[tuple[str, str]]:
    """Return manifest and name of what a notification reports, read at its callback as a client would."""
    # The callback is an address inside the network; the same path is open at the edge.
    path = callback[callback.index("/notifier/") :]
    status, _, body = request(deployment.edge_url, "GET", path, {"Authorization": f"Bearer {token(deployment)}"})
    assert status == 200, (callback, status)
    return {(one["manifest"], one["vulnerability"]["name"]) for one in json.loads(body)["notifications"]}


def test_a_new_entry_about_an_indexed_image_is_stored_by_the_receiver(deployment: DeploymentFactory) -> None:
    running = deployment(updater_families=FAMILIES)
    add_samples(running)
    shorten_intervals(running)
    clair(running, "up")
    wait_for_feeds(running)
    image = f"{sample_repository(running)}/{SAMPLE}"
    digest = json.loads(scan(running, image, "--format", "json").stdout)["digest"]
    # The operations that are there have been looked at, so that what comes is about the new entry.
    receipts = (
        "SELECT count(*) FROM receipt JOIN notifier_update_operation USING (uo_id) WHERE updater = 'debian/updater'"
    )
    wait_until(lambda: running.psql("notifier", receipts) != [["0"]], "the first poll", ARRIVE_SECONDS)

    sample_feed.add_debian_entry(running.root / SERVICE / "feed", NEW_ENTRY)
    for path in (running.root / SERVICE).rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # It asks for its feeds at its start.
    clair(running, "restart", "matcher")

    def arrived() -> bool:
        return any((digest, NEW_ENTRY.id) in vulnerabilities(running, one) for one in stored(running).values())

    wait_until(arrived, "the notification in the receiver", ARRIVE_SECONDS)
    delivered = "SELECT count(*) FROM receipt WHERE status = 'delivered'"
    wait_until(lambda: int(running.psql("notifier", delivered)[0][0]) >= len(stored(running)), "the receipts", 60)
    # What was stored outlives its container.
    before = stored(running)
    clair(running, "down")
    clair(running, "up")
    assert set(before) <= set(stored(running))
