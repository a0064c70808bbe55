"""What Clair would refuse, ignore or misunderstand in a config: pure rules over values."""

from __future__ import annotations

from typing import Any

import pytest
from ops.checks.config_check import (
    KeyRules,
    drop_in_sentence,
    holds_key,
    key_sentences,
    unknown_keys,
    unknown_patch_keys,
    value_sentences,
)
from ops.state.merge_config import merge, patch

from tests.conftest import Render

_ALLOWED = [
    "http_listen_addr",
    "indexer",
    "indexer.connstring",
    "indexer.scanner",
    "indexer.scanner.repo",
    "auth",
    "auth.psk",
]
_FREE = ["indexer.scanner.repo"]
STRICT = KeyRules(_ALLOWED, _FREE, strict=True)
OLD = KeyRules(_ALLOWED, _FREE, strict=False)


@pytest.mark.parametrize(
    ("document", "unknown"),
    [
        ({"indexer": {"connstring": "x"}}, []),
        ({"indexer": {"conn": "x"}, "log": {"a": 1}}, ["indexer.conn", "log"]),
        ({"indexer": {"scanner": {"repo": {"anything": {"deep": 1}}}}}, []),
        ({"indexer": {"scanner": {"repository": {}}}}, ["indexer.scanner.repository"]),
        ({"indexer": None}, []),
        ([], []),
    ],
    ids=["known", "unknown", "free-form", "beside free-form", "empty", "no mapping"],
)
def test_unknown_keys_are_listed_by_their_path(document: Any, unknown: list[str]) -> None:
    assert unknown_keys(document, STRICT) == unknown


def test_strict_releases_match_names_without_regard_to_case() -> None:
    assert unknown_keys({"Indexer": {"ConnString": "x"}}, STRICT) == []


def test_old_releases_match_names_exactly() -> None:
    assert unknown_keys({"Indexer": {"connstring": "x"}}, OLD) == ["Indexer"]


@pytest.mark.parametrize(
    ("operations", "unknown"),
    [
        ([{"op": "replace", "path": "/indexer/connstring", "value": "x"}], []),
        ([{"op": "add", "path": "/indexer/conn", "value": "x"}], ["indexer.conn"]),
        ([{"op": "add", "path": "/indexer", "value": {"conn": "x"}}], ["indexer.conn"]),
        ([{"op": "add", "path": "", "value": {"log": 1}}], ["log"]),
        ([{"op": "add", "path": "/auth/psk/-", "value": "x"}], []),
        ([{"op": "remove", "path": "/log"}], []),
        ([{"op": "add"}, "nonsense"], []),
        ("nonsense", []),
    ],
)
def test_keys_in_patches_are_checked_by_their_pointer(operations: Any, unknown: list[str]) -> None:
    assert unknown_patch_keys(operations, STRICT) == unknown


def test_an_unknown_key_names_the_nearest_and_what_the_release_does() -> None:
    strict = key_sentences("config/indexer/config.yaml", ["indexer.connstrnig"], STRICT, "4.9.0")
    old = key_sentences("config/indexer/config.yaml", ["zzz"], OLD, "4.6.1")

    sentence = "config key unknown, indexer.connstrnig in config/indexer/config.yaml: Clair 4.9.0 stops at it"
    assert strict == [(sentence, "did you mean indexer.connstring")]
    sentence = "config key unknown, zzz in config/indexer/config.yaml: Clair 4.6.1 ignores it"
    assert old == [(sentence, "remove it from config/indexer/config.yaml")]


def test_an_address_without_a_scheme_is_found_before_the_first_request_fails() -> None:
    sentences = value_sentences("config/matcher", {"matcher": {"indexer_addr": "clair-indexer:6060"}})

    expected = "config value wrong, matcher.indexer_addr in config/matcher: 'clair-indexer:6060' has no scheme"
    assert sentences == [(expected, "write http://clair-indexer:6060")]


def test_issuers_that_are_no_list_are_found() -> None:
    assert value_sentences("config/matcher", {"auth": {"psk": {"iss": "clairctl"}}}) == [
        ("config value wrong, auth.psk.iss in config/matcher: not a list of issuers", 'write iss: ["clairctl"]')
    ]


@pytest.mark.parametrize("name", ["50-own.yaml", "a.yaml-patch"])
def test_a_drop_in_that_clair_reads_is_no_finding(name: str) -> None:
    assert drop_in_sentence(f"config/indexer/config.yaml.d/{name}", name, True, "4.9.0") == ("", "")


@pytest.mark.parametrize("name", ["own.yml", "own.json", "own.yaml.orig", ".own.yaml", "own"])
def test_a_drop_in_whose_name_clair_ignores_is_a_finding(name: str) -> None:
    where = f"config/indexer/config.yaml.d/{name}"

    sentence, hint = drop_in_sentence(where, name, True, "4.9.0")

    assert sentence == f"drop-in not read, {where}: Clair reads only names that end in .yaml or .yaml-patch"
    assert hint == f"mv {where} config/indexer/config.yaml.d/own.yaml"


def test_a_drop_in_of_a_release_that_knows_none_is_a_finding() -> None:
    where = "config/indexer/config.yaml.d/own.yaml"

    assert drop_in_sentence(where, "own.yaml", False, "4.6.1") == (
        f"drop-in not read, {where}: Clair 4.6.1 knows none",
        "move its settings into config/indexer/config.yaml",
    )


def test_the_key_in_a_config_is_noticed() -> None:
    assert holds_key({"auth": {"psk": {"key": "c2VjcmV0"}}})
    assert not holds_key({"auth": {"psk": {"iss": ["a"]}}})


# RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "change", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_is_rfc_7386(target: Any, change: Any, result: Any) -> None:
    assert merge(target, change) == result


# RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        (
            {"foo": {"bar": 1}, "q": {}},
            [{"op": "move", "from": "/foo/bar", "path": "/q/b"}],
            {"foo": {}, "q": {"b": 1}},
        ),
        ({"a": [1]}, [{"op": "copy", "from": "/a/0", "path": "/b"}], {"a": [1], "b": 1}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"foo": None}, [{"op": "test", "path": "/foo", "value": None}], {"foo": None}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ],
)
def test_patch_is_rfc_6902(document: Any, operations: Any, result: Any) -> None:
    assert patch(document, operations) == result


@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        ({"op": "add"}, "a patch is a list of operations"),
        ([{"path": "/a"}], "operation 1: needs op and path"),
        ([{"op": "add", "path": "/a"}], "operation 1: add needs a value"),
        ([{"op": "add", "path": "a", "value": 1}], "operation 1: path 'a' does not start with /"),
        ([{"op": "remove", "path": "/b"}], "operation 1: no such path 'b'"),
        ([{"op": "test", "path": "/a", "value": 2}], "operation 1: test of /a fails"),
        ([{"op": "add", "path": "/l/7", "value": 2}], "operation 1: no such path 7"),
        ([{"op": "add", "path": "/l/01", "value": 2}], "operation 1: no such path 01"),
        ([{"op": "jump", "path": "/a"}], "operation 1: unknown op 'jump'"),
    ],
)
def test_a_patch_that_does_not_apply_says_which_operation(operations: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        patch({"a": 1, "l": []}, operations)

    assert str(caught.value) == reason


def test_rendered_configs_of_every_release_have_no_unknown_key(render: Render, releases: list[str]) -> None:
    for release in releases:
        project = render({"clair_version": release})
        facts = project.facts["release"]
        for service in project.clair_services:
            rules = KeyRules(facts["keys"][service], facts["free_form"], facts["strict"])

            assert unknown_keys(project.config(service), rules) == [], f"{release} {service}"
