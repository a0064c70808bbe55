"""The page as text: what it holds, and that it loads and runs nothing but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
from ops.verdict.report import Report

from .samples import REPORTS, Found, report, text_of


def tree_of(page: str) -> Element:
    """Return the page as a browser without scripts understands it."""
    root: Element = html5lib.parse(page, namespaceHTMLElements=False)
    return root


def data_of(page: str) -> dict[str, Any]:
    """Return what the script reads."""
    (element,) = [one for one in tree_of(page).iter("script") if one.get("id") == "data"]
    document: dict[str, Any] = json.loads(element.text or "")
    return document


def text_in(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(make: Callable[[], Report]) -> None:
    page = text_of(make(), "html")
    tree = tree_of(page)

    (policy,) = [
        one.get("content", "") for one in tree.iter("meta") if one.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    scripts = [one.text or "" for one in tree.iter("script") if one.get("type") is None]
    styles = [one.text or "" for one in tree.iter("style")]
    assert allowed["default-src"] == "'none'"
    assert {allowed["style-src"]} == {sha256(style) for style in styles}
    assert {sha256(script) for script in scripts} <= {allowed["script-src"]}


def sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_the_page_names_nothing_to_load_and_no_handler(make: Callable[[], Report]) -> None:
    for element in tree_of(text_of(make(), "html")).iter():
        assert element.tag not in ("img", "iframe", "object", "embed", "link", "base", "source", "audio", "video")
        assert [name for name in element.keys() if name.startswith("on") or name in ("src", "srcset", "style")] == []  # noqa: SIM118


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_verdict_reasons_and_feeds_stand_before_the_findings(make: Callable[[], Report]) -> None:
    one = make()
    tree = tree_of(text_of(one, "html"))

    header = next(tree.iter("header"))
    headings = [text_in(heading) for heading in tree.iter() if heading.tag in ("h2", "h3")]
    assert one.verdict in text_in(header)
    for _, result in one.labelled:
        for sentence in (*result.verdict.reasons, *result.verdict.expired):
            assert sentence in text_in(header)
    assert "Feeds" in headings
    assert "Findings" not in headings or headings.index("Feeds") < headings.index("Findings")


def test_without_scripts_every_finding_is_in_a_plain_table() -> None:
    tree = tree_of(text_of(REPORTS["aside"](), "html"))

    (fallback,) = tree.iter("noscript")
    rows = [[text_in(cell) for cell in row] for row in fallback.iter("tr")]
    assert rows[0] == ["Severity", "Package", "Installed", "Fixed in", "Vulnerability", "Status"]
    assert rows[1][:5] == ["Critical", "libssl3", "3.0.11-1", "3.0.14-1", "CVE-2024-6119"]
    assert rows[1][5].startswith("ignored until 2026-12-31")
    assert len(rows) == 6


@pytest.mark.parametrize("name", ["failed", "clean", "expired"])
def test_without_findings_there_is_no_table_of_them(name: str) -> None:
    tree = tree_of(text_of(REPORTS[name](), "html"))

    assert "Findings" not in [text_in(heading) for heading in tree.iter("h2")]
    assert list(tree.iter("script")) == []


def test_only_web_addresses_become_links() -> None:
    links = 'https://ok.example/1 javascript:alert(1) data:text/html,x //x.example "https://x.example/"'

    page = text_of(report([Found(links=links, description="see https://other.example/")]), "html")

    assert [one.get("href") for one in tree_of(page).iter("a")] == ["https://ok.example/1"]
    assert data_of(page)["vulnerabilities"][0][2] == ["https://ok.example/1"]


def test_text_from_a_feed_ends_no_element_and_stays_what_it_was() -> None:
    evil = "</script><script>alert(1)</script></noscript><!-- \u2028 \u2029 ]]> &lt; \" ' \x00"
    page = text_of(report([Found(id=evil, package=evil, description=evil, links="")]), "html")

    tree = tree_of(page)
    assert page.isascii()
    assert len(list(tree.iter("script"))) == 2
    assert data_of(page)["vulnerabilities"][0][:2] == [evil, evil.strip()]
    assert data_of(page)["rows"][0][2] == evil


def test_a_description_that_several_packages_share_stands_once() -> None:
    page = text_of(
        report([Found(package=f"package-{number}", description="a long text") for number in range(20)]), "html"
    )

    assert len(data_of(page)["rows"]) == 20
    assert page.count("a long text") == 1


def test_every_control_has_a_label() -> None:
    tree = tree_of(text_of(REPORTS["platforms"](), "html"))

    labelled = [
        control for label in tree.iter("label") for control in label.iter() if control.tag in ("input", "select")
    ]
    assert [one for one in tree.iter() if one.tag in ("input", "select") and one not in labelled] == []
    assert all(re.fullmatch(r"col", head.get("scope", "")) for head in tree.iter("th"))


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb or #rgb (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_the_contrast_that_readers_need() -> None:
    from ops.formats.format_html import FOLDER

    style = (FOLDER / "report.css").read_text(encoding="ascii")
    schemes = re.findall(r":root \{([^}]*)\}", style)
    chips = re.findall(r"\.(?:critical|high|medium|low|negligible|unknown) \{ background: (#\w+)", style)

    assert len(chips) == 6
    assert min(contrast("#fff", chip) for chip in chips) >= 4.5
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z]+): (#\w+);", scheme))
        on_cards = [colours[name] for name in ("text", "soft", "link", "bad", "good", "open")]
        assert min(contrast(colour, colours["card"]) for colour in on_cards) >= 4.5
