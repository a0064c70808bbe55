"""copier.yml keeps its form: Copier ignores a misspelt key without a word, so every key is compared with what it knows."""

from __future__ import annotations

import re

import pytest

from extensions.rules import RULES
from tests.support import facts
from tests.support.places import ROOT

TEXT = (ROOT / "copier.yml").read_text(encoding="utf-8")
SETTINGS = {name: value for name, value in facts.parsed("copier.yml").items() if name.startswith("_")}
QUESTIONS = facts.questions()

# The order of keys in a question; multiselect and multiline say how its choices or its text are typed.
KEYS = ["type", "help", "choices", "multiselect", "default", "multiline", "when", "validator"]
KNOWN_SETTINGS = {
    *("_min_copier_version", "_subdirectory", "_jinja_extensions", "_envops", "_exclude", "_skip_if_exists"),
    *("_message_before_copy", "_message_after_copy", "_message_before_update", "_message_after_update", "_migrations"),
}


def test_three_parts_stand_in_order() -> None:
    banners = re.findall(r"^# ([A-Z ]+)$", TEXT, re.MULTILINE)

    assert banners == ["SETTINGS", "QUESTIONS", "COMPUTED VALUES"]


def test_every_setting_is_one_that_copier_knows() -> None:
    assert set(SETTINGS) <= KNOWN_SETTINGS


def test_undefined_names_in_a_template_are_errors() -> None:
    assert SETTINGS["_envops"]["undefined"] == "jinja2.StrictUndefined"


def test_oldest_copier_is_the_one_that_is_installed_for_tests() -> None:
    pinned = re.search(r'"copier>=([\d.]+),<10"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert pinned
    assert SETTINGS["_min_copier_version"].startswith(pinned[1])


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_has_known_keys_in_order(name: str) -> None:
    keys = list(QUESTIONS[name])

    assert keys == sorted(keys, key=KEYS.index)


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_is_checked_with_and_without_a_terminal(name: str) -> None:
    question = QUESTIONS[name]

    assert question["when"].startswith(f"{{{{ asked('{name}'")
    assert question["validator"] == f"{{{{ problem('{name}') }}}}"


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_has_a_default_and_help_that_ends_as_a_sentence(name: str) -> None:
    question = QUESTIONS[name]

    assert "default" in question
    assert question["help"].strip().endswith(".")
    assert len(question["help"].strip().splitlines()) <= 2


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_without_choices_has_a_rule(name: str) -> None:
    question = QUESTIONS[name]

    assert name in RULES or "choices" in question or question["type"] == "bool"


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_refers_only_to_earlier_ones(name: str) -> None:
    earlier = list(QUESTIONS)[: list(QUESTIONS).index(name)]
    later = set(QUESTIONS) - set(earlier) - {name}

    referred = set(re.findall(r"[a-z_]+", re.sub(r"'[^']*'", "", QUESTIONS[name]["when"])))

    assert referred & later == set()


def test_every_rule_belongs_to_a_question() -> None:
    assert set(RULES) <= set(QUESTIONS)


def test_no_value_is_computed_but_the_one_for_templates() -> None:
    computed = set(facts.parsed("copier.yml")) - set(SETTINGS) - set(QUESTIONS)

    assert computed == {"deployment"}
