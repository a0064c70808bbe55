"""The command `notifications`: what the receiver got, how far it came; `retry` sends dead letters again, `drop` gives them up.

Asks the receiver in its container; writes nothing here. A notification is received (its id is stored), fetched (its findings
are), delivered (every target that wants it has it) dead (its tries are over; `retry` tries it
again) or ended (given up, a test or by `drop`).
Exit codes: 0 listed, sent again or dropped; 2 wrong use, or this deployment has no receiver; 3 the receiver gave no answer.
Environment overrides: JSON=1, SINCE, BY (image), STATE, ID, TIMEOUT (seconds, 60).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ..errors import USAGE, Problem
from ..host.escape_text import printable
from ..host.read_arguments import Parser
from ..host.write_output import write_output
from ..settings import Deployment, load_deployment
from .read_receiver import call_receiver, read_notifications, refuse_other_delivery

TIMEOUT_SECONDS = 60.0
# How many notifications are asked for: without a filter, and with one.
SHORT_LIMIT, LIMIT = 1000, 100_000
STATES = ("received", "fetched", "delivered", "dead", "ended")
GROUPS = ("image", "finding")
# Of each order to the receiver: the key of its answer, and what was done.
_DONE = {"retry": ("retried", "sent again"), "drop": ("dropped", "dropped")}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SEVERITIES = ("Unknown", "Negligible", "Low", "Medium", "High", "Critical")

Row = Tuple[str, ...]


def since_moment(text: str, now: datetime) -> datetime:
    """Return the moment that `--since` means: a date or time (UTC unless it says otherwise), or an age such as 7d.

    Raises Problem (2) if it is neither.
    """
    age = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    try:
        if age:
            return _in_range(now - timedelta(**{_UNITS[age[2]]: int(age[1])}))
        # `Z` is understood from Python 3.11 on.
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
        return _in_range(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    # OverflowError: before the year 1 or after 9999, also where only its UTC is.
    except (ValueError, OverflowError) as error:
        raise Problem(
            f"wrong use, clair notifications: --since {text!r} is no date and no age since 1970",
            "./clair notifications --since 7d, or --since 2026-01-31",
        ) from error


def _in_range(moment: datetime) -> datetime:
    """Return a moment in UTC; raises ValueError or OverflowError if the receiver could not read it."""
    moment = moment.astimezone(timezone.utc)
    if moment.year < 1970:
        raise ValueError("before 1970")
    return moment


def chosen(rows: Sequence[Dict[str, Any]], since: Optional[datetime], state: str) -> List[Dict[str, Any]]:
    """Return the notifications received at or after a moment and in a state ("" for any)."""
    return [
        row
        for row in rows
        if (not state or row["state"] == state)
        and (since is None or since_moment(str(row["received_at"]), since) >= since)
    ]


def image_rows(rows: Sequence[Dict[str, Any]]) -> List[Row]:
    """Return the table by image: one line for each image of each notification, and for one that was not fetched yet."""
    lines: List[Row] = [("RECEIVED", "STATE", "FINDINGS", "WORST", "IMAGE", "DELIVERIES")]
    for row in rows:
        images: Dict[str, List[Dict[str, Any]]] = {}
        for counted in row["images"]:
            images.setdefault(_image(counted), []).append(counted)
        for image, parts in (images or {"-": []}).items():
            worst = max((str(one.get("worst")) for one in parts), key=_rank, default="-")
            manifests = {str(one.get("manifest")) for one in parts}
            count = sum(int(one["findings"]) for one in parts)
            lines.append((_time(row), _state(row), str(count), worst, image, deliveries_text(row, manifests)))
    return lines


def finding_rows(rows: Sequence[Dict[str, Any]]) -> List[Row]:
    """Return the table by finding, the same finding of several images on a line each."""
    lines: List[Row] = [("RECEIVED", "STATE", "REASON", "SEVERITY", "FINDING", "PACKAGE", "FIXED", "IMAGE")]
    for row in rows:
        for one in row["findings"]:
            texts = (one.get(key) or "-" for key in ("reason", "severity", "vulnerability", "package", "fixed_in"))
            lines.append((_time(row), _state(row), *(printable(str(text), 80) for text in texts), _image(one)))
    return lines


def deliveries_text(row: Dict[str, Any], manifests: Set[str]) -> str:
    """Return how far what a notification says of some manifests came: each target's state, or why it was not fetched."""
    parts = []
    for delivery in row["deliveries"]:
        if delivery.get("manifest") not in manifests:
            continue
        text = f"{delivery['target']} {delivery['state']}"
        if delivery.get("error") and delivery["state"] != "delivered":
            text += f" ({delivery['error']}; {delivery['tries']} tries)"
        parts.append(text)
    if not parts and row.get("error"):
        parts.append(f"not fetched ({row['error']})")
    return printable(", ".join(parts) or "-", 300)


def table(rows: Sequence[Row]) -> List[str]:
    """Return rows of cells as lines."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return ["  ".join([*(row[i].ljust(width) for i, width in enumerate(widths)), row[-1]]) for row in rows]


def _image(finding: Dict[str, Any]) -> str:
    return printable(str(finding.get("image") or finding.get("manifest") or "-"), 200)


def _time(row: Dict[str, Any]) -> str:
    return printable(str(row["received_at"]), 40)


def _state(row: Dict[str, Any]) -> str:
    return f"{row['state']} (test)" if row.get("test") else str(row["state"])


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else 0


def main(argv: List[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        "notifications",
        "List what the receiver got, with its state; `retry [ID]` sends dead letters again, `drop [ID]` gives them up.",
    )
    parser.add_argument(
        "action", nargs="?", choices=("list", *_DONE), default="list", help="list (default), retry or drop"
    )
    parser.add_argument("id", nargs="?", default=None, help="this one only (default: all) [ID]")
    parser.add_argument("--since", default=os.environ.get("SINCE", ""), help="a date, or an age such as 7d [SINCE]")
    _add_choice(parser, "--by", "BY", GROUPS, "image")
    _add_choice(parser, "--state", "STATE", STATES, "")
    parser.add_switch("--json", "JSON", "print a JSON document")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    since = since_moment(options.since, datetime.now(timezone.utc)) if options.since else None
    if options.id == "":
        raise Problem(
            f"wrong use, clair notifications: {options.action} takes no empty ID",
            "./clair notifications list ID, or ./clair notifications retry ID",
            USAGE,
        )
    identity = options.id or os.environ.get("ID", "")
    deployment = load_deployment()
    refuse_other_delivery(deployment, "notifications")
    if options.action in _DONE:
        return _order(deployment, options, identity)
    limit = LIMIT if since or options.state else SHORT_LIMIT
    counts = options.by == "image" and not options.json
    asked = [*_server_filter(since), *([f"--id={identity}"] if identity else [])]
    asked += ["--limit", str(limit), *(["--counts"] if counts else [])]
    document = read_notifications(deployment, asked, options.timeout)
    if len(document["notifications"]) >= limit:
        print(f"only the newest {limit} and dead ones are looked at: --since narrows it down", file=sys.stderr)
    rows = chosen(document["notifications"], since, options.state)
    if options.json:
        write_output([json.dumps({**document, "notifications": rows}, indent=1) + "\n"], "")
        return 0
    lines = table(image_rows(rows) if options.by == "image" else finding_rows(rows))
    write_output((line + "\n" for line in lines), "")
    for one in document.get("refused", [])[:1]:
        told = " ".join(printable(str(one.get(key, "")), 200) for key in ("at", "status", "reason"))
        print(f"posts were refused, the last: {told}", file=sys.stderr)
    dead = sum(row["state"] == "dead" for row in rows)
    if dead:
        print(f"{dead} dead: ./clair notifications retry sends them again, drop gives them up", file=sys.stderr)
    if not document["targets"]:
        print("no target in config/receiver/settings.toml: findings are only stored", file=sys.stderr)
    return 0


def _order(deployment: Deployment, options: argparse.Namespace, identity: str) -> int:
    action = options.action
    if options.since or options.state:
        raise Problem(
            f"wrong use, clair notifications: {action} takes an ID and no filter",
            f"./clair notifications {action}",
            USAGE,
        )
    said = call_receiver(deployment, [action, *(["--", identity] if identity else [])], options.timeout)
    if options.json:
        write_output([said if said.endswith("\n") else said + "\n"], "")
        return 0
    try:
        count = int(json.loads(said)[_DONE[action][0]])
    except (ValueError, KeyError, TypeError):
        count = -1
    words = _DONE[action][1]
    print(f"{words}: {count}" if count >= 0 else words, file=sys.stderr)
    return 0


def _server_filter(since: Optional[datetime]) -> List[str]:
    return ["--since", since.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")] if since else []


def _add_choice(parser: Parser, flag: str, variable: str, allowed: Sequence[str], default: str) -> None:
    def choice(text: str) -> str:
        if text and text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(allowed)}")
        return text

    value = os.environ.get(variable) or default
    told = f" (default {default})" if default else ""
    parser.add_argument(flag, type=choice, default=value, help=f"{', '.join(allowed)}{told} [{variable}]")
