"""Whatever text a feed or an image holds, each format can be read, and the text is what it was or harmless."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from ops.formats.neutralise_text import is_web_link, markdown_code, markup, message_text, web_links
from ops.host.escape_text import printable
from sarif_kit.validate import validation_errors

from .samples import Found, failed_report, report, text_of
from .test_cyclonedx import VALIDATOR
from .test_html import data_of, tree_of
from .test_markdown import PARSER, rows, tokens

# The characters that mean something to one of the formats are worth more than their share of Unicode.
SPECIAL = "<>&\"'`|\\[](){}@#*_~$!:/.-+= \n\r\t\x00\x1b\x7f\x85\u2028\u2029\u202e\ufeff\ufffe\ud800\udfff\U0001f4a9"
PIECES = st.sampled_from(
    [
        "</script>",
        "<!--",
        "]]>",
        "</noscript>",
        "javascript:",
        "https://e.example/",
        "www.e.example",
        "{0}",
        "[a](b)",
        "```",
        "&#64;",
    ]
)


def as_json_has_it(text: str) -> str:
    """Return a text in which two halves of one character that happen to meet are that character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


TEXT = (
    st.lists(st.one_of(st.text(st.characters(), max_size=8), st.text(SPECIAL, max_size=6), PIECES), max_size=5)
    .map("".join)
    .map(as_json_has_it)
)
FOUND = st.builds(
    Found, id=TEXT, package=TEXT, installed=TEXT, fixed=TEXT, description=TEXT, links=TEXT,
    severity=st.sampled_from(["Critical", "Low", "Unknown"]) | TEXT, score=st.none() | st.floats(0, 10),
)  # fmt: skip


@given(FOUND)
def test_json_holds_the_text_as_it_was(found: Found) -> None:
    (finding,) = json.loads(text_of(report([found]), "json"))["findings"]

    assert (finding["id"], finding["package"], finding["installed"]) == (found.id, found.package, found.installed)


@given(FOUND)
def test_the_table_holds_no_control_character(found: Found) -> None:
    assert text_of(report([found]), "table").replace("\n", "").isprintable()


@given(FOUND)
def test_sarif_fits_the_schema_and_holds_the_text_as_it_was(found: Found) -> None:
    text = text_of(report([found]), "sarif")

    log: dict[str, Any] = json.loads(text)
    result = log["runs"][0]["results"][0]
    assert validation_errors(log) == []
    assert (result["ruleId"], result["properties"]["package"]) == (found.id, found.package)
    assert re.search(r"[\[\]{}\\]", result["message"]["text"]) is None
    assert text.isascii()


@given(FOUND)
def test_junit_is_xml_and_holds_the_text_without_what_xml_cannot_say(found: Found) -> None:
    text = text_of(report([found]), "junit")

    tree = ElementTree.fromstring(text)
    *_, case = tree.iter("testcase")
    expected = [tree_text(found.id), "in", tree_text(found.package), tree_text(found.installed)]
    assert (case.get("name") or "").split() == " ".join(expected).split()
    assert text.isascii()


def tree_text(text: str) -> str:
    """Return what XML can say of a text, as its reader gives it back."""
    return " ".join((ElementTree.fromstring(f"<a>{markup(text)}</a>").text or "").split())


@given(TEXT)
def test_markup_changes_nothing_but_what_xml_cannot_say(text: str) -> None:
    back = ElementTree.fromstring(f"<a>{markup(text)}</a>").text or ""

    assert [one for one, other in zip(back, text, strict=True) if one not in (other, " ")] == []
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", back) is None


@given(FOUND)
def test_markdown_has_no_markup_of_the_text(found: Found) -> None:
    one = report([found])

    kinds = [token for token in tokens(text_of(one, "markdown"))]
    links = [str(token.attrs["href"]) for token in kinds if token.type == "link_open"]
    assert {"html_inline", "html_block", "image"} & {token.type for token in kinds} == set()
    assert [link for link in links if not is_web_link(link)] == []
    assert [len(row) for row in rows(one)] == [6]


@given(TEXT)
def test_a_code_span_is_one_and_reads_as_the_text(text: str) -> None:
    (inline,) = (token for token in PARSER.parse(f"a {markdown_code(text, 1000)} z") if token.type == "inline")

    shown = printable(text, 1000).replace("|", "\u00a6").strip()
    kinds = [child.type for child in inline.children or ()]
    assert kinds == (["text", "code_inline", "text"] if shown else ["text"])
    if shown:
        assert (inline.children or ())[1].content.strip() == shown


@given(FOUND)
def test_cyclonedx_is_valid_and_holds_the_text_as_it_was(found: Found) -> None:
    text = text_of(report([found]), "cyclonedx")

    document = json.loads(text)
    assert VALIDATOR.validate_str(text) is None
    assert found.package in [one["name"] for one in document["components"]]
    assert document["vulnerabilities"][0]["id"] == found.id
    assert text.isascii()


@given(FOUND)
def test_the_page_has_its_own_elements_only_and_holds_the_text_as_it_was(found: Found) -> None:
    page = text_of(report([found]), "html")

    tree, data = tree_of(page), data_of(page)
    assert len(list(tree.iter("script"))) == 2
    assert {"img", "iframe"} & {one.tag for one in tree.iter()} == set()
    assert [link for one in tree.iter("a") if not is_web_link(link := one.get("href", ""))] == []
    assert (data["vulnerabilities"][0][0], data["rows"][0][2]) == (found.id, found.package)
    assert page.isascii()


@given(TEXT.filter(str.strip))
def test_the_reason_of_a_failed_scan_may_be_any_text(reason: str) -> None:
    failed = failed_report(reason)

    assert json.loads(text_of(failed, "json"))["reasons"] == [reason]
    assert validation_errors(json.loads(text_of(failed, "sarif"))) == []
    ElementTree.fromstring(text_of(failed, "junit"))
    assert VALIDATOR.validate_str(text_of(failed, "cyclonedx")) is None
    assert len(list(tree_of(text_of(failed, "html")).iter("script"))) == 0
    assert [token for token in tokens(text_of(failed, "markdown")) if token.type.startswith("html")] == []


@given(TEXT)
def test_a_message_has_no_link_and_no_placeholder(text: str) -> None:
    assert re.search(r"[\[\]{}\\\n]", message_text(text)) is None


@given(TEXT)
def test_a_link_is_an_address_of_the_web(text: str) -> None:
    for link in web_links(text):
        assert re.match(r"https?://[^/@\s]+", link, re.IGNORECASE)
        assert not set(link) & set('<>"`\\ {}|^\n')
