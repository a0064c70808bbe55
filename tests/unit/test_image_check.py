"""image_check with a Docker SDK of the test's own: who is asked, and what each answer means."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from extensions.image_check import image_problem

CLAIR, POSTGRES = "quay.io/projectquay/clair:4.9.0", "docker.io/library/postgres:17.10"


class DockerException(Exception):
    """Stands for docker.errors.DockerException."""


class NotFound(DockerException):
    """Stands for docker.errors.NotFound."""


class ApiError(DockerException):
    """Stands for docker.errors.APIError, which carries the engine's words."""

    explanation = "denied:\n requested access"


class Registry:
    """A registry that holds images by name, each with its platforms or the error that asking for it raises."""

    def __init__(self, images: dict[str, list[str] | Exception]) -> None:
        self.known = images
        self.asked: list[str] = []

    def get_registry_data(self, image: str) -> Any:
        """Answer as docker.models.images.ImageCollection does."""
        self.asked.append(image)
        answer = self.known.get(image, NotFound("no such image"))
        if isinstance(answer, Exception):
            raise answer
        data = ModuleType("registry_data")
        data.has_platform = lambda platform: platform in answer  # type: ignore[attr-defined]
        return data


@pytest.fixture
def use_sdk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """Put a Docker SDK into place whose engine answers, or not, and whose registry holds these images."""

    def use(images: dict[str, list[str] | Exception], ping: Exception | None = None) -> Registry:
        registry = Registry(images)

        class Client:
            images = registry

            def ping(self) -> None:
                if ping:
                    raise ping

        docker, errors = ModuleType("docker"), ModuleType("docker.errors")
        docker.from_env = lambda timeout: Client()  # type: ignore[attr-defined]
        docker.errors = errors  # type: ignore[attr-defined]
        errors.DockerException, errors.NotFound = DockerException, NotFound  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "docker", docker)
        monkeypatch.setitem(sys.modules, "docker.errors", errors)
        return registry

    return use


def test_images_that_exist_are_accepted_and_each_is_asked_for_once(use_sdk: Callable[..., Registry]) -> None:
    registry = use_sdk({CLAIR: ["linux/amd64", "linux/arm64"], POSTGRES: ["linux/arm64"]})

    reason = image_problem([CLAIR, POSTGRES, CLAIR], "arm64")

    assert reason is None
    assert registry.asked == [POSTGRES, CLAIR]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            ["linux/amd64"],
            f"image_check 'true': {CLAIR} has no image for s390x: choose another architecture or clair_version.",
        ),
        (
            NotFound("404"),
            f"image_check 'true': the registry has no image {CLAIR}: check image_mirror and clair_version.",
        ),
        (
            ApiError("401"),
            f"image_check 'true': no answer about {CLAIR} (denied: requested access): check image_mirror, or set"
            " image_check to false.",
        ),
        (
            OSError("timed\nout"),
            f"image_check 'true': no answer about {CLAIR} (timed out): check image_mirror, or set image_check to false.",
        ),
    ],
    ids=["other-platform", "not-found", "refused", "unreachable"],
)
def test_image_that_cannot_be_had_is_refused(use_sdk: Callable[..., Registry], answer: Any, sentence: str) -> None:
    use_sdk({CLAIR: answer})

    assert image_problem([CLAIR], "s390x") == sentence


@pytest.mark.parametrize("error", [DockerException("no engine"), ConnectionRefusedError()], ids=["docker", "system"])
def test_no_engine_is_a_refusal(use_sdk: Callable[..., Registry], error: Exception) -> None:
    use_sdk({}, ping=error)

    reason = image_problem([CLAIR], "amd64")

    assert reason == "image_check 'true' needs a running Docker engine: start it, or set image_check to false."


def test_no_sdk_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)

    reason = image_problem([CLAIR], "amd64")

    assert reason == (
        "image_check 'true' needs the Docker SDK for Python: add --with docker to uvx, or set image_check to false."
    )
