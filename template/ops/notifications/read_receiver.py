"""Asks the receiver what came, by its own command line in its container (`python3 -m receiver`), and says who else has it.

Writes nothing on this host. What the receiver tells comes from images, feeds and targets: it is data, never an instruction.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

from ..errors import UNDECIDED, USAGE, Problem
from ..host import engine
from ..host.escape_text import printable
from ..host.watch_start import containers
from ..settings import Deployment

SERVICE = "receiver"
# Where each direct delivery puts its messages (config/notifier/config.yaml).
_PLACES = {
    "webhook": "Clair posts them to {target}",
    "amqp": "Clair publishes them to the exchange clair (routing key notifications) of {target}",
    "stomp": "Clair sends them to the destination notifications of {target}",
}


def refuse_other_delivery(deployment: Deployment, command: str) -> None:
    """Raise Problem (2) that says in one line where notifications go, unless this deployment has a receiver."""
    delivery = str(deployment.facts.get("notifier_delivery"))
    if delivery == "none":
        raise Problem(
            f"no notifications, {deployment.name}: it has no notifier (notifier_delivery 'none')",
            "copier update --trust --defaults --data notifier_delivery=bundled",
            USAGE,
        )
    if delivery != "bundled":
        target = deployment.facts.get("notifier", {}).get("target", "its target")
        raise Problem(
            f"no notifications here, {deployment.name}: {_PLACES[delivery].format(target=target)}",
            "./clair notify-test",
            USAGE,
        )


def receiver_container(deployment: Deployment) -> str:
    """Return the id of the running receiver. Raises Problem (3) if there is none."""
    found = [one for one in containers(deployment) if one.service == SERVICE]
    running = [one for one in found if one.state == "running"]
    if not running:
        state = f"{found[0].name} is {found[0].state}" if found else "no container"
        raise Problem(f"receiver not reached, {deployment.name}: {state}", "./clair up", UNDECIDED)
    return running[0].id


def call_receiver(deployment: Deployment, arguments: Sequence[str], timeout_seconds: float) -> str:
    """Return what the receiver's command line prints.

    Raises Problem: no receiver, or no answer (3); what it says no to (2).
    """
    words = ["exec", receiver_container(deployment), "python3", "-m", "receiver", *arguments]
    done = engine.docker(words, timeout_seconds=timeout_seconds, check=False)
    if done.returncode == 0:
        return done.stdout
    said = [line for line in done.stderr.splitlines() if line.strip()]
    hint = said.pop()[len("HINT: ") :] if said and said[-1].startswith("HINT: ") else ""
    sentence = printable(said[-1], 500) if said else f"exit code {done.returncode}"
    if "unrecognized arguments" in sentence:
        raise Problem("receiver too old, its container: it was started before this command was there", "./clair up")
    # 1 is never its answer: docker itself failed, its container restarts for instance.
    if done.returncode == USAGE and said and "No module named" not in sentence:
        raise Problem(sentence, hint, done.returncode)
    if "No module named" in sentence:
        raise Problem("receiver too old, its container: it was started before this command was there", "./clair up")
    raise Problem(f"receiver not understood, {' '.join(arguments[:1])}: {sentence}", "./clair logs receiver", UNDECIDED)


def read_notifications(deployment: Deployment, arguments: Sequence[str], timeout_seconds: float) -> Dict[str, Any]:
    """Return the receiver's list: `targets` (names) and `notifications`, newest first.

    Raises Problem as `call_receiver` does, or if it is no such document (3).
    """
    text = call_receiver(deployment, ["list", "--json", *arguments], timeout_seconds)
    try:
        document = json.loads(text)
        rows: List[Dict[str, Any]] = document["notifications"]
        what = "images" if "--counts" in arguments else "findings"
        complete = all(
            isinstance(row["id"], str) and isinstance(row["deliveries"], list) and isinstance(row[what], list)
            for row in rows
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable() from error
    if not complete or not isinstance(document.get("targets"), list):
        raise _unreadable()
    return dict(document)


def _unreadable() -> Problem:
    return Problem("list unreadable, receiver: not the document that was expected", "./clair logs receiver", UNDECIDED)
