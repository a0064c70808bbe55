"""`restore` says no before it touches anything: what does not fit, and whoever does not give the deployment's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ops.backup.prove_backup import choose_backup, refuse_newer_server
from ops.backup.read_backup import Backup, read_manifest
from ops.change import restore_database
from ops.change.refuse_backup import refuse_missing_service, refuse_newer_schema
from ops.change.restore_database import announcement, confirmation_problem
from ops.errors import NO, USAGE, Problem
from ops.settings import Deployment, load_deployment
from ops.state.track_change import begin_change, unfinished_change

from tests.ops.change.made_backups import SCHEMA, deployment_at, make


def made(folder: Path, **changes: object) -> Backup:
    return read_manifest(make(folder / "backups", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("service", list(SCHEMA))
def test_a_newer_schema_is_refused_with_the_release_it_needs(tmp_path: Path, service: str) -> None:
    backup = made(tmp_path, clair_release="4.10.0", schema={**SCHEMA, service: SCHEMA[service] + 1})
    with pytest.raises(Problem) as raised:
        refuse_newer_schema(deployment_at(tmp_path), backup)

    assert raised.value.code == USAGE
    assert raised.value.sentence.endswith(
        f"of Clair 4.10.0, whose {service} database is newer than Clair 4.9.0 can read"
    )
    assert raised.value.hint == "copier update --trust --defaults --data clair_version=4.10.0 && ./clair upgrade"


@pytest.mark.parametrize("release", ["4.9.0", "4.8.0"])
def test_a_newer_schema_under_an_older_name_is_refused_without_a_way_to_an_older_release(
    tmp_path: Path, release: str
) -> None:
    backup = made(tmp_path, clair_release=release, schema={**SCHEMA, "matcher": 17})
    with pytest.raises(Problem) as raised:
        refuse_newer_schema(deployment_at(tmp_path), backup)

    assert raised.value.sentence.endswith(
        "its matcher database stands at migration 17, and Clair 4.9.0 knows those up to 16"
    )
    assert (raised.value.hint, raised.value.code) == ("ls backups", USAGE)


@pytest.mark.parametrize("step", [0, 1], ids=["same", "older"])
def test_the_same_and_an_older_schema_fit(tmp_path: Path, step: int) -> None:
    backup = made(tmp_path, schema={name: version - step for name, version in SCHEMA.items()})

    refuse_newer_schema(deployment_at(tmp_path), backup)


def test_a_newer_postgresql_is_refused(tmp_path: Path) -> None:
    backup = made(tmp_path, postgres_version="18.4")
    with pytest.raises(Problem, match="made from PostgreSQL 18, and this deployment has 17"):
        refuse_newer_server(backup, 17)

    refuse_newer_server(backup, 18)


def test_a_database_of_a_service_that_is_not_there_is_refused(tmp_path: Path) -> None:
    deployment = deployment_at(tmp_path, services={"indexer": {}, "matcher": {}})
    with pytest.raises(Problem, match="it holds the database notifier, and this deployment has no notifier"):
        refuse_missing_service(deployment, made(tmp_path))


@pytest.mark.parametrize(
    ("owner", "confirm", "yes", "allowed"),
    [
        ("clair", "clair", False, True),
        ("clair", "", True, True),
        ("clair", "", False, False),
        ("clair", "Clair", False, False),
        ("clair", "other", True, False),
        ("another", "clair", False, True),
        ("another", "", True, False),
        ("another", "another", False, False),
    ],
)
def test_who_confirms_what(tmp_path: Path, owner: str, confirm: str, yes: bool, allowed: bool) -> None:
    problem = confirmation_problem(deployment_at(tmp_path), made(tmp_path, deployment_name=owner), confirm, yes)

    assert (problem is None) == allowed
    if problem is not None:
        assert (problem.code, problem.sentence[:25]) == (USAGE, "nothing restored, clair: ")


def test_it_says_what_stays_and_what_is_lost(tmp_path: Path) -> None:
    backup = made(tmp_path, skipped=["matcher"], deployment_name="another", clair_release="4.8.0")
    lines = announcement(deployment_at(tmp_path), backup)

    assert [line.split()[0] for line in lines] == [
        "source",
        "destination",
        "overwritten",
        "stays",
        "migrations",
        "note",
    ]


def test_a_backup_is_found_from_here_and_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "backups")
    deployment = deployment_at(tmp_path)
    monkeypatch.chdir("/")

    assert choose_backup(deployment, f"backups/{path.name}") == path
    assert choose_backup(deployment, path.name) == path
    assert choose_backup(deployment, str(path)) == path
    assert choose_backup(deployment, "") == path


@pytest.fixture
def applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment that `restore` finds, at whose terminal nobody sits; no Docker answers."""
    made = deployment_at(tmp_path)
    monkeypatch.setattr(restore_database, "load_deployment", lambda: load_deployment(tmp_path))
    monkeypatch.setattr(restore_database, "end_like_ctrl_c", lambda: None)
    monkeypatch.setattr(restore_database, "_at_terminal", lambda: False)
    monkeypatch.delenv("CONFIRM", raising=False)
    monkeypatch.delenv("YES", raising=False)
    return made


def test_a_rollback_while_the_question_is_open_is_noticed(
    applied: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = made(tmp_path)

    def roll_back(_: Deployment) -> str:
        deployment_at(tmp_path, clair_release="4.8.0", release={"schema": {**SCHEMA, "matcher": 13}})
        return "clair"

    monkeypatch.setattr(restore_database, "_at_terminal", lambda: True)
    monkeypatch.setattr(restore_database, "_ask_name", roll_back)

    with pytest.raises(Problem) as raised:
        restore_database.main([backup.name])

    assert raised.value.sentence == (
        f"backup not usable, {backup.name}: it is of Clair 4.9.0, whose matcher database is newer than Clair 4.8.0 can read"
    )
    assert unfinished_change(applied) is None


def test_a_backup_that_is_deleted_while_the_question_is_open_is_noticed(
    applied: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = made(tmp_path)

    def delete(_: Deployment) -> str:
        shutil.rmtree(backup.path)
        return "clair"

    monkeypatch.setattr(restore_database, "_at_terminal", lambda: True)
    monkeypatch.setattr(restore_database, "_ask_name", delete)

    with pytest.raises(Problem, match="backup not found, "):
        restore_database.main([backup.name])

    assert unfinished_change(applied) is None


@pytest.mark.parametrize("words", [["--confirm", "wrong"], []], ids=["wrong", "none"])
def test_an_unfinished_restore_stays_where_the_confirmation_is_refused(
    applied: Deployment, tmp_path: Path, words: list[str]
) -> None:
    backup = made(tmp_path)
    change = begin_change(applied, "restore", "load", backup="backups/x", databases=["indexer"], clair=True)

    with pytest.raises(Problem, match="nothing restored, clair: ") as raised:
        restore_database.main([backup.name, *words])

    assert raised.value.hint == f"./clair restore {backup.path} --confirm clair"
    assert unfinished_change(applied) == change


def test_a_manifest_that_was_edited_is_damaged_and_not_newer(applied: Deployment, tmp_path: Path) -> None:
    backup = made(tmp_path)
    path = backup.path / "manifest.json"
    path.write_text(path.read_text().replace('"matcher": 16', '"matcher": 99'))

    with pytest.raises(Problem) as raised:
        restore_database.main([backup.name, "--confirm", "clair"])

    assert raised.value.code == NO
    assert raised.value.sentence == (
        f"backup damaged, {backup.name}: manifest.json is not what it was when the backup was made"
    )
