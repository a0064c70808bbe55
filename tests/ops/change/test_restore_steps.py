"""A backup of an older release gets, beside the migrations, what an upgrade from that release does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from ops.backup.read_backup import Backup, read_manifest
from ops.change import restore_database, restore_steps, run_admin
from ops.change.restore_database import announcement, restore
from ops.change.restore_steps import Restore, steps_for
from ops.errors import Problem
from ops.host.show_progress import Progress
from ops.lifecycle.read_schema import Schema
from ops.settings import Deployment
from ops.state.track_change import begin_change, unfinished_change

from tests.ops.change.made_backups import SCHEMA, deployment_at, make

RELEASE = {
    "schema": SCHEMA,
    "admin": {
        "pre": [
            {"version": "v4.7.3", "service": "indexer", "below": 8, "does": "build an index"},
            {"version": "v4.8.0", "service": "matcher", "below": 13, "does": "skip migration 13"},
        ],
        "post": [{"version": "v4.8.0", "service": "matcher", "below": 13, "does": "delete rows"}],
    },
    "repairs": [
        {"name": "norm-kind", "service": "indexer", "below": 8, "schema": 8, "does": "mend packages", "sql": "UPDATE x"}
    ],
}
OLDER = {"indexer": 7, "matcher": 12, "notifier": 3}


def deployment(folder: Path) -> Deployment:
    return deployment_at(folder, release=RELEASE)


def backup_of(folder: Path, schema: dict[str, int] = OLDER) -> Backup:
    return read_manifest(make(folder / "backups", clair_release="4.7.2", schema=schema))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the server and to Clair, in its order; nothing is."""
    calls: list[str] = []

    def note(what: str) -> object:
        return lambda *_, **__: calls.append(what)

    for name in ("freeze", "load_beside", "swap_in_databases", "thaw", "drop_databases", "start"):
        monkeypatch.setattr(restore_steps, name, note(name))
    monkeypatch.setattr(restore_steps, "containers", lambda _: [])
    monkeypatch.setattr(restore_steps, "read_schemas", lambda _: {k: Schema(v, 1) for k, v in SCHEMA.items()})
    monkeypatch.setattr(run_admin, "run_statement", lambda _, service, sql, __: calls.append(f"{service}: {sql}"))
    monkeypatch.setattr(restore_database, "pull_missing", note("pull"))

    class Admin:
        """A clairctl that does nothing."""

        def __init__(self, *_: object) -> None:
            pass

        def run(self, words: list[str], **_: object) -> SimpleNamespace:
            """Note the words."""
            calls.append(" ".join(words[2:]))
            return SimpleNamespace(code=0)

    monkeypatch.setattr(run_admin, "Clairctl", Admin)
    return calls


@pytest.mark.parametrize("clair", [True, False], ids=["running", "no Clair yet"])
def test_admin_steps_stand_around_the_start(
    tmp_path: Path,
    done: list[str],
    clair: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(restore_database, "clair_is_there", lambda _: clair)

    restore(deployment(tmp_path), backup_of(tmp_path), 10, Progress())

    after = ["start", "admin post v4.8.0"] if clair else []
    assert done == [
        "pull",
        "freeze",
        "load_beside",
        "swap_in_databases",
        "admin pre v4.7.3",
        "admin pre v4.8.0",
        *after,
        "indexer: UPDATE x",
        "thaw",
        "drop_databases",
    ]
    last = capsys.readouterr().err.splitlines()[-1]
    command = "docker compose run --rm --no-deps clairctl -c /config/config.yaml admin post v4.8.0"
    assert last.endswith(" s)" if clair else f"; next: ./clair up && {command}")


def test_a_restore_that_was_cut_short_knows_its_steps(tmp_path: Path, done: list[str]) -> None:
    made = deployment(tmp_path)
    steps = [asdict(step) for step in steps_for(made, backup_of(tmp_path))]
    change = begin_change(made, "restore", "admin-post", databases=list(SCHEMA), clair=True, steps=steps)

    Restore(made, change, 10, Progress()).go_forward()

    assert done == ["admin post v4.8.0", "indexer: UPDATE x", "thaw", "drop_databases"]
    assert unfinished_change(made) is None


def test_an_admin_step_that_fails_leads_back(tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Problem("admin step failed, clairctl admin pre v4.7.3: no", "", 1)

    monkeypatch.setattr(run_admin, "_clairctl_admin", fail)
    monkeypatch.setattr(restore_database, "clair_is_there", lambda _: True)
    made = deployment(tmp_path)
    backup = backup_of(tmp_path)
    kept: list[str] = []
    monkeypatch.setattr(restore_steps, "swap_back", lambda *_: kept.append("swapped back"))
    monkeypatch.setattr(Restore, "_swapped", lambda _: True)

    with pytest.raises(Problem, match="admin step failed"):
        restore(made, backup, 10, Progress())

    assert kept == ["swapped back"]
    assert unfinished_change(made) is None


@pytest.mark.parametrize(
    "schema", [SCHEMA, {"indexer": 0, "matcher": 0, "notifier": 0}], ids=["same schema", "no schema yet"]
)
def test_nothing_is_needed_where_nothing_is_older(tmp_path: Path, schema: dict[str, int]) -> None:
    assert steps_for(deployment(tmp_path), backup_of(tmp_path, schema)) == []


def test_the_steps_are_told_before_the_question(tmp_path: Path) -> None:
    lines = announcement(deployment(tmp_path), backup_of(tmp_path))

    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("step")] == [
        "clairctl admin pre v4.7.3: build an index",
        "clairctl admin pre v4.8.0: skip migration 13",
        "clairctl admin post v4.8.0: delete rows",
        "repair norm-kind: mend packages",
    ]
