"""Ignore file, baseline and what every format says of them, through the whole scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import FakeLedger, Run
from .servers import Clair, Registry

# The recorded report fails on these: two critical ones and one of unknown severity.
FAILING = ("CVE-2026-11111", "CVE-2026-33333", "CVE-2026-22222")
LATER = "2099-12-31"
Ignore = Callable[..., Path]


@pytest.fixture
def ignore(deployment: Path) -> Ignore:
    """Write the deployment's ignore file with an entry for each id, or with the entries given."""

    def write(*ids: str, name: str = ".clair-ignore.json", **changes: Any) -> Path:
        path = deployment / name
        entries = [{"id": one, "reason": "accepted in T-7", "expires": LATER, **changes} for one in ids]
        path.write_text(json.dumps({"ignore": entries}))
        return path

    return write


def test_what_is_ignored_does_not_fail_and_is_shown_with_its_reason(scan: Run, ignore: Ignore) -> None:
    ignore(*FAILING)

    outcome = scan()

    assert (outcome.code, outcome.err) == (0, "")
    assert "options   --fail-on critical --max-feed-age 24h --ignore .clair-ignore.json (3 entries)" in outcome.out
    assert (
        "  CVE-2026-11111 in libssl3: ignored until 2099-12-31, entry 1 (CVE-2026-11111): accepted in T-7"
        in outcome.out
    )
    assert outcome.out.splitlines()[-1] == "VERDICT clean: no finding at or above critical, 3 ignored"


def test_one_finding_that_is_not_ignored_still_fails(scan: Run, ignore: Ignore) -> None:
    ignore(*FAILING[:2])

    assert scan().code == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"package": "libssl3"}, 1),  # the third is in zlib1g
        ({"image": "*/demo/debian"}, 0),
        ({"image": "*/demo/debian:12"}, 0),
        ({"image": "*/demo/alpine"}, 1),
    ],
)
def test_package_and_image_narrow_an_entry(scan: Run, ignore: Ignore, changes: dict[str, str], code: int) -> None:
    ignore(*FAILING, **changes)

    assert scan().code == code


def test_an_expired_entry_fails_a_clean_image_and_is_named(scan: Run, clair: Clair, ignore: Ignore) -> None:
    clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}
    ignore("CVE-2026-11111", expires="2026-11-01")

    outcome = scan()

    assert outcome.code == 1
    assert outcome.out.splitlines()[-2:] == [
        "VERDICT findings: no finding at or above critical; 1 ignore entry has expired",
        "  - .clair-ignore.json, entry 1 (CVE-2026-11111): expired on 2026-11-01",
    ]


def test_an_expired_entry_ignores_nothing(scan: Run, ignore: Ignore) -> None:
    ignore(*FAILING, expires="2026-11-01")

    document = scan("--format", "json").json

    assert (document["verdict"], document["failing"], len(document["expired"])) == ("findings", 3, 3)


def test_an_expired_entry_of_another_image_fails_nothing(scan: Run, clair: Clair, ignore: Ignore) -> None:
    clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}
    ignore("CVE-2026-11111", expires="2026-11-01", image="*/demo/alpine")

    assert scan().code == 0


def test_an_entry_that_matches_nothing_is_named(scan: Run, ignore: Ignore) -> None:
    ignore("CVE-1999-1")

    assert "note      .clair-ignore.json, entry 1 (CVE-1999-1): nothing of this image matches" in scan().out


def test_another_file_stands_in_for_the_deployments(
    scan: Run, ignore: Ignore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore(*FAILING, name="other.json")

    by_option = scan("--ignore", str(tmp_path / "deployment" / "other.json"))
    monkeypatch.setenv("IGNORE", str(tmp_path / "deployment" / "other.json"))
    by_variable = scan()

    assert (by_option.code, by_variable.code) == (0, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"ignore": [{"id": "CVE-1", "reason": "x", "expires": "2099-12-31", "expire": "x"}]}',
         "ignore file wrong, .clair-ignore.json: entry 1 (CVE-1), key 'expire': no such key; did you mean 'expires'"),
        ("{", "ignore file wrong, .clair-ignore.json: line 1, column 2: expecting property name enclosed in double quotes"),
    ],
)  # fmt: skip
def test_a_wrong_ignore_file_ends_the_command_before_the_scan(
    scan: Run, clair: Clair, deployment: Path, text: str, sentence: str
) -> None:
    (deployment / ".clair-ignore.json").write_text(text)

    outcome = scan()

    assert (outcome.code, outcome.err.splitlines()[0]) == (2, sentence)
    assert clair.requests == []


def test_an_ignore_file_that_is_a_dead_link_is_told(scan: Run, deployment: Path) -> None:
    (deployment / ".clair-ignore.json").symlink_to("nowhere")

    outcome = scan()

    assert outcome.code == 2
    assert outcome.err.startswith("ignore file unreadable, .clair-ignore.json: no such file or directory\n")


def baseline_of(scan: Run, path: Path, *arguments: str) -> Path:
    """Scan into a file and return it."""
    scan("--format", "json", "--output", str(path), *arguments)
    return path


def test_what_the_baseline_knows_does_not_fail(scan: Run, tmp_path: Path) -> None:
    baseline = baseline_of(scan, tmp_path / "last.json")

    outcome = scan("--baseline", str(baseline))

    assert outcome.code == 0
    assert f" --baseline {baseline} (of 20" in outcome.out
    assert "  CVE-2026-11111 in libssl3: known from the baseline" in outcome.out
    assert outcome.out.splitlines()[-1] == "VERDICT clean: no new finding at or above critical, 5 known"


def test_a_new_finding_fails(scan: Run, clair: Clair, tmp_path: Path) -> None:
    clair.change_report = without("CVE-2026-33333")
    baseline = baseline_of(scan, tmp_path / "last.json")
    clair.change_report = lambda report: report

    outcome = scan("--baseline", str(baseline))

    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == "VERDICT findings: 1 new finding at or above critical, 4 known"


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    def change(report: dict[str, Any]) -> dict[str, Any]:
        kept = {key: item for key, item in report["vulnerabilities"].items() if item["name"] != name}
        pairs = {
            package: [one for one in ids if one in kept] for package, ids in report["package_vulnerabilities"].items()
        }
        return {**report, "vulnerabilities": kept, "package_vulnerabilities": pairs}

    return change


def test_a_finding_that_has_become_more_severe_is_new(scan: Run, clair: Clair, tmp_path: Path) -> None:
    def milder(report: dict[str, Any]) -> dict[str, Any]:
        for item in report["vulnerabilities"].values():
            if item["name"] == "CVE-2026-11111":
                item["normalized_severity"] = "Low"
        return report

    clair.change_report = milder
    baseline = baseline_of(scan, tmp_path / "last.json")
    clair.change_report = lambda report: report

    assert scan("--baseline", str(baseline)).code == 1


def test_what_was_ignored_in_the_baseline_is_not_known(scan: Run, ignore: Ignore, tmp_path: Path) -> None:
    path = ignore(*FAILING)
    baseline = baseline_of(scan, tmp_path / "last.json")
    path.unlink()

    assert scan("--baseline", str(baseline)).code == 1


def test_another_tag_of_the_repository_has_the_same_baseline(scan: Run, registry: Registry, tmp_path: Path) -> None:
    registry.push("demo/debian", "13")
    baseline = baseline_of(scan, tmp_path / "last.json")

    assert scan("--baseline", str(baseline), image="demo/debian:13").code == 0


def test_a_baseline_may_be_the_result_of_a_scan_with_a_baseline(scan: Run, tmp_path: Path) -> None:
    first = baseline_of(scan, tmp_path / "first.json")
    second = baseline_of(scan, tmp_path / "second.json", "--baseline", str(first))

    assert scan("--baseline", str(second)).code == 0


def refusal(outcome: Any) -> tuple[int, str]:
    return outcome.code, outcome.err.splitlines()[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the file is empty"),
        ("null", "the file is null"),
        ("[]", "the file is JSON, but no object"),
        ("{}", "the file has no format"),
        ("not json", "the file is not JSON (at character 0)"),
        ('{"version": "2.1.0", "runs": []}', "it is SARIF"),
        ('{"bomFormat": "CycloneDX"}', "it is CycloneDX"),
        ('{"manifest_hash": "x", "package_vulnerabilities": {}}', "it is Clair's own report"),
        ('{"format": 2}', "it is of format 2; this version reads 1"),
        ('{"format": 1, "image": "docker.io/library/alpine:3"}', "it is of another image, docker.io/library/alpine:3"),
        ('{"format": 1, "image": "IMAGE"}', "the file has no verdict"),
        ('{"format": 1, "image": "IMAGE", "verdict": "fine"}', "its verdict is 'fine'"),
        ('{"format": 1, "image": "IMAGE", "verdict": "clean", "platform": "linux/amd64", "findings": [1]}',
         "a finding is no object"),
        ('{"format": 1, "image": "IMAGE", "verdict": "clean", "platform": "linux/amd64", "findings": [{"severity": "X"}]}',
         "a finding has the severity 'X'"),
        ('{"format": 1, "image": "IMAGE", "verdict": "clean", "platform": "linux/amd64", "findings": [{"severity": "Low"}]}',
         "a finding has no id"),
        ('{"format": 1, "image": "IMAGE", "verdict": "clean", "platform": "linux/arm64", "findings": [], "time": "T"}',
         "it is of linux/arm64, not of linux/amd64"),
    ],
)  # fmt: skip
def test_a_baseline_that_is_no_result_of_this_image_is_refused(
    *, scan: Run, clair: Clair, registry: Registry, tmp_path: Path, content: str, reason: str
) -> None:
    path = tmp_path / "last.json"
    path.write_text(content.replace("IMAGE", f"{registry.name}/demo/debian:12"))

    outcome = scan("--baseline", str(path))

    assert refusal(outcome) == (2, f"baseline not usable, {path}: {reason}")
    assert [request.method for request in clair.requests] == []


def test_a_baseline_that_is_not_there_is_told(scan: Run) -> None:
    assert refusal(scan("--baseline", "missing.json")) == (
        2,
        "baseline unreadable, missing.json: no such file or directory",
    )


def test_an_undecided_baseline_is_undecided(scan: Run, clair: Clair, tmp_path: Path) -> None:
    clair.change_report = lambda report: None
    baseline = baseline_of(scan, tmp_path / "last.json")
    clair.change_report = lambda report: report
    result = tmp_path / "result.json"

    outcome = scan("--baseline", str(baseline), "--format", "json", "--output", str(result))

    reason = f"baseline not usable, {baseline}: that scan was undecided, so nothing can be called new against it"
    assert refusal(outcome) == (3, reason)
    assert json.loads(result.read_text())["verdict"] == "undecided"


def test_an_undecided_scan_stays_undecided_whatever_is_ignored(scan: Run, ledger: FakeLedger, ignore: Ignore) -> None:
    ledger.rows.clear()
    ignore(*FAILING)
    ignore("CVE-2026-11111", expires="2026-11-01")

    assert scan().code == 3
