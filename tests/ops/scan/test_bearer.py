"""Tokens, against an independent signer."""

from __future__ import annotations

import base64

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.clair import bearer
from ops.errors import Problem

KEY = b"a key of thirty-two bytes length"
NOW = 1_700_000_000


def test_a_token_is_one_that_another_library_accepts() -> None:
    claims = jwt.decode(bearer.token(KEY, "clairctl"), KEY, algorithms=["HS256"])

    assert claims["iss"] == "clairctl"
    assert set(claims) == {"iss", "exp"}


@pytest.mark.parametrize(
    ("claims", "key", "good"),
    [
        pytest.param({"iss": "quay", "exp": NOW + 60}, KEY, True, id="in date"),
        pytest.param({"iss": "quay", "exp": NOW - 10}, KEY, True, id="within the leeway"),
        pytest.param({"iss": "quay", "exp": NOW - 60}, KEY, False, id="expired"),
        pytest.param({"iss": "quay", "exp": NOW + 90, "nbf": NOW + 60}, KEY, False, id="not yet"),
        pytest.param({"iss": "nobody", "exp": NOW + 60}, KEY, False, id="other issuer"),
        pytest.param({"iss": "quay"}, KEY, False, id="no expiry"),
        pytest.param({"iss": "quay", "exp": NOW + 60}, KEY[:-1] + b"!", False, id="other key"),
    ],
)
def test_a_token_of_another_signer_is_judged_as_clair_does(claims: dict[str, object], key: bytes, good: bool) -> None:
    token = jwt.encode(claims, key, algorithm="HS256")

    assert (bearer.verify(token, KEY, ["quay"], NOW) is not None) is good


def test_another_algorithm_is_not_accepted() -> None:
    assert (
        bearer.verify(jwt.encode({"iss": "quay", "exp": NOW + 60}, KEY * 2, algorithm="HS512"), KEY * 2, ["quay"], NOW)
        is None
    )


@given(st.text())
def test_any_text_is_no_token_and_no_error(text: str) -> None:
    assert bearer.verify(text, KEY, ["quay"]) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("not base64!", "not padded base64"),
        (base64.b64encode(b"x").decode().rstrip("="), "not padded base64"),
    ],
)
def test_a_key_that_clair_would_not_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Problem) as refusal:
        bearer.decode_key(text)

    assert refusal.value.sentence == f"key unreadable, secrets/psk: {reason}"
