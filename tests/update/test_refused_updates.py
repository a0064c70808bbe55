"""Recorded answers that the newest version cannot take: one line that names question, value and way out, and a project as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import copier_runs, facts, repositories, updates
from tests.support.updates import NEXT_RELEASE
from tests.update.conftest import NewProject

OLDEST, NEWEST = facts.releases()[0], facts.releases()[-1]


class Gone(NamedTuple):
    """An answer that was possible: what was recorded, what the next version does, and its sentence."""

    answers: dict[str, Any]
    change: Callable[[Path], object]
    refusal: str


def drop_release(template: Path) -> None:
    """Take a release out of the catalogue and say why."""
    updates.drop_from_data(template, "clair.yaml", "releases", "4.7.4")
    updates.edit(
        template,
        "extensions/data/clair.yaml",
        "\nrefused:\n",
        "\nrefused:\n- {match: 4.7.4, reason: it is too old now}\n",
    )


GONE = {
    "release": Gone(
        {"clair_version": "4.7.4"},
        drop_release,
        f"clair_version '4.7.4' is not supported, it is too old now: choose newest or a release from {OLDEST} to {NEXT_RELEASE}.",
    ),
    "family": Gone(
        {"updater_families": ["debian", "photon"]},
        lambda template: updates.drop_from_data(template, "families.yaml", "families", "photon"),
        "updater_families ['debian', 'photon'] holds 'photon', which is not supported: choose from"
        " alpine, aws, debian, oracle, osv, rhel, suse, ubuntu.",
    ),
    "size": Gone(
        {"deployment_size": "medium"},
        lambda template: updates.edit(template, "extensions/data/sizes.yaml", "  medium:\n", "  middle:\n"),
        "deployment_size 'medium' is not supported: choose small, middle or large.",
    ),
    "architecture": Gone(
        {"architecture": "s390x"},
        lambda template: updates.drop_from_data(template, "clair.yaml", "releases", NEXT_RELEASE, "platforms", "s390x"),
        f"architecture 's390x' has no image of Clair {NEXT_RELEASE}:"
        f" choose amd64, arm64, ppc64le or clair_version 4.7.0 to {NEWEST}.",
    ),
    "choice": Gone(
        {"database_version": "15"},
        lambda template: updates.drop_from_data(template, "components.yaml", "postgres", "majors", "15"),
        "database_version '15' is not supported: choose 16, 17 or 18.",
    ),
    "rule": Gone(
        {"matcher_replicas": 5},
        lambda template: updates.edit(
            template, "extensions/rules.py", "REPLICAS = range(1, 17)", "REPLICAS = range(1, 3)"
        ),
        "matcher_replicas '5' is out of range: choose 1 to 2.",
    ),
}


@pytest.mark.parametrize("kind", GONE)
def test_recorded_answer_that_is_no_longer_possible_is_refused_and_nothing_changes(
    old_project: NewProject, next_version: Path, kind: str
) -> None:
    project = old_project(GONE[kind].answers, next_version, "v2.0.0")
    before = updates.everything(project)
    GONE[kind].change(next_version)
    repositories.commit(next_version, f"another {kind}", "v3.0.0")

    refusal = copier_runs.refusal_of_update(project)

    assert refusal == GONE[kind].refusal
    assert updates.everything(project) == before


@pytest.mark.parametrize(
    ("kind", "way_out"), [("release", {"clair_version": "newest"}), ("architecture", {"clair_version": NEWEST})]
)
def test_way_out_of_a_refusal_goes_through(
    old_project: NewProject, next_version: Path, kind: str, way_out: dict[str, Any]
) -> None:
    project = old_project(GONE[kind].answers, next_version, "v2.0.0")
    GONE[kind].change(next_version)
    repositories.commit(next_version, f"another {kind}", "v3.0.0")

    assert copier_runs.refusal_of_update(project, way_out) == ""
    assert updates.recorded(project)["clair_version"] == way_out["clair_version"]


def test_refusal_is_one_line_and_exit_code_1_at_the_command_line(old_project: NewProject, next_version: Path) -> None:
    project = old_project(GONE["release"].answers, next_version, "v2.0.0")
    GONE["release"].change(next_version)
    repositories.commit(next_version, "drop a release", "v3.0.0")

    outcome = copier_runs.command(["update", "--trust", "--defaults"], project)

    lines = outcome.stderr.splitlines()
    assert (outcome.code, lines[-1]) == (1, GONE["release"].refusal)
    assert [line for line in lines if "clair_version" in line] == lines[-1:]
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""
