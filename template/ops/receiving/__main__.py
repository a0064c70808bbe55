"""Runs the receiver, or one of its commands: `python3 -m receiver [COMMAND]`.

    (none)               serve until SIGTERM; exit 2 if key, database or settings cannot be used
    list --json          [--since TIME] [--id UUID] [--limit N] [--counts]: what came, newest first
    retry [ID]           try dead letters again: all, or of a notification or delivery, then also what waits; exit 2 if
                         there is none, or settings.toml has no such target
    drop [ID]            give dead letters up: all, or of a notification or delivery; exit 2 if there is none
    status               counts as JSON
    expect-test SECONDS  take notifications of the throwaway notifier of `notify-test`; 0 ends it

Environment, for tests: RECEIVER_KEY (/app/psk), RECEIVER_DATABASE (/var/tmp/receiver.db), RECEIVER_PORT (8080),
RECEIVER_NOTIFIER (http://notifier:6060), RECEIVER_SETTINGS (/app/settings.toml), RECEIVER_SECRETS (/app/secrets),
RECEIVER_CA (/app/ca.pem), RECEIVER_NAMES (/app/image-names), RECEIVER_DELETE_SECONDS (30), RECEIVER_RETRY_SECONDS (5).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from .deliver_messages import Deliverer, end_unknown_targets
from .expect_tests import expect
from .fetch_findings import Fetcher
from .learn_names import Names
from .list_notifications import count_states, drop, list_notifications, retry
from .open_store import Store
from .read_settings import BadSettings, Target, read_settings
from .send_message import trust
from .serve_posts import Server
from .sign_token import read_key
from .store_posts import Writer
from .write_log import log, timestamp


def main(argv: Sequence[str]) -> int:
    """Run; return the exit code."""
    if not argv:
        return serve()
    options = _parser().parse_args(argv)
    try:
        store = _store()
        return _command(options, store)
    except (sqlite3.Error, OSError, ValueError, OverflowError, BadSettings) as error:
        print(f"{options.command} failed: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OverflowError | BadSettings) else 3


def serve() -> int:
    """Serve until SIGTERM or SIGINT."""
    notifier = os.environ.get("RECEIVER_NOTIFIER", "http://notifier:6060")
    delete_seconds = float(os.environ.get("RECEIVER_DELETE_SECONDS", "30"))
    arrived = threading.Event()
    try:
        key = _key()
        targets = _targets()
        context = trust(Path(os.environ.get("RECEIVER_CA", "/app/ca.pem")))
        store = _store()
        end_unknown_targets(store, targets)
        writer = Writer(store, arrived)
        port = int(os.environ.get("RECEIVER_PORT", "8080"))
        server = Server(("0.0.0.0", port), key, store, writer=writer, notifier=notifier, delete_seconds=delete_seconds)
    except (OSError, ValueError, BadSettings, sqlite3.Error) as error:
        log("fatal", "receiver not started", error=str(error))
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    log("info", "receiver ready", port=server.server_address[1], targets=[target.name for target in targets])
    names = Names(Path(os.environ.get("RECEIVER_NAMES", "/app/image-names")))
    fetcher = Fetcher(store, key, targets, arrived, notifier=notifier, names=names, delete_seconds=delete_seconds)
    deliverers = [Deliverer(store, target, context) for target in targets]
    stop.wait()
    for deliverer in deliverers:
        deliverer.stop()
    server.shutdown()
    server.server_close()
    writer.stop()
    fetcher.stop()
    for deliverer in deliverers:
        deliverer.join(1)
    log("info", "receiver stopped")
    return 0


def _command(options: argparse.Namespace, store: Store) -> int:
    if options.command == "list":
        names = [target.name for target in _targets()]
        since = timestamp(_moment(options.since)) if options.since else ""
        sys.stdout.writelines(list_notifications(store, names, since, options.id, options.limit, counts=options.counts))
    elif options.command == "retry":
        count, left = retry(store, [target.name for target in _targets()], options.id)
        if left:
            return _tell_left(count, left)
        if options.id and not count:
            what = "no notification and no delivery with this id is dead or waits"
            print(f"nothing to send again, {options.id}: {what}\nHINT: ./clair notifications --json", file=sys.stderr)
            return 2
        print(json.dumps({"retried": count}))
    elif options.command == "drop":
        count = drop(store, options.id)
        if options.id and not count:
            what = "no notification and no delivery with this id is dead"
            print(f"nothing to drop, {options.id}: {what}\nHINT: ./clair notifications --json", file=sys.stderr)
            return 2
        print(json.dumps({"dropped": count}))
    elif options.command == "status":
        print(json.dumps(count_states(store, [target.name for target in _targets()])))
    else:
        expect(store, options.seconds)
    return 0


def _tell_left(count: int, left: dict[str, int]) -> int:
    names = ", ".join(left)
    done = f"; sent again: {count}" if count else ""
    print(
        f"not sent again, {names}: settings.toml has no such target ({sum(left.values())} dead{done})", file=sys.stderr
    )
    hint = "name a [[target]] so in config/receiver/settings.toml, run ./clair up, then ./clair notifications retry"
    print(f"HINT: {hint}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="receiver", description="The receiver of Clair's notifications.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="what came, newest first")
    listing.add_argument("--json", action="store_true", help="the only format there is")
    listing.add_argument("--since", default="", metavar="TIME", help="ISO 8601")
    listing.add_argument("--id", default="", metavar="UUID", help="this notification only")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (100), and all dead ones")
    listing.add_argument("--counts", action="store_true", help="how many findings an image has, not which")
    again = commands.add_parser("retry", help="try dead letters again, or now what waits")
    again.add_argument("id", nargs="?", default="", metavar="ID", help="a notification's or a delivery's")
    given_up = commands.add_parser("drop", help="give dead letters up")
    given_up.add_argument("id", nargs="?", default="", metavar="ID", help="a notification's or a delivery's")
    commands.add_parser("status", help="counts")
    test = commands.add_parser("expect-test", help="take notifications of notify-test")
    test.add_argument("seconds", type=int, metavar="SECONDS", help="for so long; 0 ends it")
    return parser


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _key() -> bytes:
    try:
        return read_key(Path(os.environ.get("RECEIVER_KEY", "/app/psk")))
    except ValueError as error:
        raise ValueError(f"secrets/psk: {error}") from error


def _store() -> Store:
    try:
        return Store(_database())
    except sqlite3.Error as error:
        raise sqlite3.DatabaseError(f"{_database().name}, in the volume of the receiver: {error}") from error


def _database() -> Path:
    return Path(os.environ.get("RECEIVER_DATABASE", "/var/tmp/receiver.db"))  # noqa: S108 - a volume of its container


def _targets() -> list[Target]:
    return read_settings(
        Path(os.environ.get("RECEIVER_SETTINGS", "/app/settings.toml")),
        Path(os.environ.get("RECEIVER_SECRETS", "/app/secrets")),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
