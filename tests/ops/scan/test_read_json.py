"""JSON that two readers could understand differently is not read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.host.read_json import Unreadable, ascii_json, read_object, read_text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "the answer is empty", id="empty"),
        pytest.param(b"null", "the answer is null", id="null"),
        pytest.param(b"[]", "the answer is JSON, but no object", id="list"),
        pytest.param(b'{"a": 1', "the JSON ends after 7 characters, before it is complete", id="cut"),
        pytest.param(b'{"a": 1} x', "the answer is not JSON (at character 9)", id="more behind it"),
        pytest.param(b"<html><body>502</body></html>", "the answer is a web page, not JSON", id="web page"),
        pytest.param(b"Bad Gateway", "the answer is not JSON (at character 0)", id="text"),
        pytest.param(b'{"a": 1, "a": 2}', "a name stands twice in one object", id="doubled name"),
        pytest.param(b'{"a": NaN}', "NaN is not JSON", id="not a number"),
        pytest.param(b'{"a": "\xff"}', "the answer is not UTF-8 text", id="other encoding"),
        pytest.param(b'{"a": "\xf0\x9f', "the answer is not UTF-8 text", id="cut within a character"),
        pytest.param(b"[" * 100_000, "the answer is JSON of a form no program writes", id="deep"),
    ],
)
def test_what_is_no_json_object_is_told_in_words(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as unreadable:
        read_object(body)

    assert str(unreadable.value) == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_the_ascii_form_means_the_same(value: object, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        text = ascii_json(body)
    except Unreadable:  # a lone surrogate, which is no UTF-8
        return

    assert text.isascii()
    assert read_text(text) == value
