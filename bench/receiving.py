"""How long the receiver takes to answer a post of Clair: every answer waits until the notification is on the disk.

The receiver is the real one, in a process of its own; 200 posts a second, chunked and signed as Clair 4.9.0 sends them, each on
a connection of its own, for ten seconds. The floor is SQLite alone on the same disk: one commit after the other.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.measure import BenchError, Row, note

__all__ = ["measure"]

ROOT = Path(__file__).resolve().parents[1]
KEY = bytes(range(64))
POSTS_PER_SECOND = 200
SECONDS = 10
ASKED_MILLISECONDS = 50
NOTIFIER = "http://127.0.0.1:1"


def measure() -> list[Row]:
    """Return the row of the 99th percentile."""
    note(f"receiver: {POSTS_PER_SECOND} posts a second for {SECONDS} s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = _commits(folder / "floor.db")
        times = _posts(folder)
    middle, late = (_percentile(times, share) for share in (0.5, 0.99))
    detail = (
        f"median {middle * 1000:.1f} ms of {len(times)} posts, each on the disk; one commit of SQLite alone, 99th "
        f"percentile: {_percentile(floor, 0.99) * 1000:.1f} ms"
    )
    return [
        Row("answer of the receiver, 99th percentile", f"<= {ASKED_MILLISECONDS} ms", f"{late * 1000:.1f} ms", detail)
    ]


def _posts(folder: Path) -> list[float]:
    (folder / "receiver").symlink_to(ROOT / "template/ops/receiving")
    (folder / "psk").write_bytes(base64.b64encode(KEY))
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "RECEIVER_KEY": str(folder / "psk"),
        "RECEIVER_DATABASE": str(folder / "receiver.db"),
        "RECEIVER_NOTIFIER": NOTIFIER,
        "RECEIVER_PORT": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "receiver"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        if ready["message"] != "receiver ready":
            raise BenchError(f"receiver not started: {ready}")
        threading.Thread(target=process.stdout.read, daemon=True).start()
        return _load(ready["port"])
    finally:
        process.terminate()
        process.wait(20)


def _load(port: int) -> list[float]:
    sys.path.insert(0, str(ROOT / "template"))
    from ops.receiving.sign_token import sign_token

    token = sign_token(KEY, time.time())
    begin = time.monotonic() + 0.2

    def one(number: int) -> float:
        identity = str(uuid.uuid4())
        callback = f"{NOTIFIER}/notifier/api/v1/notification/{identity}"
        body = json.dumps({"callback": callback, "notification_id": identity}).encode()
        head = f"POST / HTTP/1.1\r\nHost: receiver:8080\r\nAuthorization: Bearer {token}\r\n"
        data = f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        time.sleep(max(0.0, begin + number / POSTS_PER_SECOND - time.monotonic()))
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(data)
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"the receiver answered {answer[:40]!r}")
        return time.monotonic() - started

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(one, range(POSTS_PER_SECOND * SECONDS)))


def _commits(path: Path, count: int = 300) -> list[float]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE notification (id TEXT PRIMARY KEY)")
    times = []
    for _ in range(count):
        started = time.monotonic()
        connection.execute("INSERT INTO notification VALUES (?)", (str(uuid.uuid4()),))
        times.append(time.monotonic() - started)
    connection.close()
    return times


def _percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]
