"""A project that was updated is, file by file and mode by mode, the one that a fresh copy with its answers would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import answers as answer_files
from tests.support import copier_runs, repositories, updates
from tests.support.possible_answers import VALUES, is_possible, with_dependents
from tests.support.projects import Project
from tests.update.conftest import Renewed

# Answer files that an update cannot treat otherwise than another one, which is tested.
AS_ANOTHER = {
    "acme": "everything answers edge_tls: acme as well",
    "amqp": "webhook has the same two questions, and other words in the same lines",
    "external-database": "everything has an external database as well",
    "ipv6": "tls-files has another edge_address as well",
    "large": "everything has another deployment_size and architecture as well",
    "offline": "everything is offline as well",
    "proxy-mirror": "everything has a proxy and a mirror as well",
    "quay": "everything answers quay_enabled as well",
    "stomp": "webhook has the same two questions, and other words in the same lines",
    "tracing": "everything answers tracing_endpoint as well",
}
NAMES = [name for name in answer_files.names() if name not in AS_ANOTHER]


@st.composite
def possible_answers(draw: Callable[..., Any]) -> dict[str, Any]:
    """Draw one value for each question, none of which a rule refuses beside those before it."""
    chosen: list[Any] = []
    for values in VALUES.values():
        chosen.append(draw(st.sampled_from([value for value in values if is_possible([*chosen, value])])))
    return with_dependents(dict(zip(VALUES, chosen, strict=True)))


@pytest.mark.parametrize("name", NAMES)
def test_updated_project_of_an_answer_file_is_a_fresh_one(
    two_versions: Path, renewed: Renewed, tmp_path: Path, name: str
) -> None:
    fresh = Project(copier_runs.copy(two_versions, tmp_path / "fresh", answer_files.named(name)))

    assert updates.differences(renewed(name), fresh) == []


def test_answer_files_that_are_left_out_exist() -> None:
    assert AS_ANOTHER.keys() <= set(answer_files.names())


@settings(max_examples=3)
@given(answers=possible_answers())
def test_updated_project_of_any_answers_is_a_fresh_one(
    two_versions: Path, tmp_path_factory: pytest.TempPathFactory, answers: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    project = repositories.project(two_versions, folder / "project", answers, vcs_ref="v1.0.0")

    after = updates.updated(project)

    assert updates.differences(after, Project(copier_runs.copy(two_versions, folder / "fresh", answers))) == []
