"""Reading raw answers: as text from --data, typed from a data file, and showing them again in a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.values import Unreadable, parse_answer, shown, split_list

CHOICES = ("off", "files", "acme")

READ: list[tuple[str, Any, Any]] = [
    ("str", "text", "text"),
    ("str", "", ""),
    ("str", 4.1, "4.1"),
    ("int", "7070", 7070),
    ("int", " 7070 ", 7070),
    ("int", "+7", 7),
    ("int", "-1", -1),
    ("int", 16, 16),
    ("bool", "yes", True),
    ("bool", "OFF", False),
    ("bool", 1, True),
    ("bool", False, False),
    ("yaml", "[a, b]", ["a", "b"]),
    ("yaml", "a, b", ["a", "b"]),
    ("yaml", "", []),
    ("yaml", None, []),
    ("yaml", ["a", 1], ["a", "1"]),
]
NUMBER = "is no whole number: write digits only."
WORD = "is neither true nor false: write true or false."
WORDS = "is no list of words: write [one, two]."
UNREADABLE: list[tuple[str, Any, str]] = [
    ("str", None, "is empty: give a value."),
    ("str", ["a"], "is a list where one value is expected: give a single value."),
    ("str", {"a": 1}, "is a list where one value is expected: give a single value."),
    ("int", "seven", NUMBER),
    ("int", "", NUMBER),
    ("int", "1.5", NUMBER),
    ("int", 1.0, NUMBER),
    ("int", "0x10", NUMBER),
    ("int", "٣", NUMBER),
    ("int", "1234567890", NUMBER),
    ("int", True, NUMBER),
    ("int", None, NUMBER),
    ("int", [1], NUMBER),
    ("bool", "maybe", WORD),
    ("bool", "", WORD),
    ("bool", 2, WORD),
    ("bool", None, WORD),
    ("bool", [True], WORD),
    ("yaml", "[a", "cannot be read as a list: write [one, two]."),
    ("yaml", {"a": 1}, WORDS),
    ("yaml", "{a: 1}", WORDS),
    ("yaml", [["a"]], WORDS),
    ("yaml", True, WORDS),
    ("yaml", 5, WORDS),
]


@pytest.mark.parametrize(("kind", "raw", "value"), READ, ids=repr)
def test_raw_answer_is_read(kind: str, raw: Any, value: Any) -> None:
    assert parse_answer(raw, kind) == value


@pytest.mark.parametrize(("kind", "raw", "reason"), UNREADABLE, ids=repr)
def test_raw_answer_is_refused(kind: str, raw: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        parse_answer(raw, kind)

    assert str(refusal.value) == reason


@pytest.mark.parametrize("raw", CHOICES)
def test_choice_is_read(raw: str) -> None:
    assert parse_answer(raw, "str", CHOICES) == raw


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("maybe", "is not supported: choose off, files or acme."),
        ("", "is not supported: choose off, files or acme."),
        (False, "is not supported: choose off, files or acme (in YAML quote it: 'off')."),
    ],
)
def test_other_than_a_choice_is_refused(raw: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        parse_answer(raw, "str", CHOICES)

    assert str(refusal.value) == reason


@pytest.mark.parametrize("raw", ["[acme, files]", ["acme", "files"], '["files", "acme", "acme"]'])
def test_multiselect_is_read_in_the_order_of_the_choices(raw: Any) -> None:
    assert parse_answer(raw, "str", CHOICES, multiselect=True) == ["files", "acme"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("acme", "is no list: write [off, files]."),
        ("", "is no list: write [off, files]."),
        (None, "is no list: write [off, files]."),
        ("[acme", "cannot be read as a list: write [off, files]."),
        ("[acme, maybe]", "holds 'maybe', which is not supported: choose from off, files, acme."),
        ([["acme"]], "holds ['acme'], which is not supported: choose from off, files, acme."),
    ],
)
def test_bad_multiselect_is_refused(raw: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        parse_answer(raw, "str", CHOICES, multiselect=True)

    assert str(refusal.value) == reason


@given(
    raw=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    kind=st.sampled_from(["str", "int", "bool", "yaml"]),
    multiselect=st.booleans(),
)
def test_any_raw_answer_is_read_or_refused(raw: Any, kind: str, multiselect: bool) -> None:
    try:
        value = parse_answer(raw, kind, CHOICES if multiselect else (), multiselect)
    except Unreadable as refusal:
        assert str(refusal).isprintable()
    else:
        assert isinstance(value, (str, int, bool, list))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "''"),
        (4.1, "'4.1'"),
        (["a", "b"], "['a', 'b']"),
        ("two\nlines", r"'two\nlines'"),
        ("x" * 81, f"'{'x' * 80}…'"),
        ("ops@example.com", "'ops@example.com'"),
        ("http://user:hunter2@proxy.example.com", "'http://***@proxy.example.com'"),
        ("http://user:hun/ter2@proxy.example.com", "'http://***@proxy.example.com'"),
        ("http://user:hun@ter2@proxy.example.com", "'http://***@proxy.example.com'"),
        ("user:hunter2@proxy.example.com:3128", "'***@proxy.example.com:3128'"),
        ("https://hooks.example.com/in?key=hunter2", "'https://hooks.example.com/in?***'"),
        ("https://hooks.example.com/in#hunter2", "'https://hooks.example.com/in#***'"),
        ("registry.example.com/m?key=hunter2", "'registry.example.com/m?***'"),
    ],
)
def test_value_is_shown_in_one_line_without_its_secret(value: Any, text: str) -> None:
    assert shown(value) == text


@given(value=st.text())
def test_any_value_is_shown_in_one_short_line(value: str) -> None:
    text = shown(value)

    assert text.isprintable()
    assert len(text) <= 90


@given(
    before=st.sampled_from(["", "http://", "amqps://"]),
    secret=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=8),
)
def test_password_in_a_url_is_never_shown(before: str, secret: str) -> None:
    assert secret not in shown(f"{before}user:{secret}@example.com")


def test_list_may_be_written_with_commas_and_spaces() -> None:
    assert split_list("a,b  c,") == ["a", "b", "c"]
