"""Fixtures of the live tests: the engine, its images, rendered deployments, registries.

Without a Docker engine every test here is skipped with one line; with CI=true that is a failure instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extensions.catalogue import Catalogue
from tests.doubles.images.build import ImageError
from tests.live.registry import Registry, start_registry
from tests.live.support import (
    Deployment,
    Engine,
    EngineMissing,
    Images,
    find_engine,
    render_deployment,
)

DeploymentFactory = Callable[..., Deployment]

_IMAGES = pytest.StashKey[Images]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, before pytest applies -m."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("docker")


@functools.cache
def _engine_or_reason() -> Engine | str:
    try:
        return find_engine()
    except EngineMissing as missing:
        return str(missing)


def pytest_runtest_setup() -> None:
    """Skip without an engine, or fail with CI=true; here and not in a fixture, so that the skips fold into one line."""
    found = _engine_or_reason()
    if isinstance(found, str):
        if os.environ.get("CI") == "true":
            pytest.fail(found, pytrace=False)
        pytest.skip(found)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which images ran: a green run with a double of Clair proves less than one with Clair."""
    images = config.stash.get(_IMAGES, None)
    if images is not None and images.reports:
        terminalreporter.section("images of the live tests")
        for report in images.reports.values():
            terminalreporter.line(str(report))


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Return the Docker engine of this machine."""
    found = _engine_or_reason()
    assert isinstance(found, Engine), found
    return found


@pytest.fixture(scope="session")
def images(engine: Engine, catalogue: Catalogue, pytestconfig: pytest.Config) -> Images:
    """Return the images of this run; those of the default answers are there, a deployment adds what it names beside them."""
    images = pytestconfig.stash.setdefault(_IMAGES, Images())
    components = catalogue.components
    postgres = components["postgres"]
    references = [
        f"{catalogue.clair['image']}:{catalogue.newest}",
        f"{postgres['image']}:{postgres['majors'][postgres['default_major']]['tag']}",
        *(f"{components[name]['image']}:{components[name]['tag']}" for name in ("traefik", "receiver")),
    ]
    try:
        images.ensure(*references)
    except ImageError as error:
        pytest.fail(str(error), pytrace=False)
    return images


@pytest.fixture(scope="session")
def postgres_image(engine: Engine, catalogue: Catalogue, pytestconfig: pytest.Config) -> str:
    """Return the image of PostgreSQL that the default answers name, for tests that need no other."""
    postgres = catalogue.components["postgres"]
    reference = f"{postgres['image']}:{postgres['majors'][postgres['default_major']]['tag']}"
    try:
        pytestconfig.stash.setdefault(_IMAGES, Images()).ensure(reference)
    except ImageError as error:
        pytest.fail(str(error), pytrace=False)
    return reference


@pytest.fixture
def deployment(
    engine: Engine, images: Images, whole_template: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[DeploymentFactory]:
    """Return a function that renders a deployment from answers; all of it is removed after the test."""
    yield from _deployments(engine, images, whole_template, tmp_path, request)


@pytest.fixture(scope="module")
def shared_deployment(
    engine: Engine,
    images: Images,
    whole_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[DeploymentFactory]:
    """Return the same function for fixtures that keep one deployment running for a whole module."""
    yield from _deployments(engine, images, whole_template, tmp_path_factory.mktemp("deployments"), request)


def _deployments(
    engine: Engine, images: Images, whole_template: Path, folder: Path, request: pytest.FixtureRequest
) -> Iterator[DeploymentFactory]:
    rendered: list[Deployment] = []
    failed_before = request.session.testsfailed

    def render(**answers: Any) -> Deployment:
        made = render_deployment(whole_template, folder / f"deployment-{len(rendered)}", engine, answers)
        rendered.append(made)
        images.ensure(*made.facts["images"].values())
        return made

    yield render
    for made in rendered:
        if request.session.testsfailed > failed_before:
            print(made.all_logs())
        made.remove()


@pytest.fixture(scope="session")
def registry(engine: Engine, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return an open registry."""
    started = start_registry(engine, images, tmp_path_factory.mktemp("registry"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def private_registry(engine: Engine, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return a registry that asks for REGISTRY_USER and REGISTRY_PASSWORD."""
    started = start_registry(engine, images, tmp_path_factory.mktemp("registry"), password_needed=True)
    yield started
    started.stop()
