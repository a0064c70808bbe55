"""The double of Clair says what real Clair said, exchange by exchange: every recorded one is repeated, or has a reason not to be.

The double's programs run on this machine, without its image; PostgreSQL is the one container. tests/live/recorded has the script.
What a real image of Clair answers is compared in test_clair_answers_as_recorded, as far as that needs no image and no feed.
"""

from __future__ import annotations

import pytest

from tests.live.recorded.replay import Replayed, replay
from tests.live.support import Engine
from tests.support.recordings import NOT_REPLAYED, RELEASES, Exchange, exchanges

# The recorded token with a wrong key has a short one.
pytestmark = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")

Recording = dict[Exchange, Replayed]

REPEATED = [one for release in RELEASES for one in exchanges(release) if one not in NOT_REPLAYED]


@pytest.fixture(scope="module")
def replayed(
    request: pytest.FixtureRequest, engine: Engine, postgres_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    """The whole recording of one release, repeated once."""
    return replay(request.param, engine, postgres_image, tmp_path_factory.mktemp("recorded"))


@pytest.mark.parametrize(
    ("replayed", "exchange"),
    [pytest.param(one.release, one, id=str(one)) for one in REPEATED],
    indirect=["replayed"],
    scope="module",  # pytest would make the fixture anew for each exchange
)
def test_the_double_says_what_clair_said(replayed: Recording, exchange: Exchange) -> None:
    assert exchange in replayed, "the script in tests/live/recorded/replay.py does not repeat it"

    assert replayed[exchange].said == replayed[exchange].recorded


@pytest.mark.parametrize("replayed", RELEASES, indirect=True, scope="module")
def test_what_is_not_repeated_is_listed(replayed: Recording) -> None:
    release = next(iter(replayed)).release

    assert set(exchanges(release)) - set(replayed) == {one for one in NOT_REPLAYED if one.release == release}
