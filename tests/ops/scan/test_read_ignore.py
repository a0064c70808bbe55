"""The ignore file: whole or not at all, and every mistake by its place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.errors import Problem
from ops.host.read_json import Unreadable
from ops.verdict.read_ignore import Entry, parse_ignores, read_ignores

ENTRY = {"id": "CVE-2024-6119", "reason": "not reachable", "expires": "2026-12-31"}
FORM = 'the form is {"ignore": [{"id": "CVE-2024-6119", "reason": "not reachable", "expires": "2026-12-31"}]}'


def entry(**changes: Any) -> Entry:
    return parse_ignores({"ignore": [{**ENTRY, **changes}]})[0]


def test_an_entry_holds_until_the_end_of_its_day_in_utc() -> None:
    last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()

    assert (entry().expires, entry().expired(last), entry().expired(last + 1)) == (date(2026, 12, 31), False, True)


@pytest.mark.parametrize(
    ("glob", "image", "concerned"),
    [
        ("", "docker.io/library/debian:12", True),
        ("docker.io/library/debian:12", "docker.io/library/debian:12", True),
        ("docker.io/library/debian", "docker.io/library/debian:12", True),
        ("docker.io/library/*", "docker.io/library/debian:12", True),
        ("example.com:5000/team/*", "example.com:5000/team/app:1@sha256:" + "a" * 64, True),
        ("example.com:5000/team/app", "example.com:5000/team/app", True),
        ("*:latest", "docker.io/library/debian:12", False),
        ("debian", "docker.io/library/debian:12", False),
        ("docker.io/library/Debian", "docker.io/library/debian:12", False),
        ("docker.io/library/deb", "docker.io/library/debian:12", False),
    ],
)
def test_an_image_is_meant_by_its_full_name_with_or_without_tag(glob: str, image: str, concerned: bool) -> None:
    changes = {"image": glob} if glob else {}

    assert entry(**changes).concerns(image) is concerned


def test_a_package_narrows_an_entry() -> None:
    assert entry(package="libssl3").matches("CVE-2024-6119", "libssl3")
    assert not entry(package="libssl3").matches("CVE-2024-6119", "openssl")
    assert not entry().matches("CVE-2024-61190", "openssl")


WRONG = [
    ("{}", "key 'ignore': a list of entries is needed"),
    ('{"ignores": []}', "key 'ignores': no such key; did you mean 'ignore'"),
    ('{"format": 2, "ignore": []}', "key 'format': this version reads format 1 only"),
    ('{"format": true, "ignore": []}', "key 'format': this version reads format 1 only"),
    ('{"ignore": [7]}', "entry 1: an object with the keys id, package, image, reason, expires is needed"),
    ({**ENTRY, "expire": "2026-12-31"}, "entry 1 (CVE-2024-6119), key 'expire': no such key; did you mean 'expires'"),
    ({**ENTRY, "x": 1}, "entry 1 (CVE-2024-6119), key 'x': no such key; there are id, package, image, reason, expires"),
    ({"id": "CVE-1", "expires": "2026-12-31"}, "entry 1 (CVE-1), key 'reason': missing"),
    ({"id": "CVE-1", "reason": "why"}, "entry 1 (CVE-1), key 'expires': missing"),
    ({"reason": "why", "expires": "2026-12-31"}, "entry 1, key 'id': missing"),
    ({**ENTRY, "reason": "  "}, "entry 1 (CVE-2024-6119), key 'reason': a text that is not empty is needed"),
    ({**ENTRY, "package": None}, "entry 1 (CVE-2024-6119), key 'package': a text that is not empty is needed"),
    ({**ENTRY, "expires": "2026-02-30"}, "entry 1 (CVE-2024-6119), key 'expires': '2026-02-30' is no date of the form 2026-12-31"),
    ({**ENTRY, "expires": "31.12.2026"}, "entry 1 (CVE-2024-6119), key 'expires': '31.12.2026' is no date of the form 2026-12-31"),
    ({**ENTRY, "expires": "20261231"}, "entry 1 (CVE-2024-6119), key 'expires': '20261231' is no date of the form 2026-12-31"),
    ("[]", "the file is JSON, but no object"),
    ("null", "the file is null"),
    ('{"ignore": [], "ignore": []}', "a name stands twice in one object"),
    (b"\xff", "it is not UTF-8 text"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_a_mistake_is_told_by_its_place(tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / ".clair-ignore.json"
    text = json.dumps({"ignore": [content]}) if isinstance(content, dict) else content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(Problem) as caught:
        read_ignores(path, ".clair-ignore.json")

    problem = caught.value
    assert (problem.code, problem.sentence, problem.hint) == (
        2,
        f"ignore file wrong, .clair-ignore.json: {reason}",
        FORM,
    )


def test_a_file_that_is_not_json_is_told_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "ignore.json"
    path.write_text('{"ignore": [\n  {"id": "CVE-1",}\n]}')

    with pytest.raises(Problem) as caught:
        read_ignores(path, "ignore.json")

    assert caught.value.sentence.startswith("ignore file wrong, ignore.json: line 2, column ")
    assert caught.value.hint == "python3 -m json.tool ignore.json"


def test_two_entries_that_say_the_same_are_refused() -> None:
    with pytest.raises(Unreadable, match="entry 3 \\(CVE-2024-6119\\): the same id, package and image as entry 1"):
        parse_ignores({"ignore": [ENTRY, {**ENTRY, "package": "libssl3"}, {**ENTRY, "reason": "another"}]})


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"^ignore file unreadable, missing\.json: no such file or directory$"):
        read_ignores(tmp_path / "missing.json", "missing.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.sampled_from(list(ENTRY.values())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from([*ENTRY, "ignore"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["ignore", "format", "x"]), JSON, max_size=3))
def test_any_document_is_read_whole_or_refused(document: dict[str, Any]) -> None:
    try:
        entries = parse_ignores(document)
    except Unreadable as error:
        assert str(error)
    else:
        assert len(entries) == len(document["ignore"])
        assert all(entry.id and entry.reason for entry in entries)
