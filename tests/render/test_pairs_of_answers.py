"""Every pair of answers in a few renders, with the rules themselves deciding which rows are possible."""

from __future__ import annotations

from typing import Any

import pytest
from allpairspy import AllPairs

from tests.conftest import Render
from tests.support import clair_config, compose
from tests.support.possible_answers import VALUES, is_possible, with_dependents

ROWS = [
    with_dependents(dict(zip(VALUES, values, strict=True)))
    for values in AllPairs(list(VALUES.values()), filter_func=is_possible)
]


@pytest.mark.parametrize(
    "answers", ROWS, ids=lambda row: f"{row['clair_version']}-{row['architecture']}-{row['edge_tls']}"
)
def test_possible_answers_render_a_model_and_configs_that_hold(render: Render, answers: dict[str, Any]) -> None:
    project = render(answers)

    complaints = [line for service in project.clair_services for line in clair_config.complaints(project, service)]

    assert complaints == []
    assert compose.model(project.folder)["name"] == answers["deployment_name"]


def test_every_value_is_in_some_row() -> None:
    missing = {
        f"{name}={value}"
        for name, values in VALUES.items()
        for value in values
        if not any(row.get(name) == value for row in ROWS)
    }

    assert missing == set()
