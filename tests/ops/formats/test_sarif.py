"""SARIF: the schema, what code scanning needs, and that an undecided scan never looks like an empty one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from ops.verdict.report import Report
from sarif_kit.validate import validation_errors

from .samples import REPORTS, Found, report, result, text_of, with_image


def log_of(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text_of(report, "sarif"))
    return document


def run_of(report: Report) -> dict[str, Any]:
    (run,) = log_of(report)["runs"]
    assert isinstance(run, dict)
    return run


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_every_kind_of_report_fits_the_schema(make: Callable[[], Report]) -> None:
    assert validation_errors(log_of(make())) == []


def test_a_rule_has_help_severity_and_a_link() -> None:
    rule = next(one for one in run_of(report())["tool"]["driver"]["rules"] if one["id"] == "CVE-2024-6119")

    assert rule["properties"]["security-severity"] == "9.0"
    assert rule["help"]["text"].startswith("Severity Critical. Update the packages")
    assert "```text\nA crash in the certificate check.\n```" in rule["help"]["markdown"]
    assert rule["helpUri"] == "https://tracker.example/CVE-2024-6119"


@pytest.mark.parametrize(
    ("severity", "score", "shown"),
    [
        ("Critical", 9.8, "9.8"),
        ("Critical", 7.5, "9.0"),  # the distribution's word goes before the score
        ("High", 9.8, "7.0"),
        ("High", 7.4, "7.4"),
        ("Medium", None, "4.0"),
        ("Low", None, "0.1"),
        ("Negligible", 0.0, "0.1"),
        ("Unknown", 5.5, "5.5"),
        ("Unknown", None, None),
    ],
)
def test_security_severity_says_the_same_as_the_verdict(severity: str, score: float | None, shown: str | None) -> None:
    rules = run_of(report([Found(severity=severity, score=score)]))["tool"]["driver"]["rules"]

    assert rules[-1]["properties"].get("security-severity") == shown


def test_every_result_points_at_its_rule() -> None:
    run = run_of(report())

    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == [
        one["ruleId"] for one in run["results"]
    ]


def test_only_what_fails_is_an_error() -> None:
    levels = {one["ruleId"]: (one["level"], one["properties"]["fails"]) for one in run_of(report())["results"]}

    assert levels == {
        "CVE-2024-6119": ("error", True),
        "CVE-2024-0727": ("warning", False),
        "CVE-2025-1000": ("warning", False),
        "CVE-2010-4756": ("note", False),
        "CVE-2025-31115": ("error", True),
    }


@pytest.mark.parametrize(
    ("image", "uri"),
    [
        ("registry.example.com:5000/team/app:1.2", "registry.example.com_5000/team/app"),
        ("docker.io/library/debian:12", "docker.io/library/debian"),
        ("[::1]:5000/app@sha256:" + "a" * 64, "_1_5000/app"),
        ("app:1", "app"),
    ],
)
def test_the_location_is_a_relative_path_without_a_scheme(image: str, uri: str) -> None:
    (location,) = run_of(with_image(report([Found()]), image))["results"][0]["locations"]

    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert ":" not in uri.partition("/")[0]


def test_fingerprints_survive_another_build_and_differ_between_findings() -> None:
    def prints(found: list[Found], image: str) -> list[str]:
        run = run_of(with_image(report(found), image))
        return [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]

    first = prints([Found(), Found("CVE-2"), Found(package="openssl")], "example.com/app:1")
    second = prints([Found(installed="3.0.12"), Found("CVE-2"), Found(package="openssl")], "example.com/app:2")

    assert sorted(first) == sorted(second)
    assert len(set(first)) == 3


def test_the_same_finding_in_two_versions_has_two_fingerprints() -> None:
    run = run_of(report([Found(installed="1"), Found(installed="2")]))

    hashes = [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]
    assert [one.rpartition(":")[2] for one in hashes] == ["1", "2"]


@pytest.mark.parametrize("name", ["undecided", "failed"])
def test_an_undecided_scan_is_a_run_that_failed_with_a_result_of_its_own(name: str) -> None:
    run = run_of(REPORTS[name]())

    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 3)
    assert invocation["toolExecutionNotifications"][0]["level"] == "error"
    assert run["results"][0]["ruleId"] == "clair-undecided"
    assert run["results"][0]["level"] == "error"


def test_a_clean_scan_is_a_successful_run_without_results() -> None:
    run = run_of(REPORTS["clean"]())

    assert run["invocations"][0]["executionSuccessful"] is True
    assert run["results"] == []


def test_an_expired_ignore_entry_is_a_result() -> None:
    (found,) = run_of(REPORTS["expired"]())["results"]

    assert found["ruleId"] == "clair-ignore-expired"
    assert found["message"]["text"].endswith("entry 1 (CVE-2020-1): expired on 2026-01-31")


def test_what_is_ignored_is_suppressed_and_what_is_known_unchanged() -> None:
    results = {one["ruleId"]: one for one in run_of(REPORTS["aside"]())["results"]}

    (suppression,) = results["CVE-2024-6119"]["suppressions"]
    assert suppression["status"] == "accepted"
    assert suppression["justification"].endswith("not reachable: see T-12")
    assert results["CVE-2025-31115"]["baselineState"] == "unchanged"
    assert results["CVE-2024-0727"]["baselineState"] == "new"


def test_each_platform_is_a_run_with_a_category_of_its_own() -> None:
    runs = log_of(REPORTS["platforms"]())["runs"]

    assert [run["automationDetails"]["id"] for run in runs] == [
        "clair/registry.example.com_5000/team/app/linux/amd64/",
        "clair/registry.example.com_5000/team/app/linux/arm64/",
    ]
    assert {one["ruleId"] for one in runs[1]["results"] if one["properties"].get("onSomePlatformsOnly")} == {
        "CVE-2024-6119",
        "CVE-2024-0727",
    }


def test_a_language_without_a_feed_is_a_warning() -> None:
    told = run_of(REPORTS["languages"]())["invocations"][0]["toolExecutionNotifications"]

    assert ("warning", "npm packages: no feed that is loaded covers them; 1 package") in [
        (one["level"], one["message"]["text"]) for one in told
    ]


def test_text_of_a_feed_makes_no_link_and_no_placeholder_in_a_message() -> None:
    evil = "[click](javascript:alert(1)) {0} {{x}} \\[y\\]"

    run = run_of(report([Found(id=evil, package=evil, description=evil, links="javascript:alert(1)")]))

    messages = [one["message"]["text"] for one in run["results"]]
    messages += [
        run["tool"]["driver"]["rules"][-1][name]["text"] for name in ("shortDescription", "fullDescription", "help")
    ]
    assert [text for text in messages if re.search(r"[\[\]{}\\]", text)] == []
    assert "helpUri" not in run["tool"]["driver"]["rules"][-1]
    assert run["results"][0]["properties"]["package"] == evil


def test_a_result_of_the_local_docker_says_which_image() -> None:
    from dataclasses import replace

    one = result(())
    local = Report((replace(one, image=replace(one.image, id="sha256:0123")),), "4.9.0")

    assert run_of(local)["properties"]["image id"] == "sha256:0123"
