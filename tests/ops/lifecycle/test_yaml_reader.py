"""The YAML reader: equal to PyYAML on everything it reads, and a refusal with the place for everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ops.errors import Problem
from ops.host.yaml_reader import read_yaml

from tests.conftest import Render

WAY_OUT = "write the file as JSON, which is YAML too, or the value in double quotes"

# Pieces of which lines are made that are valid, nearly valid, or read differently by different readers.
_PIECES = [
    *"abz019.:-_/ #'\"[]{},&*!|>%@`?=~<\\$\t",
    *(
        "  ",
        "    ",
        "\n",
        "\n",
        "\n  ",
        "\n- ",
        "\n  - ",
        "- ",
        ": ",
        " #",
        ":\n",
        ":\n  ",
        "a: ",
        "b: ",
        '"a": ',
        "''",
    ),
    *("yes", "no", "on", "true", "True", "null", "012", "0x1f", "1_0", "1:30", "1.5", "1e3", "-1", "+1", ".5", "-0"),
    *("2001-01-01", "---", "...", "<<", "é", "\u2028", "\xa0", "\x85", "\x00", '"\\n"', '"\\x41"', '"\\ud83d\\ude00"'),
]
_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=12,
)
_config_words = st.from_regex(r"[a-z][a-z0-9_.-]{0,12}", fullmatch=True).filter(
    lambda word: word not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
)
_config_values = st.recursive(
    st.booleans() | st.integers(0, 10**6) | _config_words,
    lambda children: st.lists(children, min_size=1, max_size=4) | st.dictionaries(_config_words, children, min_size=1),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Compare values and their types: 1, 1.0 and True are three things in a config."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def read_or_none(text: str) -> tuple[bool, Any]:
    """Return whether the reader takes a text, and its value."""
    try:
        return True, read_yaml(text, "a.yaml")
    except Problem as problem:
        assert problem.code == 2
        assert problem.sentence.startswith("config unreadable, a.yaml:")
        return False, None


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
@example("a: - b")
@example("- - a")
@example("a:\n- b\n-\n  c: 1")
@example("'a': 'it''s'")
@example("? a\n: b")
@example("a: 'b'#c")
@example("a: [b]]")
@example("{a: b}: c")
@example("a : b")
@example("-\n- a")
@example("a:\n  - b\n - c")
@example("[a: b]")
@example("a: [:b]")
@example("{a:   c d?@  -}")
def test_what_is_read_is_what_pyyaml_reads(text: str) -> None:
    taken, value = read_or_none(text)

    if taken and not _is_json(text):
        assert same(value, yaml.safe_load(text)), text


@settings(max_examples=300)
@given(_config_values, st.sampled_from([None, False, True]))
def test_every_plain_config_is_read_in_block_and_flow_style(value: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=10**6)

    assert same(read_yaml(text.removesuffix("...\n"), "a.yaml"), value)


@settings(max_examples=300)
@given(_json_values, st.sampled_from([None, False]))
def test_a_dump_of_any_value_is_read_the_same_or_refused(value: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=10**6, allow_unicode=True)

    taken, found = read_or_none(text)

    assert not taken or _is_json(text) or same(found, yaml.safe_load(text))


@settings(max_examples=300)
@given(
    st.dictionaries(st.text(max_size=10), _json_values, max_size=5) | st.lists(_json_values), st.sampled_from([None, 1])
)
def test_json_is_read_in_full(value: Any, indent: int | None) -> None:
    assert same(read_yaml(json.dumps(value, indent=indent), "a.yaml"), value)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: |\n  text\n", 1, '"|" is not read (anchor, tag, block text, ...)'),
        ("a: &x 1\n", 1, '"&x 1" is not read (anchor, tag, block text, ...)'),
        ("a: !!str 1\n", 1, '"!!str 1" is not read (anchor, tag, block text, ...)'),
        ("a: yes\n", 1, "yes means different things to different YAML readers: put it in double quotes"),
        ("a: 012\n", 1, "012 means different things to different YAML readers: put it in double quotes"),
        ("a: 1:30\n", 1, "1:30 means different things to different YAML readers: put it in double quotes"),
        ("a: 2001-01-01\n", 1, "2001-01-01 means different things to different YAML readers: put it in double quotes"),
        ("a: 1\nb: 2\na: 3\n", 3, 'key "a" stands twice'),
        ("a:\n\tb: 1\n", 2, "tab characters are not read"),
        ("a: 1\n---\nb: 1\n", 2, "several documents and directives are not read"),
        ("a: b\n  c\n", 2, "a value over several lines is not read"),
        ("a: [b,\n  c]\n", 1, "a comma with nothing after it"),
        ("a: {b: 1\n", 1, "no } on the line of its opening bracket"),
        ("a:\n    b: 1\n  c: 2\n", 3, "the indentation fits nothing above it, or a key is missing"),
        ("1: a\n", 1, "a key that is no text: put it in double quotes"),
        ('a: "\\x41"\n', 1, "an escape that JSON does not have"),
        ("a: 'b\n", 1, "a quoted text that does not end on its line"),
        ("a: 'b' c\n", 1, 'unexpected text "c"'),
        ("a: b\x00\n", 1, "a character that YAML does not allow, or a line break of another kind"),
    ],
)
def test_everything_else_is_refused_with_its_place_and_the_way_out(text: str, line: int, reason: str) -> None:
    with pytest.raises(Problem) as caught:
        read_yaml(text, "config/indexer/config.yaml.d/own.yaml")

    sentence = f"config unreadable, config/indexer/config.yaml.d/own.yaml:{line}: {reason}"
    assert (caught.value.sentence, caught.value.hint, caught.value.code) == (sentence, WAY_OUT, 2)


def test_a_key_that_stands_twice_in_json_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        read_yaml('{"a": {"b": 1, "b": 2}}', "a.yaml")

    assert caught.value.sentence == 'config unreadable, a.yaml: key "b" stands twice'


def test_deep_nesting_is_refused_and_no_crash() -> None:
    for text in ("a: " + "[" * 500, "a: " + "{a: " * 500, "\n".join(" " * depth + "a:" for depth in range(500))):
        with pytest.raises(Problem, match="config unreadable"):
            read_yaml(text, "a.yaml")


@pytest.mark.parametrize(
    "answers", ["defaults", "everything", "offline", "oldest-release", "external-database", "tracing"]
)
def test_every_rendered_config_is_read(render: Render, answers: str) -> None:
    project = render(answers)

    for service in project.clair_services:
        assert same(read_yaml(project.text(f"config/{service}/config.yaml"), "config.yaml"), project.config(service))


def _is_json(text: str) -> bool:
    """JSON and YAML 1.1 differ on numbers such as 1e3; Clair reads JSON's."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
