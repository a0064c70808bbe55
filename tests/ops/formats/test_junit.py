"""JUnit: what fails, what is an error, what is skipped; read by a parser of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml
from ops.verdict.report import Report

from .samples import REPORTS, Found, report, text_of

KINDS = ("failure", "error", "skipped")


def cases_of(report: Report) -> list[tuple[str, str]]:
    """Return name and outcome of every case."""
    tree = ElementTree.fromstring(text_of(report, "junit"))
    return [
        (case.get("name", ""), next((kind for kind in KINDS if case.find(kind) is not None), "passed"))
        for case in tree.iter("testcase")
    ]


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_the_counts_are_those_of_the_cases(make: Callable[[], Report]) -> None:
    text = text_of(make(), "junit")
    found = Counter(kind for _, kind in cases_of(make()))

    parsed: Any = JUnitXml.fromstring(text.encode())
    root = ElementTree.fromstring(text)

    assert parsed.tests == sum(found.values())
    assert (parsed.failures, parsed.errors, parsed.skipped) == (found["failure"], found["error"], found["skipped"])
    assert int(root.get("tests", "")) == parsed.tests
    for suite in root:
        own = Counter(kind for case in suite.iter("testcase") for kind in KINDS if case.find(kind) is not None)
        assert [int(suite.get(name, "")) for name in ("failures", "errors", "skipped")] == [own[kind] for kind in KINDS]


def test_failing_findings_fail_and_the_others_are_skipped() -> None:
    assert cases_of(report()) == [
        ("the scan is decided", "passed"),
        ("Debian GNU/Linux 12 (bookworm)", "passed"),
        ("CVE-2024-6119 in libssl3 3.0.11-1", "failure"),
        ("CVE-2024-0727 in libssl3 3.0.11-1", "skipped"),
        ("CVE-2025-1000 in zlib1g 1:1.2", "skipped"),
        ("CVE-2010-4756 in libc6 2.36-9", "skipped"),
        ("CVE-2025-31115 in liblzma5 5.4.1", "failure"),
    ]


@pytest.mark.parametrize("name", ["undecided", "failed"])
def test_an_undecided_scan_is_an_error_that_gives_the_reasons(name: str) -> None:
    tree = ElementTree.fromstring(text_of(REPORTS[name](), "junit"))

    (error,) = tree.iter("error")
    assert error.text == "\n".join(REPORTS[name]().results[0].verdict.reasons)


def test_a_clean_image_has_cases_that_pass() -> None:
    assert cases_of(REPORTS["clean"]()) == [
        ("the scan is decided", "passed"),
        ("Debian GNU/Linux 12 (bookworm)", "passed"),
    ]


def test_an_expired_ignore_entry_is_a_failure() -> None:
    assert (".clair-ignore.json, entry 1 (CVE-2020-1): expired on 2026-01-31", "failure") in cases_of(
        REPORTS["expired"]()
    )


def test_what_is_ignored_says_why() -> None:
    tree = ElementTree.fromstring(text_of(REPORTS["aside"](), "junit"))

    messages = {
        case.get("name"): skipped.get("message") for case in tree.iter("testcase") for skipped in case.iter("skipped")
    }
    assert messages["CVE-2024-6119 in libssl3 3.0.11-1"] == (
        "Critical, fixed in 3.0.14-1; ignored until 2026-12-31, entry 1 (CVE-2024-6119): not reachable: see T-12"
    )


def test_each_platform_is_a_suite_and_their_differences_are_another() -> None:
    tree = ElementTree.fromstring(text_of(REPORTS["platforms"](), "junit"))

    assert [suite.get("name") for suite in tree] == [
        "registry.example.com:5000/team/app:1.2 linux/amd64",
        "registry.example.com:5000/team/app:1.2 linux/arm64",
        "differences between platforms",
    ]


def test_control_characters_and_markup_are_only_text() -> None:
    evil = "a\x00\x1b[31m<b>&amp;\"' ]]>\u202e\ufffe\ud800 [[ATTACHMENT|/etc/passwd]]"

    text = text_of(report([Found(package=evil, description=evil)]), "junit")

    tree = ElementTree.fromstring(text)
    names = [case.get("name", "") for case in tree.iter("testcase")]
    assert "in a  [31m<b>&amp;\"' ]]>" in names[-1]
    assert text.isascii()
    assert list(tree.iter("system-out")) == []
