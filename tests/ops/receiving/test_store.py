"""The receiver's database: plans that take no longer than they must, and stores of earlier receivers."""

from __future__ import annotations

import json
import sqlite3
import time
import tracemalloc
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from ops.receiving.learn_names import Names
from ops.receiving.list_notifications import list_notifications
from ops.receiving.open_store import Store
from ops.receiving.plan_deliveries import image_name, plan_deliveries, store_findings
from ops.receiving.read_settings import Target
from ops.receiving.store_posts import Post, insert_post

from tests.ops.receiving.conftest import DIGEST, finding


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


@pytest.mark.parametrize("order", [("prod/app:1", "staging/app:1"), ("staging/app:1", "prod/app:1")])
def test_image_with_two_names_reaches_the_targets_of_both(tmp_path: Path, order: tuple[str, str]) -> None:
    """Tags of production and staging are often one digest; the filter saw only the name that was told last."""
    store, file = Store(tmp_path / "receiver.db"), tmp_path / "image-names"
    file.write_text("".join(f"{DIGEST}\t{name}\n" for name in order), encoding="utf-8")
    Names(file).learn(store)
    targets = [Target(name, "webhook", url="http://x", image=f"{name}/*") for name in ("prod", "staging", "other")]

    with store.write() as connection:
        store_findings(connection, "n", [finding()])
        plan_deliveries(connection, "n", targets, False)
        states = dict(connection.execute("SELECT target, state FROM delivery").fetchall())
        newest = image_name(connection, DIGEST)
        shown = image_name(connection, DIGEST, "staging/*")

    assert states == {"prod": "waiting", "staging": "waiting", "other": "filtered"}
    assert (newest, shown) == (order[1], "staging/app:1")


def test_name_that_is_told_again_is_the_newest(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "receiver.db"), tmp_path / "image-names"
    names = Names(file)
    for text in ("a b", "a b a"):
        file.write_text("".join(f"{DIGEST}\t{name}\n" for name in text.split()), encoding="utf-8")
        names.learn(store)

    with store.read() as connection:
        assert image_name(connection, DIGEST) == "a"


def test_names_of_an_earlier_receiver_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "receiver.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE image (manifest TEXT PRIMARY KEY, name TEXT NOT NULL)")
        connection.execute("INSERT INTO image VALUES (?, 'a')", (DIGEST,))

    for _ in range(2):
        store = Store(path)

    with store.write() as connection:
        connection.execute("INSERT INTO image VALUES (?, 'b')", (DIGEST,))
        assert image_name(connection, DIGEST) == "b"
        assert connection.execute("SELECT count(*) FROM image").fetchone()[0] == 2


def test_list_of_a_hundred_thousand_findings_fits_into_the_container(tmp_path: Path) -> None:
    """It has 128 MiB, and `notifications` was killed."""
    store = Store(tmp_path / "receiver.db")
    with store.write() as connection:
        connection.execute("INSERT INTO notification (id, callback, received) VALUES ('n', '', '2026')")
        connection.execute(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)"
            " INSERT INTO finding SELECT 'f' || n, 'n', 'x', 0, 'm' || (n % 50), 'CVE-' || n, 'High', 'p', '1', '', 'added',"
            " '' FROM number"
        )

    tracemalloc.start()
    size = sum(len(piece) for piece in list_notifications(store, [], "", "", 100))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 10_000_000
    assert most < 5_000_000
    document = json.loads("".join(list_notifications(store, [], "", "n", 100, counts=True)))
    (row,) = document["notifications"]
    assert row["images"][0] == {"manifest": "m0", "image": "", "findings": 2000, "worst": "High"}
    assert (
        len(json.loads("".join(list_notifications(store, [], "", "", 100)))["notifications"][0]["findings"]) == 100_000
    )


def test_dead_letters_stay_in_sight_behind_newer_notifications(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.db")
    with store.write() as connection:
        for day, state in enumerate(["fetched", "dead", "fetched", "fetched"], 1):
            sql = "INSERT INTO notification (id, callback, received, state) VALUES (?, '', ?, ?)"
            connection.execute(sql, (f"n{day}", f"2026-01-0{day}", state))
        connection.execute(
            "INSERT INTO delivery (id, notification, target, manifest, state) VALUES ('d', 'n1', 't', 'm', 'dead')"
        )

    document = json.loads("".join(list_notifications(store, [], "", "", 1)))

    assert [row["id"] for row in document["notifications"]] == ["n4", "n2", "n1"]


def test_deletion_that_was_given_up_is_tried_again_after_a_repeat(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.db")

    with store.write() as connection:
        insert_post(connection, Post("n", "", False, 3.0))
        connection.execute("UPDATE notification SET state = 'fetched', delete_tries = 12")
        store_findings(connection, "n", [finding()])
        insert_post(connection, Post("n", "", False, 3.0))
        tries, due = connection.execute("SELECT delete_tries, delete_at FROM notification").fetchone()

    assert tries == 0
    assert due > time.time()
