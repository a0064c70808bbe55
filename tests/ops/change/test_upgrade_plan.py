"""The plan of an upgrade, from the facts of two releases as they are rendered."""

from __future__ import annotations

from typing import Any

import pytest
from ops.change.plan_upgrade import Plan, lines, make_plan, needed_steps, rolls_without_gap, upgrade_problem
from ops.lifecycle.read_schema import Schema
from ops.state.refuse_change import release_number

from extensions.catalogue import Catalogue
from tests.conftest import Render


@pytest.fixture(scope="module")
def facts_of(request: pytest.FixtureRequest) -> Any:
    """Return a function that renders a release and returns its deployment.json."""
    render: Render = request.getfixturevalue("render")
    return lambda release, **answers: (
        render({"clair_version": release, "updater_families": ["debian"], **answers}).facts
    )


def plan_of(facts_of: Any, before: str, after: str, **answers: Any) -> Plan:
    """Return the plan between two releases whose databases stand at the old one's migrations."""
    old, new = facts_of(before, **answers), facts_of(after, **answers)
    schemas = {name: Schema(version, 1024) for name, version in old["release"]["schema"].items()}
    changed = {name: name in schemas for name in new["services"]}
    return make_plan(old, new, schemas, images={"clair:x": True, "other:y": False}, changed=changed, disk=[])


@pytest.mark.parametrize(
    ("before", "steps"),
    [
        ("4.5.1", ["pre v4.7.0 indexer", "pre v4.7.3 indexer", "pre v4.8.0 matcher", "post v4.7.0 matcher",
                   "post v4.8.0 matcher", "repair norm-kind indexer"]),
        ("4.6.1", ["pre v4.7.0 indexer", "pre v4.7.3 indexer", "pre v4.8.0 matcher", "post v4.7.0 matcher",
                   "post v4.8.0 matcher", "repair norm-kind indexer"]),
        ("4.7.4", ["pre v4.7.3 indexer", "pre v4.8.0 matcher", "post v4.8.0 matcher", "repair norm-kind indexer"]),
        ("4.8.0", ["pre v4.7.3 indexer", "repair norm-kind indexer"]),
        ("4.9.0", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_steps_are_those_that_have_something_to_do(facts_of: Any, before: str, steps: list[str]) -> None:
    plan = plan_of(facts_of, before, "4.9.0")

    assert [f"{step.when} {step.name} {step.service}" for step in plan.steps] == steps


def test_data_of_the_same_release_needs_no_step(facts_of: Any, releases: list[str]) -> None:
    for release in releases:
        facts = facts_of(release)["release"]
        assert needed_steps(facts, facts["schema"]) == [], release


def test_an_empty_database_needs_no_repair(facts_of: Any) -> None:
    release = facts_of("4.9.0")["release"]

    assert [step.when for step in needed_steps(release, {"indexer": 0, "matcher": 0})].count("repair") == 0


def test_schema_tells_each_database(facts_of: Any) -> None:
    assert plan_of(facts_of, "4.5.1", "4.9.0").schema == {"indexer": (5, 8), "matcher": (8, 16), "notifier": (3, 3)}


def test_lines_name_releases_images_and_downtime(facts_of: Any) -> None:
    told = lines(plan_of(facts_of, "4.8.0", "4.9.0"))

    assert told[0] == "upgrade of clair: Clair 4.8.0 to 4.9.0"
    assert "image     other:y: is pulled" in told
    assert "downtime  matcher: a restart, about 5 s and 3 migrations" in told
    assert "downtime  traefik: none, it stays as it is" in told


def test_several_replicas_have_no_downtime_for_reads(facts_of: Any) -> None:
    plan = plan_of(facts_of, "4.8.0", "4.9.0", indexer_replicas=2)

    told = {away.service: away.downtime for away in plan.services}
    assert told["indexer"].startswith("none for reads, its 2 replicas are replaced while another answers")
    assert told["notifier"] == "a restart, about 5 s"


def test_a_changed_number_of_replicas_is_a_restart(facts_of: Any) -> None:
    one, two = facts_of("4.8.0"), facts_of("4.9.0", indexer_replicas=2)

    assert not rolls_without_gap("indexer", one, two)
    assert rolls_without_gap("indexer", two, two)


def test_json_has_no_field_that_a_person_needs_to_guess(facts_of: Any) -> None:
    document = plan_of(facts_of, "4.7.4", "4.8.0").as_dict()

    assert (document["from"], document["to"], document["format"]) == ("4.7.4", "4.8.0", 1)
    assert document["images"] == [{"image": "clair:x", "present": True}, {"image": "other:y", "present": False}]
    assert document["schema"]["matcher"] == {"from": 12, "to": 13}


def test_release_and_postgres_major_do_not_change_together(facts_of: Any) -> None:
    problem = upgrade_problem(facts_of("4.8.0", database_version="16"), facts_of("4.9.0"))

    assert problem is not None
    assert problem.code == 2
    assert "PostgreSQL changes with the release, from 16 to 17" in problem.sentence
    assert "database_version=16" in problem.hint


def test_release_numbers_order_every_release_of_the_catalogue(facts_of: Any, catalogue: Catalogue) -> None:
    numbers = [release_number(facts_of(release)) for release in catalogue.releases]

    assert numbers == sorted(set(numbers))


def test_state_without_a_number_is_ordered_by_its_release() -> None:
    assert release_number({"clair_release": "4.10.1"}) > release_number({"release": {"number": 4009000}})


def test_every_admin_step_of_a_release_is_described(catalogue: Catalogue) -> None:
    for release in catalogue.releases:
        steps = catalogue.upgrade_steps(release)["admin"]
        for when in ("pre", "post"):
            assert [step["version"] for step in steps[when]] == list(catalogue.release(release)["admin"][when])
            assert all(set(step) == {"version", "service", "below", "does"} for step in steps[when])
