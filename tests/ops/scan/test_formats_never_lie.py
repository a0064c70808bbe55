"""In no format does a scan that supports no verdict look like an image that is clean, whatever the services answer.

The recorded report fails (two critical findings, one of unknown severity): nothing that happens to one of the answers may
turn that into a clean image, an empty success, or exit code 0.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.formats.format_report import FORMATS

from .conftest import DEBIAN, FakeLedger, Outcome, Run
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Reply, recorded

JUNK = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"x": None}, "IndexFinished", "Critical", "Unknown"]
)
Path = tuple[Any, ...]


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Return the places of a JSON value at which something can be changed."""
    found = [here] if here else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*here, key))
    return found


@st.composite
def damaged(draw: Callable[[Any], Any], name: str) -> Reply:
    """Return a recorded answer with one thing wrong: a member, some bytes, the status, or the connection."""
    exchange = recorded(name)
    document = copy.deepcopy(exchange["body"])
    kind = draw(st.sampled_from(["remove", "replace", "bytes", "cut", "status", "other", "fault"]))
    if kind in ("remove", "replace"):
        *folders, last = draw(st.sampled_from(paths(document)))
        parent = document
        for key in folders:
            parent = parent[key]
        if kind == "remove":
            del parent[last]
        else:
            parent[last] = draw(JUNK)
        return Reply(exchange["status"], document)
    body = json.dumps(document).encode()
    if kind == "bytes":
        place = draw(st.integers(0, len(body) - 1))
        return Reply(exchange["status"], body[:place] + bytes([draw(st.integers(0, 255))]) + body[place + 1 :])
    if kind == "cut":
        return Reply(exchange["status"], body[: draw(st.integers(0, len(body) - 1))])
    if kind == "status":
        return Reply(
            draw(st.sampled_from([202, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503])),
            b"",
            {"Retry-After": "99999"},
        )
    if kind == "other":
        return Reply(
            200, draw(st.sampled_from([b"null", b"{}", b"[]", b"<html></html>", b"", b'{"vulnerabilities": {}}']))
        )
    return Reply(200, body, fault=draw(st.sampled_from(["close", "cut"])))


LEDGERS = st.sampled_from(["fresh", "fresh", "fresh", "stale", "never", "absent", "other"])


def set_ledger(ledger: FakeLedger, state: str) -> None:
    ledger.rows.clear()
    if state == "other":
        ledger.load("alpine-main-v3.18-updater")
    elif state != "absent":
        ledger.load(DEBIAN, hours_ago=72 if state == "stale" else 1, stored=state != "never")


def looks_clean(name: str, text: str) -> bool:
    """Return True if a reader of the format could take the output for a clean image."""
    if name == "table":
        return "VERDICT clean" in text
    if name == "json":
        document = json.loads(text)
        return document["verdict"] == "clean" or document["exit_code"] == 0
    if name == "sarif":
        (run,) = json.loads(text)["runs"]
        return not any(one["level"] == "error" for one in run["results"])
    if name == "junit":
        tree = ElementTree.fromstring(text)
        return int(tree.get("failures", "0")) + int(tree.get("errors", "0")) == 0
    if name == "cyclonedx":
        said = {one["name"]: one["value"] for one in json.loads(text)["metadata"]["properties"]}
        return said["clair:verdict"] == "clean" or said["clair:exit_code"] == "0"
    words = {"markdown": "Clair: clean", "html": '<section class="verdict clean">'}
    return words[name] in text


def check(name: str, outcome: Outcome) -> None:
    assert outcome.code in (1, 3), outcome
    assert "internal error" not in outcome.err
    if outcome.out:  # the table of a scan without a report is nothing but its line on standard error
        assert not looks_clean(name, outcome.out)
    else:
        assert (name, outcome.code) == ("table", 3)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FORMATS),
    place=st.sampled_from(["index", "report"]),
    index=damaged("POST index_report"),
    report=damaged("vulnerability_report"),
    state=LEDGERS,
    keep=st.booleans(),
)
def test_no_damaged_answer_looks_clean(
    *, scan: Run, clair: Clair, ledger: FakeLedger, no_waiting: None, name: str, place: str, index: Reply, report: Reply,
    state: str, keep: bool,
) -> None:  # fmt: skip
    clair.faults.clear()
    set_ledger(ledger, state)
    digest = {"manifest_hash": clair.manifests[-1]["hash"]} if clair.manifests else {}
    method, path, reply = ("POST", INDEX_REPORT, index) if place == "index" else ("GET", VULNERABILITY_REPORT, report)
    # The recorded digest is another image's: with the right one, the damage itself is what is judged.
    if keep and isinstance(reply.body, dict) and "manifest_hash" in reply.body:
        reply.body.update(digest)
    clair.fail(method, path, reply)

    check(name, scan("--format", name))


EVIDENCE = {
    "another digest": lambda report: {**report, "manifest_hash": "sha256:" + "0" * 64},
    "no package": lambda report: {**report, "packages": {}, "environments": {}, "distributions": {}},
    "an unknown distribution": lambda report: renamed(report, "fedora"),
    "an ended release": lambda report: renamed(report, "debian", version_code_name="stretch"),
    "no distribution": lambda report: {**report, "distributions": {}},
    "no environment": lambda report: {**report, "environments": {}},
    "not finished": lambda report: {**report, "state": "ScanLayers"} if "state" in report else report,
    "not successful": lambda report: {**report, "success": False} if "state" in report else report,
    "an error": lambda report: {**report, "err": "failed"} if "state" in report else report,
}


def renamed(report: dict[str, Any], did: str, **fields: str) -> dict[str, Any]:
    return {
        **report,
        "distributions": {key: {**item, "did": did, **fields} for key, item in report["distributions"].items()},
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("what", EVIDENCE)
def test_without_evidence_a_report_without_findings_is_undecided(scan: Run, clair: Clair, name: str, what: str) -> None:
    def change(report: dict[str, Any]) -> Any:
        emptied = {key: {} for key in ("vulnerabilities", "package_vulnerabilities") if key in report}
        return EVIDENCE[what]({**report, **emptied})

    clair.change_index = clair.change_report = change

    outcome = scan("--format", name)

    assert outcome.code == 3
    assert not looks_clean(name, outcome.out)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_report_with_its_evidence_is_clean(scan: Run, clair: Clair, name: str) -> None:
    clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}

    outcome = scan("--format", name)

    assert (outcome.code, looks_clean(name, outcome.out)) == (0, True)
