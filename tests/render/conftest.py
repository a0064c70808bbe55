"""Fixtures of the rendered-tree tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Render
from tests.support.traefik import Edge

StartEdge = Callable[[str], Edge]


@pytest.fixture(scope="session")
def start_edge(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEdge]:
    """Start Traefik with an answer file's configuration, once per session; at the end no log may hold an error or a warning."""
    running: dict[str, Edge] = {}

    def start(name: str) -> Edge:
        if name not in running:
            running[name] = Edge(render(name), tmp_path_factory.mktemp("traefik"))
            running[name].start()
        return running[name]

    yield start

    for edge in running.values():
        edge.stop()
    assert {name: edge.complaints() for name, edge in running.items() if edge.complaints()} == {}
