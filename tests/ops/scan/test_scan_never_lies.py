"""No damage to what services answer makes a verdict clean, and none leads to a traceback.

Recorded answers are changed at random: members removed or replaced, bytes cut and flipped, statuses exchanged, feeds
aged. The expectation is computed apart from the code under test, from what must hold for an image to be clean.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ops.clair.read_report import parse_index_report, parse_vulnerability_report
from ops.feeds.match_updaters import Feeds, Ledger, LedgerRow
from ops.host.read_json import Unreadable, ascii_json, read_object
from ops.verdict.judge_report import Options, judge_report

from extensions.catalogue import Catalogue

from .conftest import FAMILIES, FakeLedger, Run
from .servers import INDEX_REPORT, VULNERABILITY_REPORT, Clair, Reply, recorded

NOW = 1_700_000_000.0
DIGEST = str(recorded("POST index_report")["body"]["manifest_hash"])
SHARED = ("packages", "distributions", "repository", "environments")
JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    "",
    "x",
    [],
    {},
    [None],
    {"x": None},
    "IndexFinished",
    "Critical",
    DIGEST,
]

Path = tuple[Any, ...]


def clean_report() -> dict[str, Any]:
    """Return the recorded vulnerability report with its harmless finding only."""
    report = copy.deepcopy(recorded("vulnerability_report")["body"])
    harmless = {key: item for key, item in report["vulnerabilities"].items() if item["normalized_severity"] == "Medium"}
    return {**report, "vulnerabilities": harmless, "package_vulnerabilities": {"2": list(harmless)}}


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Return the places of a JSON value at which something can be changed."""
    found = [here] if here else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*here, key))
    return found


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def changed(draw: Callable[[Any], Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with up to three changes."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(paths(document)))
        parent, last = at(document, path[:-1]), path[-1]
        action = draw(st.sampled_from(["remove", "replace", "copy", "rename"]))
        if action == "remove":
            del parent[last]
        elif action == "replace":
            parent[last] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        elif action == "copy":
            parent[last] = copy.deepcopy(at(document, draw(st.sampled_from(paths(document)))))
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=5))] = parent.pop(last)
        if not paths(document):
            break
    return document


def truly_clean(index: Any, report: Any, feed_age_hours: float, *, stored: bool, known: bool) -> bool:
    """Return whether an image with these reports may be called clean: the conditions of the contract, written out."""
    return (
        index["manifest_hash"] == report["manifest_hash"] == DIGEST
        and index["state"] == "IndexFinished"
        and index["success"] is True
        and not index.get("err")
        and len(report["packages"]) > 0
        and all(
            (index["packages"][key]["name"], index["packages"][key]["version"]) == (item["name"], item["version"])
            for key, item in report["packages"].items()
        )
        and len(index["packages"]) == len(report["packages"])
        and len(report["distributions"]) > 0
        and all(item["did"] == "debian" for item in report["distributions"].values())
        and all(item["version_code_name"] == "bookworm" for item in report["distributions"].values())
        and all(_has_distribution(report, key) for key in report["packages"])
        and stored
        and known
        and 0 <= feed_age_hours <= 24
        and all(_harmless(report, item) for item in report["vulnerabilities"].items())
    )


def _has_distribution(report: Any, package: str) -> bool:
    """A package that is tied to no distribution must at least be one of a language, which the verdict lists."""
    named = [
        report["repository"][key].get("name")
        for item in report["environments"].get(package, [])
        for key in item.get("repository_ids") or []
        if key in report["repository"]
    ]
    return any(item["distribution_id"] in report["distributions"] for item in report["environments"][package]) or any(
        named
    )


def _harmless(report: Any, item: tuple[str, Any]) -> bool:
    return item[1].get("normalized_severity") in ("Negligible", "Low", "Medium", "High")


@pytest.fixture(scope="module")
def feeds(catalogue: Catalogue) -> Feeds:
    """The feeds of Clair 4.9.0, of which one may be 24 hours old."""
    known = {name: catalogue.family(name, "4.9.0") for name in catalogue.family_names}
    return Feeds(tuple(FAMILIES), known, offline=False, max_age_seconds=24 * 3600)


def code_of(index: bytes, report: bytes, feeds: Feeds, row: LedgerRow, *, known: bool) -> int:
    """Return the exit code of two answers: 3 for what cannot be read."""
    try:
        verdict = judge_report(
            DIGEST,
            parse_index_report(read_object(index)),
            parse_vulnerability_report(ascii_json(report)),
            feeds=feeds,
            ledger=Ledger({row.updater: row}),
            present={(row.updater, "dist_version_code_name", "bookworm"): known},
            options=Options(),
            now=NOW,
        )
    except Unreadable:
        return 3
    return verdict.code


def test_the_unchanged_answers_are_clean(feeds: Feeds) -> None:
    index, report = recorded("POST index_report")["body"], clean_report()
    row = LedgerRow("debian/updater", NOW, NOW, NOW - 3600)

    assert truly_clean(index, report, 1, stored=True, known=True)
    assert code_of(json.dumps(index).encode(), json.dumps(report).encode(), feeds, row, known=True) == 0


@settings(max_examples=400)
@given(
    index=changed(recorded("POST index_report")["body"]),
    report=changed(clean_report()),
    same=st.booleans(),
    hours=st.sampled_from([1.0, 1.0, 1.0, 24.5, -2.0]),
    stored=st.sampled_from([True, True, True, False]),
    known=st.sampled_from([True, True, True, False]),
)
def test_a_changed_report_is_clean_only_if_everything_truly_holds(
    *, feeds: Feeds, index: dict[str, Any], report: dict[str, Any], same: bool, hours: float, stored: bool, known: bool
) -> None:
    if same:  # a change the indexer itself made stands in both reports
        index = {**index, **{name: report[name] for name in SHARED if name in report}}
    row = LedgerRow("debian/updater", NOW if stored else None, NOW, NOW - hours * 3600)

    code = code_of(json.dumps(index).encode(), json.dumps(report).encode(), feeds, row, known=known)

    assert code in (0, 1, 3)
    if code == 0:
        assert truly_clean(index, report, hours, stored=stored, known=known)


@given(
    body=st.sampled_from([recorded("POST index_report")["body"], clean_report()]),
    cut=st.floats(0, 1),
    flip=st.none() | st.tuples(st.floats(0, 0.999), st.integers(1, 255)),
)
def test_bytes_that_are_cut_or_flipped_are_never_read_as_more_than_they_say(
    feeds: Feeds, body: dict[str, Any], cut: float, flip: tuple[float, int] | None
) -> None:
    whole = json.dumps(body).encode()
    damaged = bytearray(whole[: int(len(whole) * cut)] if flip is None else whole)
    if flip is not None:
        damaged[int(len(damaged) * flip[0])] ^= flip[1]
    assume(bytes(damaged) != whole)
    is_index = "state" in body
    index = bytes(damaged) if is_index else json.dumps(recorded("POST index_report")["body"]).encode()
    report = json.dumps(clean_report()).encode() if is_index else bytes(damaged)
    row = LedgerRow("debian/updater", NOW, NOW, NOW - 3600)

    code = code_of(index, report, feeds, row, known=True)

    assert code == 3 if flip is None else code in (0, 1, 3)
    if code == 0:
        assert truly_clean(json.loads(index), json.loads(report), 1, stored=True, known=True)


STATUSES = st.sampled_from(
    [100, 200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 405, 412, 418, 429, 500, 501, 503, 599]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from([("POST", INDEX_REPORT), ("GET", VULNERABILITY_REPORT)]),
    status=STATUSES.filter(lambda status: status >= 200),
    body=st.sampled_from([b"", b"null", b"{}", b"[]", b"OK", b"<html></html>", b"true", b'{"vulnerabilities": {}}']),
    fault=st.sampled_from(["", "", "", "cut", "close"]),
)
def test_no_answer_of_a_service_that_is_not_a_report_ends_clean_or_with_a_traceback(
    *,
    scan: Run,
    clair: Clair,
    ledger: FakeLedger,
    place: tuple[str, str],
    status: int,
    body: bytes,
    fault: str,
    no_waiting: None,
) -> None:
    clair.change_report = lambda report: {**report, "vulnerabilities": {}, "package_vulnerabilities": {}}
    clair.faults.clear()
    clair.fail(*place, Reply(status, b"" if status in (204, 304) else body, {"Retry-After": "9999"}, fault))
    outcome = scan()

    assert outcome.code == 3
    assert "Traceback" not in outcome.err
    assert "internal error" not in outcome.err
    assert "clean" not in outcome.out
    assert len(outcome.err.splitlines()) == 2
