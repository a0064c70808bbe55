"""The text for Slack and what speaks its format: never markup, never too long, and true about what is left out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ops.receiving.form_message import form_slack

from tests.ops.receiving.conftest import DIGEST

THIN, NOTHING = "\u200a", "\u200b"


def row(vulnerability: str = "CVE-1", **more: str) -> dict[str, Any]:
    """Return a finding as the store has it."""
    default = {"severity": "High", "package": "openssl", "version": "", "fixed_in": "3.0.30-1", "reason": "added"}
    return {**default, "vulnerability": vulnerability, **more}


def said(*findings: dict[str, Any], image: str = "") -> str:
    body = form_slack({"id": "x", "manifest": DIGEST}, image, findings, test=False)
    return str(json.loads(body)["text"])


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("@channel @everyone", f"@{NOTHING}channel @{NOTHING}everyone"),
        ("x@here", f"x@{NOTHING}here"),
        ("*bold*", f"*{THIN}bold*{THIN}"),
        ("_italic_ ~gone~", f"_{THIN}italic_ ~{THIN}gone~"),
        ("a~~b~~", f"a~~{THIN}b~~{THIN}"),
        ("`code`", "'code'"),
        ("[a](http://e)", f"[a]{NOTHING}(http://e)"),
        ("<!channel>", "&lt;!channel&gt;"),
    ],
)
def test_what_would_be_markup_is_inert(text: str, inert: str) -> None:
    assert f"High: {inert}, openssl" in said(row(text))


@pytest.mark.parametrize("text", ["python_foo_bar", "1.0~rc1-2", f"registry.example.com/a@{DIGEST}"[:190]])
def test_names_that_are_copied_stay_as_they_are(text: str) -> None:
    assert f"High: {text}, openssl" in said(row(text))


def test_each_name_is_cut_with_a_mark() -> None:
    long = "n" * 300
    cut = "n" * 199 + "…"

    text = said(row(long, package=long, version=long, fixed_in=long), image=long)

    assert text == f"*Clair: 1 High in {cut}*\n- High: {cut}, {cut} {cut}, fixed in {cut}"


def test_text_that_is_too_long_ends_with_how_many_are_left_out() -> None:
    long = "&" * 200

    text = said(*[row(long, package=long, version=long, fixed_in=long)] * 40)

    shown = text.count("\n- ")
    assert len(text) < 40_000
    assert 5 < shown < 30
    assert re.search(rf"\nand {40 - shown} more: \./clair notifications$", text)
