"""What a roll of several replicas does about a replacement that was cut short."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops.change import roll_services
from ops.host.show_progress import Progress
from ops.host.watch_start import Container
from ops.settings import Deployment

DEPLOYMENT = Deployment({"deployment_name": "clair", "services": {"indexer": {"replicas": 2}}}, Path("/nowhere"))
LEFT = Container("26c0", "running", "Up 4 minutes (healthy)", "indexer", "26c094093f34_clair-indexer-1")
NAMED = Container("1", "running", "Up 4 minutes (healthy)", "indexer", "clair-indexer-1")


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of docker; nothing is waited for long."""
    calls: list[str] = []
    monkeypatch.setattr(roll_services.engine, "docker", lambda words, **_: calls.append(" ".join(words)))
    monkeypatch.setattr(roll_services, "COMPOSE_SECONDS", 0.5)
    monkeypatch.setattr(roll_services, "POLL_SECONDS", 0.01)
    return calls


def test_a_replacement_that_ends_by_itself_is_waited_for(monkeypatch: pytest.MonkeyPatch, removed: list[str]) -> None:
    answers = iter([[LEFT, NAMED], [LEFT], [NAMED]])
    monkeypatch.setattr(roll_services, "containers", lambda _: next(answers))

    roll_services.end_replacing(DEPLOYMENT, "indexer", Progress())

    assert removed == []
    assert list(answers) == []


def test_a_replacement_that_stays_is_removed(monkeypatch: pytest.MonkeyPatch, removed: list[str]) -> None:
    monkeypatch.setattr(roll_services, "containers", lambda _: [LEFT, NAMED])

    roll_services.end_replacing(DEPLOYMENT, "indexer", Progress())

    assert removed == ["rm --force --volumes 26c0"]
