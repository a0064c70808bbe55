"""Markdown: a table a person reads in a comment, in which nothing from outside is more than text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from markdown_it import MarkdownIt
from ops.verdict.report import Report

from .samples import REPORTS, Found, report, text_of

# Everything a site may do with text: HTML, bare addresses as links, tables.
PARSER = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")


def tokens(text: str) -> Iterator[Any]:
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table, as text."""
    found: list[list[list[str]]] = []
    for token in PARSER.parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level >= 4 and found and found[-1]:
            found[-1][-1].append("".join(child.content for child in token.children or ()))
    return found


def rows(report: Report) -> list[list[str]]:
    """Return the rows of the findings' table without its head."""
    return tables(text_of(report, "markdown"))[0][1:]


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(make: Callable[[], Report]) -> None:
    for table in tables(text_of(make(), "markdown")):
        assert {len(row) for row in table} == {len(table[0])}


def test_the_findings_that_fail_come_first() -> None:
    assert [(row[0], row[4], row[5]) for row in rows(report())] == [
        ("Critical", "CVE-2024-6119", "fails"),
        ("Unknown", "CVE-2025-31115", "fails"),
        ("High", "CVE-2024-0727", ""),
        ("High*", "CVE-2025-1000", ""),
        ("Low", "CVE-2010-4756", ""),
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [("findings", "\u274c Clair: findings"), ("clean", "\u2705 Clair: clean"), ("undecided", "\u2753 Clair: undecided"),
     ("failed", "\u2753 Clair: undecided"), ("platforms-undecided", "\u2753 Clair: undecided"), ("expired", "\u274c Clair: findings")],
)  # fmt: skip
def test_the_title_is_the_verdict(name: str, title: str) -> None:
    assert text_of(REPORTS[name](), "markdown").splitlines()[0] == f"## {title}"


def test_a_long_list_is_cut_and_says_so() -> None:
    found = [Found(f"CVE-2024-{number}", severity="Critical" if number < 120 else "Low") for number in range(5000)]

    text = text_of(report(found), "markdown")

    assert len(text) < 65_536
    assert len(tables(text)[0]) == 101
    assert "4900 more findings are not shown here, 20 of which fail: `--format html` shows all." in text


def test_only_web_addresses_become_links() -> None:
    found = [
        Found("CVE-1", links="https://ok.example/a_(b)|c"),
        Found("CVE-2", links="javascript:alert(1) ftp://x/ //x/ https://a@b.example/ http://"),
        Found("CVE-3", links='https://x.example/"><img src=x> http://ok.example/2'),
    ]

    links = [token.attrs["href"] for token in tokens(text_of(report(found), "markdown")) if token.type == "link_open"]

    assert links == ["http://ok.example/2"]


EVIL = (
    "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "@octocat", "a|b", "`|`", "``", "\\|", "a\nb", "# x",
    "&lt;", "www.evil.example", "https://evil.example", ":tada:", "$x$", "~~a~~", "**a**", "\u202eabc", "```", " ",
)  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_text_from_outside_is_only_a_code_span(text: str) -> None:
    evil = report([Found(id=text, package=text, installed=text, fixed=text, links="")])

    written = text_of(evil, "markdown")

    kinds = {token.type for token in tokens(written)}
    assert {"html_inline", "html_block", "link_open", "image", "s_open"} & kinds == set()
    (row,) = rows(evil)
    assert len(row) == 6
    outside = [token.content for token in tokens(written) if token.type == "text"]
    assert text not in outside or not text.strip()
