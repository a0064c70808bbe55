"""What is kept for the way back of an upgrade: whole, with the secrets of now, and never a state in between."""

from __future__ import annotations

import json

import pytest
from ops.change.keep_previous import previous_deployment, return_to_previous, save_previous
from ops.errors import Problem
from ops.state.apply_state import applied_tree, apply_state
from ops.state.build_parts import PARTS
from ops.state.create_secrets import create_missing

from tests.ops.lifecycle.conftest import Clair, clair, clair_of  # noqa: F401 - fixtures


@pytest.fixture
def applied(clair: Clair) -> Clair:  # noqa: F811
    """A project with secrets and an applied state."""
    create_missing(clair.deployment)
    apply_state(clair.deployment)
    return clair


def test_the_way_back_is_what_was_applied(applied: Clair) -> None:
    before = {name: applied_tree(applied.deployment, name) for name in PARTS}
    save_previous(applied.deployment)
    applied.write("config/indexer/config.yaml.d/more.yaml", "log_level: debug\n")
    applied.change_facts(clair_release="5.0.0")
    apply_state(applied.deployment)
    assert {name: applied_tree(applied.deployment, name) for name in PARTS} != before

    return_to_previous(applied.deployment)

    assert {name: applied_tree(applied.deployment, name) for name in PARTS} == before
    assert previous_deployment(applied.deployment).release == "4.9.0"
    assert json.loads((applied.deployment.applied / "deployment.json").read_bytes())["clair_release"] == "4.9.0"


def test_a_secret_that_was_rotated_since_is_the_one_that_comes_back(applied: Clair) -> None:
    save_previous(applied.deployment)
    old = applied.deployment.secret("psk")
    for name in ("psk", "database-matcher"):
        assert applied("secrets", "rotate", name).code == 0

    return_to_previous(applied.deployment)

    new = applied.deployment.secret("psk")
    assert new != old
    matcher = applied_tree(applied.deployment, "matcher")
    assert json.loads(matcher["config.yaml.d/zz-psk.yaml"])["auth"]["psk"]["key"] == new
    assert applied.deployment.secret("database-matcher") in matcher["pgpass"].decode()
    assert all(
        old.encode() not in content for name in PARTS for content in applied_tree(applied.deployment, name).values()
    )


def test_without_a_copy_there_is_no_way_back(applied: Clair) -> None:
    with pytest.raises(Problem, match="state/previous is missing"):
        return_to_previous(applied.deployment)
