"""What differs between two runs of the same Clair, taken out: ids, times, ports, digests of images, the order of Go's maps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

# Go's maps, whose order is random; every other object is a struct, whose order is part of the answer.
_MAPS = (
    "packages", "distributions", "repository", "environments", "vulnerabilities", "package_vulnerabilities", "enrichments",
)  # fmt: skip
_VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z"), "<time>"),
    (re.compile(r"20\d\d/\d\d/\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d GMT"), "<time>"),
    (re.compile(r'"request_id":"[0-9a-f]{16}"'), '"request_id":"<id>"'),
    (re.compile(r'"remote_addr":"[0-9.]+:\d+"'), '"remote_addr":"<address>"'),
    (re.compile(r'"duration":[0-9.e-]+'), '"duration":"<number>"'),
    (re.compile(r'"cur":\d+,"prev":\d+'), '"cur":"<number>","prev":"<number>"'),
    (re.compile(r" on \S+:53: ((dial|read) udp [0-9.:>-]+ )?"), " on <name server>: "),
)

# Log lines that the double leaves out, and why.
NOT_SAID = {
    "invalid compression type": "the recorder's environment",
    "set memory limit": "Go's runtime",
    "profiling rates configured": "Go's runtime",
    '"version":"???"': "the recorded 4.5.1 was built without its version",
    '"matchers":[': "the double has the matchers of three distributions",
    "crda/MatcherFactory": "the double has the matchers of three distributions",
    '"message":"starting scan"': "the inner steps of a scan",
    '"message":"layers fetch done"': "the inner steps of a scan",
    '"level":"warn","manifest"': "the inner steps of a scan, whose outcome the answer tells",
    "failed constructing factory": "the recorded feeds could not be reached in other ways than the closed ones here",
    '"error":"context canceled"': "what Go's locks say when they are stopped",
    "context already done": "what Go's locks say when they are stopped",
}


def same_always(text: str) -> str:
    """Return a text without what varies in every run."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


def answer(status: int, headers: dict[str, str], body: Any) -> str:
    """Return an HTTP answer as a text that is equal for equal answers; `body` is parsed JSON, or a text."""
    headers = {name: value for name, value in headers.items() if name != "Date"}
    if isinstance(body, dict) and headers.get("Etag", "").strip('"') in _refs(body):
        headers["Etag"] = "<ref of an update operation>"
    return same_always(f"{status}\n{json.dumps(headers, indent=1, sort_keys=True)}\n{document(body)}")


def document(value: Any) -> str:
    """Return a JSON document as a text: vulnerabilities are numbered from 1, Go's maps are sorted, structs keep their order."""
    if isinstance(value, dict) and value.get("vulnerabilities"):
        value = _numbered(value)
    if isinstance(value, dict) and _refs(value):
        value = dict(sorted(value.items()))
    return same_always(json.dumps(_ordered(value), indent=1, ensure_ascii=False))


def xml(text: str) -> str:
    """Return clairctl's XML report with its test cases sorted, which come in the order of a map."""
    start, *cases = re.split(r"(?=<testcase )", text)
    *others, last = cases or [""]
    last, end, rest = last.partition("</testcase>")
    return start + "\n".join(sorted([*others, last + end])) + rest


def reason_to_be_silent(line: str) -> str:
    """Return why the double does not say a recorded log line, or nothing."""
    return next((reason for words, reason in NOT_SAID.items() if words in line), "")


def log_lines(log: Iterable[str]) -> list[str]:
    """Return log lines without what varies, those of JSON with their keys sorted."""
    clean = [same_always(line) for line in log]
    return [json.dumps(json.loads(line), sort_keys=True) if line.startswith("{") else line for line in clean]


def named(names: Iterable[str]) -> list[str]:
    """Return recorded or read names in one order."""
    return sorted(filter(None, names))


def metric_names(exposition: str) -> list[str]:
    """Return the names of Clair's own metrics, as they were recorded: without those of Go's runtime and of the process."""
    names = set(re.findall(r"(?m)^(\w+)[{ ]", exposition.partition("\n\n")[2]))
    return [name for name in names if not name.startswith(("go_", "process_"))]


def _refs(body: dict[str, Any]) -> list[str]:
    """Return the refs of a document of update operations, or nothing."""
    lists = [entry for entry in body.values() if isinstance(entry, list)]
    return [one["ref"] for entry in lists for one in entry if isinstance(one, dict) and "ref" in one]


def _numbered(report: dict[str, Any]) -> dict[str, Any]:
    places = {name: str(place) for place, name in enumerate(sorted(report["vulnerabilities"], key=int), start=1)}
    entries = {places[name]: {**entry, "id": places[entry["id"]]} for name, entry in report["vulnerabilities"].items()}
    by_package = {
        package: [places[name] for name in names] for package, names in report["package_vulnerabilities"].items()
    }
    return {**report, "vulnerabilities": entries, "package_vulnerabilities": by_package}


def _ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _ordered(dict(sorted(one.items())) if key in _MAPS and _is_map(one) else one) for key, one in value.items()
    }


def _is_map(value: Any) -> bool:
    """Say whether an object of such a name is a map: the `repository` of a vulnerability is a struct of texts."""
    return isinstance(value, dict) and all(isinstance(one, (dict, list)) for one in value.values())
