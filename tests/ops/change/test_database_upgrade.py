"""The decisions of `database-upgrade`: what it refuses, how much disk it asks for, which volume it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ops.change import upgrade_database
from ops.change.free_space import disk_problem
from ops.change.plan_database import free_volume, places, refusal
from ops.change.plan_upgrade import Disk
from ops.errors import USAGE, Problem
from ops.host.show_progress import Progress
from ops.settings import Deployment


def facts(version: str = "17", release: str = "4.9.0", mode: str = "bundled") -> dict[str, Any]:
    """Return what refusal reads of a deployment.json."""
    return {
        "deployment_name": "clair",
        "clair_release": release,
        "database": {"mode": mode, "version": version},
    }


@pytest.mark.parametrize(
    ("applied", "rendered", "sentence"),
    [
        (None, facts(), "no database-upgrade, clair: it was never started"),
        (facts(mode="external"), facts("18"), "no database-upgrade, clair: its database is external"),
        (
            {**facts(), "deployment_name": "other"},
            facts("18"),
            "no database-upgrade, clair: the applied state is of other",
        ),
        (
            facts("17", "4.8.0"),
            facts("18"),
            "no database-upgrade, clair: Clair changes as well, from 4.8.0 to 4.9.0, and one thing at a time has a way back",
        ),
        (
            {**facts("17"), "notifier_delivery": "bundled"},
            {**facts("18"), "notifier_delivery": "none"},
            "no database-upgrade, clair: the notifier is taken out as well, and its database would be left behind",
        ),
        (
            facts("18"),
            facts("17"),
            "no database-upgrade, clair: PostgreSQL 18 is applied and 17 is rendered, and majors only go up",
        ),
    ],
    ids=["never-started", "external", "another-name", "release-changes-too", "no-notifier-any-more", "downwards"],
)
def test_refused_with_a_way_out(applied: dict[str, Any] | None, rendered: dict[str, Any], sentence: str) -> None:
    problem = refusal(applied, rendered)

    assert problem is not None
    assert problem.sentence == sentence
    assert problem.hint
    assert problem.code == 2


def test_lost_state_is_told_with_the_major_of_the_data() -> None:
    problem = refusal(None, facts("18"), "16")

    assert problem is not None
    assert (problem.sentence, problem.hint) == (
        "no database-upgrade, clair: state/ is lost, and with it how the server of PostgreSQL 16 was started",
        "copier update --trust --defaults --data database_version=16",
    )


@pytest.mark.parametrize(("before", "after"), [("15", "16"), ("15", "18"), ("16", "17"), ("17", "18"), ("17", "17")])
def test_any_hop_upwards_is_possible(before: str, after: str) -> None:
    assert refusal(facts(before), facts(after)) is None


def test_same_release_changes_nothing_but_the_major() -> None:
    assert refusal(facts("17", "4.8.0"), facts("17", "4.9.0")) is None


def test_one_disk_must_hold_the_dump_and_the_new_data(tmp_path: Path) -> None:
    (place,) = places(tmp_path, tmp_path, 1000)

    assert place.needed_bytes == 2000
    assert place.free_bytes is not None


def test_disk_that_cannot_be_seen_is_not_guessed(tmp_path: Path) -> None:
    backups, docker = places(tmp_path, None, 1000)

    assert (backups.needed_bytes, docker.needed_bytes, docker.free_bytes) == (1000, 1000, None)
    assert disk_problem([backups, docker]) is None


def test_too_small_disk_is_refused_with_both_numbers() -> None:
    problem = disk_problem([Disk("backups/, the dump", 3 * 1024**3, 1024**3)])

    assert problem is not None
    assert (problem.sentence, problem.hint, problem.code) == (
        "disk too small, backups/, the dump: 1.0 GiB free, 3.0 GiB needed",
        "df -h",
        1,
    )


def test_new_volume_never_takes_a_name_that_is_there(tmp_path: Path) -> None:
    deployment = Deployment({"deployment_name": "clair"}, tmp_path)

    names = [
        free_volume(deployment, "18", existing)
        for existing in ([], ["clair_database-18"], ["clair_database-18", "clair_database-18-2"])
    ]

    assert names == ["clair_database-18", "clair_database-18-2", "clair_database-18-3"]


@pytest.fixture
def two_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Deployment, list[str]]:
    """A deployment without applied state and with two volumes; the list fills with the calls of Docker."""
    calls: list[str] = []
    monkeypatch.setattr(upgrade_database, "database_volumes", lambda _: ["clair_database", "clair_database-18"])
    monkeypatch.setattr(upgrade_database.engine, "docker", lambda words, **_: calls.append(" ".join(words)))
    return Deployment(facts("18"), tmp_path), calls


def test_no_volume_is_deleted_where_lost_state_cannot_say_which_is_in_use(
    two_volumes: tuple[Deployment, list[str]],
) -> None:
    deployment, calls = two_volumes

    with pytest.raises(Problem) as caught:
        upgrade_database.drop_old(deployment, True, Progress())

    assert (caught.value.sentence, caught.value.hint, caught.value.code) == (
        "nothing deleted, clair: which volume is in use is not known",
        "make up",
        USAGE,
    )
    assert calls == []


def test_only_the_volume_out_of_use_is_deleted(two_volumes: tuple[Deployment, list[str]]) -> None:
    deployment, calls = two_volumes
    deployment.applied.mkdir(parents=True)
    (deployment.applied / "deployment.json").write_text("{}", encoding="utf-8")
    (deployment.applied / "database-volume").write_text("clair_database-18\n", encoding="utf-8")

    assert upgrade_database.drop_old(deployment, True, Progress()) == ["clair_database"]

    assert calls == ["volume rm clair_database"]


def test_rollback_while_the_question_is_open_saves_the_volume_it_returned_to(
    two_volumes: tuple[Deployment, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, calls = two_volumes
    deployment.applied.mkdir(parents=True)
    (deployment.applied / "deployment.json").write_text("{}", encoding="utf-8")
    chosen = deployment.applied / "database-volume"
    chosen.write_text("clair_database-18\n", encoding="utf-8")
    monkeypatch.setattr(upgrade_database, "ask", lambda *_: chosen.write_text("clair_database\n", encoding="utf-8"))

    assert upgrade_database.drop_old(deployment, False, Progress()) == []

    assert calls == []
