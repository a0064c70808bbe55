"""The command `scan`: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ops.registries.parse_reference import parse_reference
from ops.scan import scan_image

from extensions.catalogue import Catalogue

from .conftest import FakeLedger, Run, facts, write_deployment
from .servers import Clair, Registry, recorded

CRITICAL = "Critical  libssl3  3.0.11-1~deb12u2  3.0.20-1          CVE-2026-11111"


def no_findings(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}


@pytest.mark.parametrize("release", ["4.9.0", "4.8.0", "4.5.1"])
def test_a_recorded_report_is_a_table_and_exit_code_1(
    *,
    scan: Run,
    clair: Clair,
    registry: Registry,
    deployment: Path,
    catalogue: Catalogue,
    ledger: FakeLedger,
    release: str,
) -> None:
    clair.release = release
    write_deployment(deployment, facts(catalogue, release, port=clair.port))
    ledger.load("alpine-main-v3.18-updater", "alpine-community-v3.18-updater")  # the image of 4.5.1's recording

    outcome = scan()

    assert outcome.code == 1
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == f"image     {registry.name}/demo/debian:12"
    assert lines[1] == f"digest    {clair.manifests[0]['hash']}"
    assert lines[2:4] == ["platform  linux/amd64", f"clair     {release}"]
    assert "VERDICT findings: " in lines[-1]


def test_the_table_says_what_was_found_and_what_it_rests_on(scan: Run) -> None:
    lines = scan().out.splitlines()

    feeds = "feeds     Debian GNU/Linux 12 (bookworm): debian/updater of "
    assert lines[5] == "options   --fail-on critical --max-feed-age 24h"
    assert lines[6].startswith(feeds)
    assert lines[6].endswith("Z (60 min old); 2 packages")
    assert lines[8] == "SEVERITY  PACKAGE  INSTALLED         FIXED             ID"
    assert lines[9] == CRITICAL
    assert lines[-2] == "5 findings in 2 packages: 2 critical, 1 high, 1 medium, 0 low, 0 negligible, 1 unknown"
    assert lines[-1] == "VERDICT findings: 3 findings at or above critical, 1 of them of unknown severity"


def test_a_clean_image_exits_0(scan: Run, clair: Clair) -> None:
    clair.change_report = no_findings

    outcome = scan()

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith("VERDICT clean: no finding at or above critical\n")


def test_the_indexer_gets_the_platforms_digest_and_its_layers(scan: Run, clair: Clair, registry: Registry) -> None:
    layers = (b"base", b"top")
    digest = registry.push("app", "arm64", "arm64", layers=layers)
    registry.push_index("app", "1", {"linux/amd64": registry.push("app", "amd64"), "linux/arm64": digest})

    scan("--platform", "linux/arm64", image="app:1")

    (manifest,) = clair.manifests
    assert manifest["hash"] == digest
    addresses = [layer["uri"].rpartition("/")[2] for layer in manifest["layers"]]
    assert addresses == [layer["hash"] for layer in manifest["layers"]]


def test_json_holds_verdict_feeds_findings_and_the_report_as_it_came(
    scan: Run, registry: Registry, clair: Clair
) -> None:
    clair.change_report = lambda report: {**report, "odd": "ü \N{PILE OF POO} \x9b31m"}

    outcome = scan("--format", "json")

    document = outcome.json
    assert outcome.out.isascii()
    assert (document["format"], document["verdict"], document["exit_code"], outcome.code) == (1, "findings", 1, 1)
    assert document["image"] == f"{registry.name}/demo/debian:12"
    assert document["digest"] == clair.manifests[0]["hash"]
    assert document["feeds"][0]["updaters"] == ["debian/updater"]
    assert len(document["findings"]) == 5
    expected = recorded("vulnerability_report")["body"]
    assert document["report"] == {**expected, "manifest_hash": document["digest"], "odd": "ü \N{PILE OF POO} \x9b31m"}
    assert document["options"] == {
        "fail_on": "critical",
        "only_fixed": False,
        "ignore_unknown": False,
        "max_feed_age_hours": 24.0,
        "allow_stale": False,
        "allow_empty": False,
        "ignore_file": None,
        "ignore_entries": 0,
        "baseline": None,
        "baseline_time": None,
    }


@pytest.mark.parametrize("output_format", ["table", "json"])
def test_output_goes_to_a_file_that_everyone_may_read(scan: Run, tmp_path: Path, output_format: str) -> None:
    target = tmp_path / "report"
    target.write_text("an earlier report")
    old_mask = os.umask(0o077)
    try:
        outcome = scan("--format", output_format, "--output", str(target))
    finally:
        os.umask(old_mask)

    assert (outcome.code, outcome.out) == (1, "")
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert "CVE-2026-11111" in target.read_text()
    assert outcome.err.endswith(f"written to {target}\n")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("output_format", ["table", "json"])
def test_an_undecided_scan_leaves_no_earlier_report_behind(
    scan: Run, clair: Clair, tmp_path: Path, output_format: str
) -> None:
    target = tmp_path / "report"
    target.write_text('{"verdict": "clean"}')
    clair.change_report = lambda report: None

    outcome = scan("--format", output_format, "--output", str(target))

    assert outcome.code == 3
    assert "undecided" in target.read_text()
    if output_format == "json":
        document = json.loads(target.read_text())
        assert document["verdict"] == "undecided"
        assert document["digest"] == clair.manifests[0]["hash"]
        assert document["reasons"] == [f"vulnerability report unreadable, {document['digest']}: the answer is null"]


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that holds nothing."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.parametrize(
    ("path", "reason"),
    [(".", "it is a folder"), ("missing/report", "there is no folder missing")],
)
def test_an_output_that_cannot_be_written_is_told_before_the_scan(
    scan: Run, clair: Clair, path: str, reason: str, in_empty_folder: None
) -> None:

    outcome = scan("--output", path)

    assert outcome.code == 2
    assert outcome.err.startswith(f"output not writable, {path}: {reason}\nHINT: ")
    assert clair.requests == []


def test_output_to_a_device_does_not_replace_it(scan: Run) -> None:
    assert scan("--output", "/dev/null").code == 1
    assert not Path("/dev/null").is_file()


VARIABLES = [
    pytest.param({"PLATFORM": "linux/s390x"}, 2, id="PLATFORM"),
    pytest.param({"FAIL_ON": "none"}, 0, id="FAIL_ON"),
    pytest.param({"FAIL_ON": "NONE"}, 0, id="FAIL_ON in capitals"),
    pytest.param({"FAIL_ON": ""}, 1, id="empty means not given"),
    pytest.param({"MAX_FEED_AGE": "30m"}, 3, id="MAX_FEED_AGE"),
    pytest.param({"MAX_FEED_AGE": "30m", "ALLOW_STALE": "1"}, 1, id="ALLOW_STALE"),
    pytest.param({"MAX_FEED_AGE": "2h"}, 1, id="MAX_FEED_AGE in hours"),
    pytest.param({"MAX_FEED_AGE": "30d"}, 1, id="MAX_FEED_AGE in days"),
    pytest.param({"ONLY_FIXED": "0"}, 1, id="a switch that is off"),
]


@pytest.mark.parametrize(("variables", "code"), VARIABLES)
def test_flags_come_from_the_environment_too(
    scan: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], code: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert scan().code == code


def test_the_image_comes_from_the_environment_too(
    scan: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE", f"{registry.name}/demo/debian:12")

    assert scan(image="").code == 1


def test_a_flag_goes_before_the_environment(scan: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL_ON", "none")

    assert scan("--fail-on", "high").code == 1


def test_shell_text_in_the_image_is_only_text(scan: Run, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE", "$(id)")

    outcome = run("scan")

    assert outcome.code == 2
    assert outcome.err == (
        "not an image name, '$(id)': 'library/$(id)' is no repository name\n"
        "HINT: ./clair scan docker.io/library/debian:12\n"
    )


WRONG = [
    pytest.param(
        ["--format", "pdf"],
        "wrong use, clair scan: argument --format: 'pdf' is none of table, json, sarif, junit, markdown, cyclonedx, html",
        id="a format that is not there",
    ),
    pytest.param(
        ["--fail-on", "severe"],
        "wrong use, clair scan: argument --fail-on: 'severe' is none of critical, high, medium, low, negligible, any, none",
        id="a severity that is none",
    ),
    pytest.param(
        ["--max-feed-age", "0h"],
        "wrong use, clair scan: argument --max-feed-age: '0h' is no age: the form is 24h or 30d",
        id="no age",
    ),
    pytest.param(
        ["--max-feed-age", "24"],
        "wrong use, clair scan: argument --max-feed-age: '24' is no age: the form is 24h or 30d",
        id="an age without a unit",
    ),
    pytest.param(
        ["--platform", "arm64"], "not a platform, 'arm64': the form is linux/arm64 or linux/arm/v7", id="no platform"
    ),
    pytest.param(
        ["--colour"], "wrong use, clair scan: unrecognized arguments: --colour", id="a flag that is not there"
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG)
def test_wrong_use_is_one_line_and_exit_code_2(scan: Run, arguments: list[str], sentence: str) -> None:
    outcome = scan(*arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[0] == sentence
    assert outcome.err.splitlines()[1].startswith("HINT: ./clair scan ")


def test_without_an_image_an_example_is_shown(run: Run, registry: Registry) -> None:
    outcome = run("scan")

    assert outcome.code == 2
    assert outcome.err == "wrong use, clair scan: no image given\nHINT: ./clair scan docker.io/library/debian:12\n"


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "app.localhost"])
def test_a_registry_on_localhost_is_refused_with_what_works(
    run: Run, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(scan_image, "_own_address", lambda reference: "192.0.2.7:5000/app:1")
    outcome = run("scan", f"{host}/app:1")

    assert outcome.code == 2
    assert outcome.err == (
        f"registry not reachable for Clair, {host}: the indexer fetches the layers itself, and inside its container that "
        "name means the container; what works is the address of this machine in your network, or a name that ends in "
        ".local\nHINT: ./clair scan 192.0.2.7:5000/app:1\n"
    )


def test_the_hint_for_localhost_names_an_address_that_can_be_scanned() -> None:
    hint = scan_image._own_address(parse_reference("localhost:5000/app:1"))

    assert hint.endswith(":5000/app:1")
    assert not hint.startswith("localhost")


def test_names_from_images_and_feeds_cannot_drive_the_terminal(scan: Run, clair: Clair) -> None:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        document["packages"]["2"]["name"] = "evil\x1b]0;title\x07\x9b2J\u202egnp"
        return document

    clair.change_index = clair.change_report = change

    outcome = scan()

    assert outcome.code == 1
    assert "evil" in outcome.out
    assert outcome.out.replace("\n", "").isprintable()


def test_a_table_is_printed_where_the_terminal_knows_ascii_only(scan: Run, clair: Clair, monkeypatch: Any) -> None:
    import io
    import sys

    def change(document: dict[str, Any]) -> dict[str, Any]:
        document["packages"]["2"]["version"] = "1.0-\N{LATIN SMALL LETTER U WITH DIAERESIS}\ud800"
        return document

    clair.change_index = clair.change_report = change
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)

    assert scan().code == 1


def test_a_reader_that_leaves_early_does_not_change_the_exit_code(scan: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "stdout", os.fdopen(write, "w"))

    assert scan().code == 1


def test_progress_appears_only_when_it_takes_long(scan: Run, clair: Clair, monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.host import show_activity

    from .servers import Reply

    assert scan().err == ""
    monkeypatch.setattr(show_activity, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(show_activity, "LOOK_SECONDS", 0.05)
    clair.fail_once("POST", "/indexer", Reply(503), Reply(503))

    lines = scan().err.splitlines()

    assert any(line.startswith("indexing ") for line in lines)
    assert "the indexer answered 503, trying again" in lines
