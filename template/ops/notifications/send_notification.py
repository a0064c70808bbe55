"""The command `notify-test`: sends one notification through the whole path and says where it stopped if it did not arrive.

A throwaway notifier in Clair's test mode, with the applied image and config and a scratch database, makes up one notification
and delivers it as the real one would: to the bundled receiver, which fetches it and sends it on to every target whatever their
filters, marked as a test; or to the webhook or broker. Everything is removed afterwards, also after Ctrl-C, and what a killed run
left at the next one. Writes `state/notify-test/` while it runs.
Exit codes: 0 arrived; 1 did not arrive; 2 wrong use, or this deployment has no notifier; 3 could not be decided in time.
Environment overrides: TIMEOUT (seconds, 240), JSON=1.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Dict, List, Optional

from ..backup.scratch_server import scratch_server
from ..errors import NO, USAGE, Problem
from ..host.escape_text import printable
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.read_logs import log_reason
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_files import make_folder
from ..host.write_output import write_output
from ..settings import load_deployment
from .read_receiver import call_receiver, read_notifications
from .start_test_notifier import (
    Throwaway,
    container_name,
    intervals,
    masked,
    refusal,
    refuse_unapplied,
    remove_leftover,
    throwaway_notifier,
)
from .tell_stages import FAILED, OK, UNKNOWN, Path, Stopped, line

TIMEOUT_SECONDS = 240.0
_RECEIVER_SECONDS = 30.0
# How long the receiver may still take what this command sent, after its own limit.
_GRACE_SECONDS = 60
_ARRIVED = {
    "webhook": ("webhook answered 200", ""),
    "amqp": ("message published", "if a queue is bound to the exchange with that key, it is there: Clair is not told"),
    "stomp": ("broker took it", "it is at the destination notifications"),
}


def send(path: Path, progress: Progress) -> None:
    """Send one notification; every stage is noted in `path`. Raises Stopped, or Problem where Docker fails."""
    deployment = path.deployment
    with (
        scratch_server(deployment, "notify-test", progress) as scratch,
        throwaway_notifier(deployment, scratch) as notifier,
    ):
        _start(path, notifier)
        _deliver(path, notifier)
        if deployment.facts["notifier_delivery"] == "bundled":
            _fetch(path)
    if deployment.facts["notifier_delivery"] == "bundled":
        _pass_on(path)


def _start(path: Path, notifier: Throwaway) -> None:
    # Its own log is gone with it; `logs notifier` is the real one's.
    stage, hint = "notifier started", "./clair notify-test --timeout 600"

    def ready() -> bool:
        if not notifier.runs():
            raise Stopped(stage, masked(log_reason(notifier.container)), hint)
        return notifier.is_ready()

    path.wait(stage, ready, "waiting for the test notifier", hint)
    path.add(
        stage, OK, f"{container_name(path.deployment)}, Clair {path.deployment.release}, with a database of its own"
    )


def _deliver(path: Path, notifier: Throwaway) -> None:
    delivery = str(path.deployment.facts["notifier_delivery"])
    name, remark = _ARRIVED.get(delivery, ("receiver answered 200", ""))
    _, seconds = intervals(int(path.deployment.facts.get("notifier", {}).get("shortest_seconds", 60)))
    waiting = f"Clair {path.deployment.release} delivers {seconds} s after its start, waiting"
    seen: Dict[str, str] = {}

    def made() -> bool:
        if not notifier.runs():
            raise Stopped("notification made", masked(log_reason(notifier.container)), "./clair logs notifier")
        seen.update(notifier.notifications())
        return bool(seen)

    path.wait("notification made", made, waiting, "./clair notify-test --timeout 600")
    notifier.make_no_more()
    path.notification = next(iter(seen))
    path.add("notification made", OK, path.notification)

    def delivered() -> str:
        seen.update(notifier.notifications())
        done = next((one for one, status in seen.items() if status in ("delivered", "deleted")), "")
        reason = "" if done else refusal(notifier.log())
        if reason:
            raise Stopped(name, reason + _receiver_reason(path, delivery), _target_hint(delivery))
        return done

    path.notification = path.wait(name, delivered, waiting, _target_hint(delivery))
    target = path.deployment.facts.get("notifier", {}).get("target", "")
    path.add(name, OK, "; ".join(text for text in (target if delivery != "bundled" else "", remark) if text))


def _target_hint(delivery: str) -> str:
    if delivery == "bundled":
        return "./clair logs receiver"
    return "mend the target, or put its whole URL into secrets/notifier-target and run ./clair up"


def _receiver_reason(path: Path, delivery: str) -> str:
    """Return why the receiver refused a post a moment ago, in its own words, or nothing."""
    if delivery != "bundled":
        return ""
    with suppress(Problem, LookupError, TypeError):
        document = read_notifications(path.deployment, ["--limit", "1"], _RECEIVER_SECONDS)
        return f" ({printable(str(document['refused'][0]['reason']), 200)})"
    return ""


def _fetch(path: Path) -> None:
    """Wait until the receiver has fetched the findings from the throwaway notifier."""

    def fetched() -> Optional[Dict[str, Any]]:
        row = _row(path)
        if row is not None and row["state"] == "dead" and not row["findings"]:
            raise Stopped("fetched", printable(str(row.get("error")), 300), "./clair logs receiver")
        return row if row is not None and row.get("fetched_at") else None

    row = path.wait("fetched", fetched, "waiting until the receiver has fetched it", "./clair logs receiver")
    path.add("fetched", OK, "its pages, from the test notifier")
    path.add("stored", OK, f"{len(row['findings'])} finding(s), marked as a test")


def _pass_on(path: Path) -> None:
    """Wait until every target was tried once."""

    def tried() -> Optional[Dict[str, Any]]:
        row = _row(path)
        waiting = [
            one for one in (row or {"deliveries": []})["deliveries"] if one["state"] == "waiting" and not one["tries"]
        ]
        return None if waiting else row

    row = path.wait("delivered", tried, "waiting until every target was tried", "./clair notifications")
    if not row["deliveries"]:
        path.add("delivered", OK, "no target in config/receiver/settings.toml: findings are only stored")
    refused = []
    for one in row["deliveries"]:
        name = printable(str(one["target"]), 80)
        if one["state"] == "delivered":
            path.add(f"delivered to {name}", OK)
        else:
            reason = printable(str(one.get("error") or one["state"]), 300)
            path.add(f"delivered to {name}", FAILED, reason)
            refused.append(f"{name}: {reason}")
    if refused:
        raise Stopped("delivered", "; ".join(refused), "./clair notifications", NO)


def _row(path: Path) -> Optional[Dict[str, Any]]:
    document = read_notifications(path.deployment, ["--id", path.notification], _RECEIVER_SECONDS)
    return next((row for row in document["notifications"] if row["id"] == path.notification), None)


def _expect(path: Path, seconds: int) -> None:
    """Tell the receiver that a test comes; only then it takes a callback to the throwaway notifier."""
    try:
        call_receiver(path.deployment, ["expect-test", str(seconds)], _RECEIVER_SECONDS)
    except Problem as problem:
        # Not reached is an answer here: nothing could arrive.
        raise Stopped("receiver ready", problem.sentence, problem.hint, NO) from problem
    path.add("receiver ready", OK)


def run(path: Path, progress: Progress, timeout_seconds: float) -> Optional[Stopped]:
    """Send one notification and return what stopped it, or None if it arrived."""
    bundled = path.deployment.facts["notifier_delivery"] == "bundled"
    try:
        if bundled:
            _expect(path, int(timeout_seconds) + _GRACE_SECONDS)
        send(path, progress)
    except Stopped as stopped:
        if not any(stage.result == FAILED for stage in path.stages):
            path.add(stopped.stage, FAILED if stopped.code == NO else UNKNOWN, stopped.detail)
        return stopped
    finally:
        progress.end()
        if bundled:
            with suppress(Problem):
                call_receiver(path.deployment, ["expect-test", "0"], _RECEIVER_SECONDS)
    return None


def main(argv: List[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        "notify-test", "Send one notification through the whole path, and say where it stopped if it did not arrive."
    )
    parser.add_switch("--json", "JSON", "print a JSON document at the end")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    if "notifier" not in deployment.facts["services"]:
        raise Problem(
            f"no notifier, {deployment.name}: notifier_delivery is 'none'",
            "copier update --trust --defaults --data notifier_delivery=bundled",
            USAGE,
        )
    refuse_unapplied(deployment)
    # A process that is asked to end removes what it made, as after Ctrl-C.
    end_like_ctrl_c()
    progress = Progress()
    tell = (
        (lambda stage: progress.line(line(stage))) if options.json else (lambda stage: print(line(stage), flush=True))
    )
    path = Path(deployment, progress, options.timeout, tell)
    make_folder(deployment.state, 0o700)
    with hold_lock(deployment, "notify-test", deployment.state / "notify-test.lock"):
        # Before the scratch database: its network cannot be removed while this container is in it.
        remove_leftover(deployment)
        stopped = run(path, progress, options.timeout)
    code = stopped.code if stopped else 0
    if options.json:
        stages = [stage._asdict() for stage in path.stages]
        document = {"format": 1, "exit_code": code, "notification": path.notification, "stages": stages}
        write_output([json.dumps(document, indent=1) + "\n"], "")
    if stopped:
        verb = "not arrived" if code == NO else "not seen to arrive"
        raise Problem(f"notification {verb}, {deployment.name}: {stopped.stage}: {stopped.detail}", stopped.hint, code)
    return 0
