"""A throwaway notifier in Clair's test mode: the applied image and config, a scratch database, nothing of the real one touched.

In its test mode Clair makes up a notification at every poll, and asks neither indexer nor matcher (notifier/service/testmode.go
at v4.5.0 to v4.9.0). Writes `state/notify-test/`, which holds what its container mounts, while it runs; its container is
`DEPLOYMENT-notify-test`, labelled `clair.scratch=DEPLOYMENT`. Environment: DOCKER, COMPOSE.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from ..backup.scratch_server import Scratch
from ..errors import UNDECIDED, Problem
from ..host import engine
from ..host.escape_text import printable
from ..host.explain_failure import explain, image_problem
from ..host.remove_scratch import SCRATCH
from ..host.write_files import make_folder, read_tree, write_file, write_tree
from ..settings import Deployment
from ..state.merge_config import merge
from ..verify.verify_deployment import READY

# Its name in the network of the receiver, which takes callbacks to it only while a test is expected.
ALIAS = "notifier-test"
DATABASE = "notifier"
# After `zz-psk.yaml`: what makes it a test must win.
_DROP_IN = "config.yaml.d/zzz-notify-test.yaml"
# Without these it can reach neither the real notifier's database nor Clair's other services.
_LEFT_OUT_NETWORKS = ("clair", "database")
_LEFT_OUT_KEYS = ("container_name", "depends_on", "ports", "profiles", "scale", "links")
_CALL_SECONDS = 120.0
_RECEIPTS = (
    "SELECT DISTINCT r.notification_id, r.status FROM receipt r JOIN notification_body b USING (notification_id);\n"
)

# NOT VALID: the row that is there is not looked at.
_NO_MORE = "ALTER TABLE notification ADD CONSTRAINT one_is_enough CHECK (false) NOT VALID;\n"


def container_name(deployment: Deployment) -> str:
    """Return the name of the throwaway notifier's container."""
    return f"{deployment.name}-notify-test"


def intervals(shortest_seconds: int) -> Tuple[int, int]:
    """Return the seconds between polls and between deliveries with which a notification leaves soonest.

    Both clocks start with the notifier; a delivery just after the first poll finds what that made.
    """
    poll = max(10, shortest_seconds)
    return poll, poll + 2


def test_settings(bundled: bool, database_host: str, shortest_seconds: int) -> Dict[str, Any]:
    """Return what the throwaway notifier's config has otherwise than the applied one."""
    poll, delivery = intervals(shortest_seconds)
    connection = f"host={database_host} port=5432 dbname={DATABASE} user=postgres sslmode=disable"
    notifier: Dict[str, Any] = {
        "connstring": connection,
        "migrations": True,
        "poll_interval": f"{poll}s",
        "delivery_interval": f"{delivery}s",
    }
    if bundled:
        notifier["webhook"] = {"callback": f"http://{ALIAS}:6060/notifier/api/v1/notification/"}
    # debug: the reason why a STOMP broker refuses is told at that level only.
    return {"log_level": "debug", "notifier": notifier}


def compose_model(applied: Dict[str, Any], deployment_name: str, config: Path, network: str) -> Dict[str, Any]:
    """Return the Compose file of the throwaway notifier, from the applied one as `docker compose config` prints it.

    `config` is the folder it reads, `network` the scratch database's.
    """
    notifier = applied["services"]["notifier"]
    service = {key: value for key, value in notifier.items() if key not in _LEFT_OUT_KEYS}
    names = [name for name in notifier.get("networks") or {} if name not in _LEFT_OUT_NETWORKS]
    service["networks"] = {name: {"aliases": [ALIAS]} for name in [*names, "scratch"]}
    service["volumes"] = [
        {**volume, "source": str(config)} if volume.get("target") == "/config" else volume
        for volume in notifier["volumes"]
    ]
    service["environment"] = {**(notifier.get("environment") or {}), "NOTIFIER_TEST_MODE": "true"}
    service["labels"] = {SCRATCH: deployment_name}
    service["restart"] = "no"
    service["pull_policy"] = "never"
    service["healthcheck"] = {"disable": True}
    service["deploy"] = {key: value for key, value in notifier.get("deploy", {}).items() if key == "resources"}
    networks = {name: {"external": True, "name": applied["networks"][name]["name"]} for name in names}
    networks["scratch"] = {"external": True, "name": network}
    return {"services": {ALIAS: service}, "networks": networks}


def masked(text: str) -> str:
    """Return a text of Clair's log without what is secret in the URLs in it: their user and their query."""
    text = re.sub(r"([a-z][a-z0-9+.-]*://)[^/@\s\"]*@", r"\1***@", text, flags=re.IGNORECASE)
    return printable(re.sub(r"([a-z]+://[^\s\"?]*)\?[^\s\"]*", r"\1?***", text, flags=re.IGNORECASE), 300)


def refusal(log: List[Dict[str, Any]]) -> str:
    """Return why the target did not take the notification, by the last failed delivery in a notifier's log; "" if none failed."""
    for place in range(len(log) - 1, -1, -1):
        entry = log[place]
        delivering = str(entry.get("component", "")).startswith("notifier/Delivery.")
        if delivering and entry.get("message") == "encountered error on tick":
            reason = str(entry.get("error", "")).replace("failed to deliver notification: ", "", 1)
            brokers = [one for one in log[:place] if str(one.get("component", "")).endswith("/failOver.Connection")]
            if brokers and ("failover" in reason or "exhausted" in reason):
                reason = _broker_reason(brokers[-1])
            return masked(reason or "no reason")
    return ""


def _broker_reason(entry: Dict[str, Any]) -> str:
    message = str(entry.get("message", ""))
    if "passive exchange declare" in message:
        return "the broker has no such exchange, or its user may not use it"
    if "AMQP" in message:
        return "the broker is not reached, or refuses user, password or virtual host"
    return str(entry.get("error") or message)


class Throwaway:
    """A throwaway notifier that was started."""

    def __init__(self, deployment: Deployment, scratch: Scratch) -> None:
        self._scratch = scratch
        self.container = container_name(deployment)

    def is_ready(self) -> bool:
        """Return whether it has its database and answers."""
        done = engine.docker(["exec", self.container, "bash", "-c", READY], timeout_seconds=30, check=False)
        return done.stdout.strip() == "200"

    def runs(self) -> bool:
        """Return whether its process is still there."""
        words = ["inspect", "--format", "{{.State.Running}}", self.container]
        return engine.docker(words, timeout_seconds=30, check=False).stdout.strip() == "true"

    def notifications(self) -> Dict[str, str]:
        """Return the state of each notification that it made, by its id."""
        rows = (line.split("|") for line in self._scratch.psql(_RECEIPTS, DATABASE, timeout_seconds=60).splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def make_no_more(self) -> None:
        """Let it make no second notification: its next poll would, however soon this command ends."""
        self._scratch.psql(_NO_MORE, DATABASE, timeout_seconds=60)

    def log(self) -> List[Dict[str, Any]]:
        """Return the lines of its log, oldest first; what is no JSON is left out."""
        done = engine.docker(["logs", self.container], timeout_seconds=60, check=False)
        entries = []
        for line in (done.stdout + done.stderr).splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # two lines of 4.9.0, and a panic
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries


def refuse_unapplied(deployment: Deployment) -> None:
    """Raise Problem (2) unless there is an applied notifier to be like."""
    if not (deployment.applied / "notifier" / "config.yaml").is_file():
        raise Problem(f"nothing applied, {deployment.name}: state/applied has no notifier", "./clair up")


def remove_leftover(deployment: Deployment) -> None:
    """Remove the container and the files of a throwaway notifier, if there are any."""
    engine.docker(
        ["rm", "--force", "--volumes", container_name(deployment)], timeout_seconds=_CALL_SECONDS, check=False
    )
    shutil.rmtree(_folder(deployment), ignore_errors=True)


@contextmanager
def throwaway_notifier(deployment: Deployment, scratch: Scratch) -> Iterator[Throwaway]:
    """Start a throwaway notifier for the block and remove it after it, also after Ctrl-C.

    Raises Problem: its container cannot be started (3, or what Docker says).
    """
    scratch.psql(f"CREATE DATABASE {DATABASE};\n")
    folder = _folder(deployment)
    try:
        make_folder(folder, 0o755)
        write_tree(folder / "config", _config_tree(deployment, scratch))
        applied = json.loads(engine.compose(deployment, ["config", "--format", "json"], timeout_seconds=60).stdout)
        model = compose_model(applied, deployment.name, folder / "config", scratch.network)
        # It may hold a proxy's password.
        write_file(folder / "compose.json", json.dumps(model, indent=1).encode(), 0o600)
        _start(deployment, folder / "compose.json", str(model["services"][ALIAS].get("image", "")))
        yield Throwaway(deployment, scratch)
    finally:
        remove_leftover(deployment)


def _config_tree(deployment: Deployment, scratch: Scratch) -> Dict[str, bytes]:
    """Return the files that the throwaway notifier reads: the applied ones with what makes it a test."""
    tree = read_tree(deployment.applied / "notifier")
    bundled = deployment.facts.get("notifier_delivery") == "bundled"
    # One minute is what every release takes.
    shortest = int(deployment.facts.get("notifier", {}).get("shortest_seconds", 60))
    changes = test_settings(bundled, scratch.host, shortest)
    if deployment.facts["release"]["drop_ins"]:
        tree[_DROP_IN] = json.dumps(changes).encode()
    else:
        # Clair <= 4.6 reads one file; what `up` assembled for it is JSON.
        tree["config.yaml"] = json.dumps(merge(json.loads(tree["config.yaml"]), changes)).encode()
    tree["pgpass"] = f"*:*:*:postgres:{scratch.password}\n".encode()
    return tree


def _start(deployment: Deployment, file: Path, image: str) -> None:
    words = ["--project-name", deployment.name, "--project-directory", str(deployment.root), "--file", str(file)]
    run = ["run", "--detach", "--no-deps", "--use-aliases", "--name", container_name(deployment), ALIAS]
    done = engine.run([*engine.program("compose"), *words, *run], timeout_seconds=_CALL_SECONDS, check=False)
    if done.returncode == 0:
        return
    problem = explain("compose run", done.stderr)
    if "image not available" in problem.sentence:
        raise image_problem(image, done.stderr)
    raise Problem(f"test notifier not started, {image}: {problem.sentence}", problem.hint, UNDECIDED)


def _folder(deployment: Deployment) -> Path:
    return deployment.state / "notify-test"
