"""Whether every image exists for the architecture, asked of the registries through the Docker SDK."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["image_problem"]


def image_problem(images: Iterable[str], architecture: str) -> str | None:
    """Return why an image cannot be had for `architecture`, or None if each registry has it.

    No Docker, no SDK and no answer are problems: an unknown image is never taken for a present one.
    """
    try:
        import docker
        import docker.errors
    except ImportError:
        return (
            "image_check 'true' needs the Docker SDK for Python: add --with docker to uvx, or set image_check to false."
        )
    try:
        client = docker.from_env(timeout=30)
        client.ping()
    except (docker.errors.DockerException, OSError):
        return "image_check 'true' needs a running Docker engine: start it, or set image_check to false."
    for image in sorted(set(images)):
        try:
            found = client.images.get_registry_data(image).has_platform(f"linux/{architecture}")  # type: ignore[no-untyped-call]
        except docker.errors.NotFound:
            return f"image_check 'true': the registry has no image {image}: check image_mirror and clair_version."
        except (docker.errors.DockerException, OSError) as error:
            reason = " ".join(str(getattr(error, "explanation", None) or error).split())
            return f"image_check 'true': no answer about {image} ({reason[:200]}): check image_mirror, or set image_check to false."
        if not found:
            return f"image_check 'true': {image} has no image for {architecture}: choose another architecture or clair_version."
    return None
