"""The named answer files, which tests, documentation and CI share."""

from __future__ import annotations

import pytest

from extensions.catalogue import Catalogue
from tests.support import answers as answer_files
from tests.support import facts
from tests.support.answers import complete
from tests.support.places import ANSWERS


@pytest.mark.parametrize("name", answer_files.names())
def test_answer_file_says_what_it_is_and_answers_only_questions(name: str) -> None:
    first = (ANSWERS / f"{name}.yml").read_text(encoding="utf-8").splitlines()[0]

    assert first.startswith("# ")
    assert set(answer_files.named(name)) <= set(facts.questions())


@pytest.mark.parametrize("name", answer_files.names())
def test_answer_file_fixes_the_architecture(name: str) -> None:
    assert "architecture" in answer_files.named(name)  # its default is the machine's own


def test_everything_answers_every_question_with_another_value_than_the_default(catalogue: Catalogue) -> None:
    defaults, everything = complete(catalogue, {}), complete(catalogue, answer_files.named("everything"))

    same = {name for name in defaults if defaults[name] == everything[name]}

    # One place to run is offered; the check asks registries; the bundled database's version does not apply to an external one.
    assert same == {"deployment_target", "image_check", "database_version"}
