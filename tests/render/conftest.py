"""Fixtures of the rendered-tree tests.

These tests render often and look at no command, so `template` and `tagged_template` are without the commands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.support import repositories
from tests.support.traefik import Edge

StartEdge = Callable[[str], Edge]


@pytest.fixture(scope="session")
def template(quick_template: Path) -> Path:
    """The template as it stands in the working tree, outside git and without the commands."""
    return quick_template


@pytest.fixture(scope="session")
def tagged_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a git repository with the one tag v1.0.0, without the commands; tests that change it take a copy."""
    return repositories.template_repository(tmp_path_factory.mktemp("template") / "clair-quick-git", commands=False)


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
