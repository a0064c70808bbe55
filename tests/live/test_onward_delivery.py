"""New entries of a feed become one message in Slack's format and one e-mail over real SMTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from typing import Any

import yaml
from aiosmtpd.controller import Controller

from demo import sample_feed
from demo.deployment import SERVICE, free_ports
from tests.live.conftest import DeploymentFactory
from tests.live.hook import HOST_ENTRY, started_hook
from tests.live.samples import FAMILIES, add_samples, clair, sample_repository, scan, wait_for_feeds, wait_until
from tests.live.test_notifications_arrive import ARRIVE_SECONDS, NEW_ENTRY, SAMPLE, shorten_intervals

HOST = HOST_ENTRY.partition(":")[0]
# Both concern the sample: one message tells of both.
SECOND_ENTRY = sample_feed.DebianEntry(
    "openssl", "CVE-2099-0002", "critical", "3.0.99-1", "another one at the same time"
)
SETTINGS = """
[[target]]
name = "chat"
type = "slack"
url_file = "slack-url"
severity = "Medium"
image = "*/sample/debian:*"

[[target]]
name = "mail"
type = "email"
host = "{host}"
port = {port}
sender = "clair@example.com"
recipients = ["ops@example.com"]
starttls = false
"""


class Mailbox:
    """Keeps the messages it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def mail() -> Iterator[tuple[list[Any], int]]:
    """A mail server."""
    box, (port,) = Mailbox(), free_ports(1)
    controller = Controller(box, hostname="0.0.0.0", port=port)
    controller.start()
    yield box.got, port
    controller.stop()


def test_a_new_entry_becomes_one_message_and_one_mail(deployment: DeploymentFactory) -> None:
    running = deployment(updater_families=FAMILIES)
    add_samples(running)
    shorten_intervals(running)
    override = running.root / "compose.override.yaml"
    model = yaml.safe_load(override.read_text(encoding="utf-8"))
    model["services"]["receiver"] = {"extra_hosts": [HOST_ENTRY]}
    override.write_text(yaml.safe_dump(model, sort_keys=False), encoding="utf-8")
    with started_hook() as hook, mail() as (mails, mail_port):
        clair(running, "secrets")
        secret = running.root / "secrets/slack-url"
        secret.write_text(f"{hook.url}/services/T0/B0/x\n", encoding="utf-8")
        settings = running.root / "config/receiver/settings.toml"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(SETTINGS.format(host=HOST, port=mail_port), encoding="utf-8")
        clair(running, "up")
        wait_for_feeds(running)
        image = f"{sample_repository(running)}/{SAMPLE}"
        # It tells the receiver what the image is called.
        scan(running, image, "--format", "json")
        receipts = (
            "SELECT count(*) FROM receipt JOIN notifier_update_operation USING (uo_id) WHERE updater = 'debian/updater'"
        )
        wait_until(lambda: running.psql("notifier", receipts) != [["0"]], "the first poll", ARRIVE_SECONDS)

        for entry in (NEW_ENTRY, SECOND_ENTRY):
            sample_feed.add_debian_entry(running.root / SERVICE / "feed", entry)
        for path in (running.root / SERVICE).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        clair(running, "restart", "matcher")

        def about(texts: list[str]) -> list[str]:
            return [text for text in texts if image in text and NEW_ENTRY.id in text and SECOND_ENTRY.id in text]

        def chats() -> list[str]:
            return about([json.loads(post.body)["text"] for post in hook.posts])

        def bodies() -> list[str]:
            return about([message.get_payload(decode=True).decode() for message in mails])

        wait_until(lambda: chats() and bodies(), "the message and the mail", ARRIVE_SECONDS)
        listed = json.loads(running.execute("receiver", "python3", "-m", "receiver", "list", "--json").stdout)
        assert listed["targets"] == ["chat", "mail"]

        def deleted() -> bool:
            rows = json.loads(running.execute("receiver", "python3", "-m", "receiver", "list", "--json").stdout)
            return all(row["deleted_at"] for row in rows["notifications"] if row["findings"])

        wait_until(deleted, "the deletion at Clair", 90)
        assert (len(chats()), len(bodies())) == (1, 1)
        assert all(post.path.endswith("/services/T0/B0/x") for post in hook.posts)
        assert "/services/T0" not in clair(running, "logs", "receiver").stdout
