"""The command `fleet`: a list of images against servers in this process, cut and gone on with, and compared."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops import settings
from ops.errors import UNDECIDED, Problem
from ops.network import retry_request
from ops.scan import scan_fleet

from .conftest import FakeLedger, Outcome, Run
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Registry, Reply, wait_until

Fleet = Callable[..., Outcome]


def no_findings(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}


@pytest.fixture
def fleet(run: Run, ledger: FakeLedger, registry: Registry, deployment: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Write the list of the deployment (`images` are paths in the fake registry, as a line of it) and run `fleet`."""
    for name in ("FILE", "RESTART", "JSON"):
        monkeypatch.delenv(name, raising=False)
    defaults = retry_request.retry_request.__kwdefaults__ or {}
    monkeypatch.setattr(retry_request.retry_request, "__kwdefaults__", {**defaults, "sleep": lambda seconds: None})
    monkeypatch.setattr(scan_fleet, "LedgerSession", lambda deployment, deadline: ledger)
    monkeypatch.setattr(scan_fleet, "load_deployment", lambda: settings.load_deployment(deployment))

    def call(*arguments: str, images: list[str]) -> Outcome:
        lines = "".join(f"{registry.name}/{image}\n" for image in images)
        (deployment / "images.txt").write_text(lines, encoding="utf-8")
        return run("fleet", *arguments)

    return call


def results(deployment: Path) -> list[dict[str, Any]]:
    """Return the lines of the newest report."""
    newest = max((deployment / "reports").glob("fleet-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]


def test_each_image_is_one_line_in_the_lists_order_without_clairs_report(
    fleet: Fleet, registry: Registry, deployment: Path
) -> None:
    tags = [str(number) for number in range(12)]
    digests = [registry.push("app", tag, layers=(tag.encode(),)) for tag in tags]

    outcome = fleet(images=[f"app:{tag}" for tag in tags])

    found = results(deployment)
    assert outcome.code == 1
    assert [line["image"] for line in found] == [f"{registry.name}/app:{tag}" for tag in tags]
    assert [line["digest"] for line in found] == digests
    assert {line["verdict"] for line in found} == {"findings"}
    assert all("report" not in line and line["findings"] for line in found)
    assert outcome.out.splitlines()[-1] == "VERDICT findings: 12 images: 12 findings"


def test_the_worst_image_decides_undecided_before_findings(
    fleet: Fleet, registry: Registry, clair: Clair, deployment: Path
) -> None:
    clair.change_report = no_findings
    clean = fleet(images=["demo/debian:12"])
    clair.change_report = lambda report: report
    findings = fleet(images=["demo/debian:12"])
    undecided = fleet(images=["demo/debian:12", "nosuch:1"])

    assert (clean.code, findings.code, undecided.code) == (0, 1, 3)
    assert [line["verdict"] for line in results(deployment)] == ["findings", "undecided"]
    assert undecided.err == (
        f"fleet undecided, images.txt: 1 of 2 images, the first {registry.name}/nosuch:1: image not found, "
        f"{registry.name}/nosuch:1: the registry has no such tag or digest\n"
        f"HINT: docker manifest inspect {registry.name}/nosuch:1\n"
    )


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        pytest.param("", "list of images empty, images.txt: no line holds an image", id="empty"),
        pytest.param("# only\n\n  # comments\n", "list of images empty, images.txt: no line holds an image", id="comments"),
        pytest.param(
            "debian:12\nhttps://a.example/b\n",
            "list of images unreadable, images.txt line 2: not an image name, 'https://a.example/b': an image name has no "
            "scheme such as https://",
            id="no image name",
        ),
        pytest.param(
            "debian:12 linux-arm64",
            "list of images unreadable, images.txt line 1: not a platform, 'linux-arm64': the form is linux/arm64 or "
            "linux/arm/v7",
            id="no platform",
        ),
        pytest.param(
            "debian:12 linux/arm64 x",
            "list of images unreadable, images.txt line 1: not an image and a platform, 'debian:12 linux/arm64 x': 3 words",
            id="three words",
        ),
        pytest.param(b"debian:12\xff", "list of images unreadable, images.txt: it is not UTF-8 text", id="not UTF-8"),
    ],
)  # fmt: skip
def test_a_list_nobody_can_read_is_refused_before_the_first_scan(
    fleet: Fleet, run: Run, clair: Clair, deployment: Path, *, lines: str | bytes, sentence: str
) -> None:
    (deployment / "images.txt").write_bytes(lines if isinstance(lines, bytes) else lines.encode())

    outcome = run("fleet")

    assert outcome.code == 2
    assert outcome.err.splitlines()[0] == sentence
    assert outcome.err.splitlines()[1].startswith("HINT: ")
    assert clair.requests == []


def test_a_list_that_is_not_there_says_how_to_begin_one(fleet: Fleet, run: Run) -> None:
    outcome = run("fleet", "nosuch.txt")

    assert outcome.code == 2
    assert outcome.err == (
        "list of images missing, nosuch.txt: no such file\nHINT: echo docker.io/library/debian:12 >> nosuch.txt\n"
    )


def test_a_line_may_name_a_platform_and_is_scanned_once(
    fleet: Fleet, registry: Registry, clair: Clair, deployment: Path
) -> None:
    images = {f"linux/{name}": registry.push("app", name, name, layers=(name.encode(),)) for name in ("amd64", "arm64")}
    registry.push_index("app", "1", images)

    fleet(images=["app:1 linux/arm64  # the boards", "app:1", "app:1 linux/amd64"])

    assert [line["platform"] for line in results(deployment)] == ["linux/arm64", "linux/amd64"]
    assert {manifest["hash"] for manifest in clair.manifests} == set(images.values())


def test_a_manifest_is_handed_over_again_only_after_the_indexers_state_changed(fleet: Fleet, clair: Clair) -> None:
    counts = []
    for state in ("", "", "another", "another"):
        clair.state = state
        fleet(images=["demo/debian:12"])
        counts.append(len(clair.manifests))

    assert counts == [1, 1, 2, 2]
    asked = [request.path for request in clair.requests if request.path.endswith("/index_state")]
    assert len(asked) == 4


def test_not_found_is_no_proof_so_the_manifest_is_handed_over(fleet: Fleet, clair: Clair) -> None:
    fleet(images=["demo/debian:12"])
    clair.known.clear()

    outcome = fleet(images=["demo/debian:12"])

    assert (outcome.code, len(clair.manifests)) == (1, 2)


def test_an_undecided_image_is_not_indexed_again_either(fleet: Fleet, clair: Clair, ledger: FakeLedger) -> None:
    ledger.rows.clear()

    assert fleet(images=["demo/debian:12"]).code == UNDECIDED
    assert fleet(images=["demo/debian:12"]).code == UNDECIDED
    assert len(clair.manifests) == 1


def test_layers_that_images_of_a_repository_share_are_not_located_for_each(fleet: Fleet, registry: Registry) -> None:
    """The first eight images are under way at once; from the ninth on the address of the base is known."""
    for number in range(12):
        registry.push("app", str(number), layers=(b"base", str(number).encode()))

    fleet(images=[f"app:{number}" for number in range(12)])

    located = [request.path for request in registry.requests if "Range" in request.headers]
    assert len(set(located)) == 13
    assert len(located) <= 2 * 8 + 4


def test_the_ledger_is_read_once_for_all(fleet: Fleet, registry: Registry, ledger: FakeLedger) -> None:
    tags = [f"app:{registry.push('app', str(number)) and number}" for number in range(6)]
    reads: list[object] = []
    read = ledger.ledger
    ledger.ledger = lambda: reads.append(1) or read()  # type: ignore[method-assign,func-returns-value]

    fleet(images=tags)

    assert len(reads) == 1


def test_a_ledger_or_an_edge_that_is_down_ends_it_before_the_first_scan(
    fleet: Fleet, registry: Registry, clair: Clair, ledger: FakeLedger, deployment: Path
) -> None:
    ledger.problem = Problem("feed ledger unreadable, database matcher: down", "./clair database", UNDECIDED)
    without_ledger = fleet(images=["demo/debian:12"])
    ledger.problem = None
    clair.close()
    without_edge = fleet(images=["demo/debian:12"])

    assert (without_ledger.code, without_edge.code) == (3, 3)
    assert without_ledger.err == "feed ledger unreadable, database matcher: down\nHINT: ./clair database\n"
    assert without_edge.err == (
        f"indexer unreachable, http://127.0.0.1:{clair.port}: connection refused\nHINT: ./clair verify\n"
    )
    assert registry.requests == []
    assert not (deployment / "reports").exists()


def test_one_image_that_fails_does_not_stop_the_others(
    fleet: Fleet, registry: Registry, deployment: Path, clair: Clair
) -> None:
    registry.put("broken", "1", {"schemaVersion": 2, "layers": "none"})
    registry.push_index("arm", "1", {"linux/arm64": registry.push("arm", "arm64", "arm64")})

    outcome = fleet(images=["broken:1", "nosuch:1", "arm:1", "demo/debian:12"])

    assert outcome.code == 3
    assert [(line["verdict"], line["findings"] is None) for line in results(deployment)] == [
        ("undecided", True),
        ("undecided", True),
        ("undecided", True),
        ("findings", False),
    ]
    assert "clean" not in outcome.out


def test_what_had_no_answer_is_tried_once_more_at_the_end(fleet: Fleet, clair: Clair, registry: Registry) -> None:
    for tag in ("1", "2", "3"):
        registry.push("app", tag, layers=(tag.encode(),))
    clair.fail_once("GET", VULNERABILITY_REPORT, *[Reply(502)] * 15)

    outcome = fleet(images=["app:1", "app:2", "app:3"])

    assert outcome.code == 1
    assert "no answer from a service for 3 images: trying them once more" in outcome.err


def test_a_matcher_that_stays_down_leaves_every_image_undecided(fleet: Fleet, clair: Clair, deployment: Path) -> None:
    clair.fail("GET", VULNERABILITY_REPORT, Reply(502))

    outcome = fleet(images=["demo/debian:12"])

    assert outcome.code == 3
    (line,) = results(deployment)
    assert (line["verdict"], line["counts"], line["findings"]) == ("undecided", None, None)
    assert line["reasons"] == [f"matcher not available, http://127.0.0.1:{clair.port}: HTTP 502"]
    assert line["hint"] == "./clair logs matcher"


class TestChanges:
    def test_the_first_run_is_compared_with_nothing(self, fleet: Fleet, deployment: Path) -> None:
        document = fleet("--json", images=["demo/debian:12"]).json

        assert (document["compared"], document["new_findings"], document["new_images"]) == (False, 0, [])
        assert results(deployment)[0]["changes"] is None

    def test_new_and_gone_findings_are_told_per_image(self, fleet: Fleet, clair: Clair, deployment: Path) -> None:
        fleet(images=["demo/debian:12"])
        known = {(one["id"], one["package"]) for one in results(deployment)[0]["findings"]}

        clair.change_report = no_findings
        gone = fleet("--json", images=["demo/debian:12"]).json
        clair.change_report = lambda report: report
        back = fleet("--json", images=["demo/debian:12"]).json

        assert (gone["new_findings"], gone["gone_findings"], gone["exit_code"]) == (0, len(known), 0)
        assert (back["new_findings"], back["gone_findings"]) == (len(known), 0)
        assert {(one["id"], one["package"]) for one in results(deployment)[0]["changes"]["new"]} == known

    def test_images_that_came_and_went_are_named(self, fleet: Fleet, registry: Registry) -> None:
        registry.push("app", "1")
        fleet(images=["demo/debian:12"])

        document = fleet("--json", images=["app:1"]).json

        assert document["new_images"] == [f"{registry.name}/app:1 linux/amd64"]
        assert document["gone_images"] == [f"{registry.name}/demo/debian:12 linux/amd64"]

    def test_a_day_on_which_an_image_is_undecided_does_not_make_its_findings_new(
        self, fleet: Fleet, clair: Clair
    ) -> None:
        fleet(images=["demo/debian:12"])
        clair.fail("GET", VULNERABILITY_REPORT, Reply(502))
        undecided = fleet("--json", images=["demo/debian:12"]).json
        clair.faults.clear()
        after = fleet("--json", images=["demo/debian:12"]).json

        assert (undecided["new_findings"], undecided["gone_findings"], undecided["exit_code"]) == (0, 0, 3)
        assert (after["new_findings"], after["gone_findings"], after["exit_code"]) == (0, 0, 1)

    def test_another_list_has_a_history_of_its_own(self, fleet: Fleet, run: Run, deployment: Path) -> None:
        fleet(images=["demo/debian:12"])
        other = deployment / "other.txt"
        other.write_text((deployment / "images.txt").read_text(), encoding="utf-8")

        document = run("fleet", "--json", str(other)).json

        assert (document["compared"], document["list"]) == (False, str(other))


class TestCut:
    def test_a_killed_run_goes_on_where_it_stood(
        self, fleet: Fleet, clair: Clair, registry: Registry, deployment: Path
    ) -> None:
        """The first run is a process of its own that is killed when three of six images are done."""
        images = [f"app:{number}" for number in range(6)]
        for number in range(6):
            registry.push("app", str(number), layers=(str(number).encode(),))
        answers = clair.change_report
        reported: list[str] = []

        def stop_after_three(report: dict[str, Any]) -> dict[str, Any]:
            reported.append(report["manifest_hash"])
            if len(reported) > 3:
                wait_until(lambda: not reported, 30)
            return report

        clair.change_report = stop_after_three
        child = os.fork()
        if child == 0:
            try:
                fleet(images=images)
            finally:
                os._exit(9)
        journal = next(_journals(deployment))
        wait_until(lambda: journal.is_file() and journal.read_bytes().count(b"\n") >= 3, 30)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = journal.read_bytes().count(b"\n")
        reported.clear()
        clair.change_report = answers
        before = len(clair.manifests)

        outcome = fleet(images=images)

        assert outcome.code == 1
        assert outcome.err.startswith("going on with the run of ")
        assert f": {done} images are done (--restart begins anew)\n" in outcome.err
        assert len(clair.manifests) - before == 6 - done
        assert [line["image"] for line in results(deployment)] == [f"{registry.name}/{image}" for image in images]
        assert len(list((deployment / "reports").iterdir())) == 2

    def test_an_interrupt_keeps_what_is_done(
        self, fleet: Fleet, registry: Registry, deployment: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry.push("app", "1")
        scan_entries = scan_fleet.scan_entries

        def interrupted(*arguments: Any, **named: Any) -> Any:
            yield next(scan_entries(*arguments, **named))
            raise KeyboardInterrupt

        monkeypatch.setattr(scan_fleet, "scan_entries", interrupted)
        cut = fleet(images=["demo/debian:12", "app:1"])
        monkeypatch.setattr(scan_fleet, "scan_entries", scan_entries)
        whole = fleet(images=["demo/debian:12", "app:1"])

        assert (cut.code, cut.out) == (130, "")
        assert cut.err == "cut after 1 of 2 images; ./clair fleet goes on\ninterrupted\n"
        assert whole.code == 1
        assert len(results(deployment)) == 2

    def test_what_was_undecided_before_the_cut_is_tried_again(
        self, fleet: Fleet, clair: Clair, deployment: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clair.fail("GET", VULNERABILITY_REPORT, Reply(502))
        _cut_at_the_end(fleet, monkeypatch, images=["demo/debian:12"])
        clair.faults.clear()

        outcome = fleet(images=["demo/debian:12"])

        assert outcome.code == 1
        assert ": 0 images are done (--restart begins anew)" in outcome.err
        assert [line["verdict"] for line in results(deployment)] == ["findings"]

    @pytest.mark.parametrize(
        "arguments",
        [pytest.param(["--restart"], id="restart"), pytest.param(["--fail-on", "low"], id="other options")],
    )
    def test_a_run_begins_anew_if_asked_to_or_with_other_options(
        self, fleet: Fleet, clair: Clair, deployment: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        _cut_at_the_end(fleet, monkeypatch, images=["demo/debian:12"])
        asked = len(clair.requests)

        outcome = fleet(*arguments, images=["demo/debian:12"])

        assert outcome.code == 1
        assert "going on" not in outcome.err
        assert len(clair.requests) > asked + 1
        assert len(list((deployment / "reports").iterdir())) == 2


def _journals(deployment: Path) -> Any:
    """Yield the place of the default list's journal, once its folder is there."""
    wait_until(lambda: any((deployment / "state" / "fleet").glob("images-*")), 30)
    yield from ((path / "journal") for path in (deployment / "state" / "fleet").glob("images-*"))


def _cut_at_the_end(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, images: list[str]) -> None:
    """Run `fleet` and cut it when all is scanned and nothing is written yet."""

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    finish = scan_fleet._finish
    monkeypatch.setattr(scan_fleet, "_finish", interrupt)
    assert fleet(images=images).code == 130
    monkeypatch.setattr(scan_fleet, "_finish", finish)


def test_a_second_run_of_the_same_list_is_refused(fleet: Fleet, deployment: Path) -> None:
    import fcntl

    fleet(images=["demo/debian:12"])
    (lock,) = (deployment / "state" / "fleet").glob("images-*/lock")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = fleet(images=["demo/debian:12"])

    assert outcome.code == 3
    assert outcome.err.startswith(f"deployment busy, {lock.relative_to(deployment)}: held by ")


def test_a_name_that_carries_markup_does_no_harm_in_the_overview(fleet: Fleet, clair: Clair, deployment: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[2J"

    def change(report: dict[str, Any]) -> dict[str, Any]:
        for vulnerability in report["vulnerabilities"].values():
            vulnerability["name"] = evil
        return report

    clair.change_report = no_findings
    fleet(images=["demo/debian:12"])
    clair.change_report = change
    outcome = fleet(images=["demo/debian:12"])

    page = max((deployment / "reports").glob("*.html"), key=lambda path: path.stat().st_mtime_ns).read_text("utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page + outcome.out
    assert "default-src 'none'" in page


def test_reports_are_for_their_owner_only_whatever_the_umask(fleet: Fleet, deployment: Path) -> None:
    before = os.umask(0o077)
    try:
        fleet(images=["demo/debian:12"])
    finally:
        os.umask(before)

    assert (deployment / "reports").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (deployment / "reports").iterdir()} == {0o644}
    assert {path.suffix for path in (deployment / "reports").iterdir()} == {".jsonl", ".html"}


def test_a_busy_indexer_is_waited_for_by_each_image(fleet: Fleet, clair: Clair, registry: Registry) -> None:
    for number in range(10):
        registry.push("app", str(number), layers=(str(number).encode(),))
    clair.fail_once("POST", INDEX_REPORT, *[Reply(429, {"code": "too-many-requests", "message": "x"})] * 30)

    assert fleet(images=[f"app:{number}" for number in range(10)]).code == 1
