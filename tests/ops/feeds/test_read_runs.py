"""The matcher's log, and how many rows a feed has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.feeds.count_rows import COUNTS, Count, parse_counts, round_number, total
from ops.feeds.read_runs import MatcherLogs, Run, RunReader, combine
from ops.host.read_json import Unreadable
from ops.settings import Deployment

from .conftest import World, log_line

START = 1795572633.0
BEGIN = log_line("starting initial updates", START)
FAILED = log_line("failed constructing factory, excluding from run", START + 1, error="debian: x")
RUNNING = log_line("running updaters", START + 6, total=3, batchSize=2)
FINISHED = log_line("finished update", START + 7, updater="x")
ENDED = log_line("GC started", START + 9, retention=3)


def run_of(*lines: str) -> Run | None:
    reader = RunReader()
    reader.read(lines)
    return reader.run


@pytest.mark.parametrize(
    ("lines", "run"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param(["2026/11/25 plain text", '{"message":"ready"', '["message":"x"]'], None, id="no-log-lines"),
        pytest.param([FINISHED, ENDED], None, id="only-the-end-of-a-run"),
        pytest.param([BEGIN], Run(START), id="asks-for-lists"),
        pytest.param([BEGIN, FAILED, RUNNING, FINISHED], Run(START, 3, 1, False, ("debian: x",)), id="under-way"),
        pytest.param([BEGIN, RUNNING, FINISHED, FINISHED, ENDED], Run(START, 3, 2, True), id="ended"),
        pytest.param([RUNNING, ENDED, FAILED, RUNNING], Run(START + 1, 3, 0, False, ("debian: x",)), id="next-period"),
        pytest.param([RUNNING, ENDED, RUNNING, ENDED], Run(START + 6, 3, 0, True), id="second-run"),
        pytest.param([RUNNING, FINISHED, BEGIN], Run(START), id="restarted-in-the-middle"),
        pytest.param([log_line("running updaters", START, total="3")], Run(START), id="total-is-no-number"),
        pytest.param(['{"message":"running updaters","time":"soon","total":3}'], None, id="time-is-none"),
    ],
)
def test_the_last_run_is_read_from_the_log(lines: list[str], run: Run | None) -> None:
    assert run_of(*lines) == run


@given(lines=st.lists(st.sampled_from([BEGIN, FAILED, RUNNING, FINISHED, ENDED, "x"]) | st.text(), max_size=30))
def test_any_log_is_read_without_an_error(lines: list[str]) -> None:
    found = run_of(*lines)

    assert found is None or found.finished >= 0


def test_runs_of_several_matchers_are_one() -> None:
    first, second = Run(START, 9, 4, True, ("a",)), Run(START - 5, 9, 5, False, ("a", "b"))

    assert combine([]) is None
    assert combine([first, second]) == Run(START - 5, 9, 9, False, ("a", "b"))


def test_a_follower_reads_only_what_is_new(world: World, deployment: Callable[[], Deployment]) -> None:
    logs = MatcherLogs(deployment())
    world.set(log=[BEGIN, RUNNING])
    first = logs.last_run()
    world.set(log=[BEGIN, RUNNING, FINISHED, ENDED])

    second = logs.last_run()

    assert (first, second) == (Run(START, 3), Run(START, 3, 1, True))
    asked = [call for call in world.calls if call[0] == "logs"]
    assert asked[0] == ["logs", "--timestamps", "--tail", "5000", "clair-matcher"]
    assert asked[1][:3] == ["logs", "--timestamps", "--since"]


def test_a_log_that_cannot_be_had_is_no_run(
    deployment: Callable[[], Deployment], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER", "/nonexistent/docker")

    assert MatcherLogs(deployment()).last_run() is None


@pytest.mark.parametrize(
    ("row", "count", "text"),
    [
        (["a", 0, None], Count(0, True), "0"),
        (["a", 1000, None], Count(1000, True), "1000"),
        (["a", 1001, None], Count(1001, False, True), ">1000"),
        (["a", 1001, 3322182.7], Count(3322183, False), "~3300000"),
        (["a", 1001, 12.0], Count(1001, False), "~1000"),
    ],
    ids=["none", "few", "no-statistics", "many", "wrong-statistics"],
)
def test_a_count_says_how_exact_it_is(row: list[object], count: Count, text: str) -> None:
    counts = parse_counts(json.dumps({"rows": [row]}))

    assert counts == {"a": count}
    assert str(count) == text


@pytest.mark.parametrize("line", ["", "{}", '{"rows": 1}', '{"rows": [["a"]]}', '{"rows": [["a", "b", null]]}', "null"])
def test_an_answer_that_is_no_count_is_unreadable(line: str) -> None:
    with pytest.raises(Unreadable):
        parse_counts(line)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([], "None"),
        ([Count(3, True), Count(4, True)], "7"),
        ([Count(3, True), Count(1001, False, True)], ">1000"),
        ([Count(5000, False), Count(1001, False, True)], "~6000"),
    ],
)
def test_a_sum_is_as_exact_as_its_parts(counts: list[Count], text: str) -> None:
    assert str(total(counts)) == text


@given(st.integers(0, 10**9))
def test_a_rounded_number_is_within_a_twentieth(number: int) -> None:
    assert abs(round_number(number) - number) <= number / 20 + 0.5


def test_the_counting_statement_reads_and_is_bounded() -> None:
    assert "statement_timeout" in COUNTS
    assert COUNTS.count("LIMIT 1001") == 2
    assert not {"INSERT", "UPDATE", "DELETE", "CREATE"} & set(COUNTS.split())


def test_log_lines_of_this_file_have_the_time_they_say() -> None:
    assert json.loads(BEGIN)["time"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START))
