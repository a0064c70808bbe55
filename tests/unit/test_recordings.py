"""The recordings of real Clair: nothing in them is left out without a reason that still holds."""

from __future__ import annotations

import pytest

from tests.live.recorded import comparing
from tests.support.recordings import NOT_REPLAYED, RELEASES, document, exchanges


@pytest.mark.parametrize("release", RELEASES)
def test_every_part_of_a_recording_is_known(release: str) -> None:
    kinds = {one.kind for one in exchanges(release)}

    assert kinds == {"http", "clairctl", "logs", "startup"}


def test_what_is_not_repeated_was_recorded_and_has_a_reason_of_one_line() -> None:
    every = {one for release in RELEASES for one in exchanges(release)}

    assert set(NOT_REPLAYED) <= every
    assert all(reason.strip() and "\n" not in reason for reason in NOT_REPLAYED.values())


def test_log_lines_that_are_left_out_were_recorded() -> None:
    tails = [line for release in RELEASES for one in document(release)["startup"] for line in one["log_tail"]]
    logs = [
        line
        for release in RELEASES
        for one in document(release)["logs"].values()
        if isinstance(one, list)
        for line in one
    ]

    unused = [words for words in comparing.NOT_SAID if not any(words in line for line in [*tails, *logs])]

    assert unused == []


@pytest.mark.parametrize("release", RELEASES)
def test_most_log_lines_are_compared(release: str) -> None:
    services = [f"clair-{mode}" for mode in ("indexer", "matcher", "notifier")]

    kept = {
        name: sum(not comparing.reason_to_be_silent(line) for line in document(release)["logs"][name])
        for name in services
    }

    assert min(kept.values()) >= 13, kept
