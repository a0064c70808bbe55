"""Each fault of a pack in docs/faults.md is told in one line with a hint, before anything is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Fault

from .conftest import Run, World
from .faults import FAULTS, Packs


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.case for fault in FAULTS])
def test_a_pack_that_is_refused_is_told_in_one_line_and_changes_nothing(
    run: Run, world: World, pack: Callable[..., Path], tmp_path: Path, fault: Fault
) -> None:
    fault.arrange(Packs(pack))

    path = tmp_path / "feeds.tar"
    outcome = run("feeds-import", str(path))

    assert (outcome.err, outcome.code) == (fault.told(PACK=str(path)), fault.code)
    assert outcome.out == ""
    assert world.calls == []
