"""Pulls the images that are not on this host, side by side, before anything is started."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import List, Sequence

from ..checks.check_host import local_images
from ..host import engine
from ..host.explain_failure import image_problem
from ..host.show_progress import Progress
from ..settings import Deployment


def images_of(deployment: Deployment, services: Sequence[str]) -> List[str]:
    """Return the images of services; the three Clair services share one."""
    images = deployment.facts["images"]
    clair = [images["clair"]] if {"indexer", "matcher", "notifier"} & set(services) else []
    return sorted({*clair, *(images[name] for name in services if name in images)})


def pull_missing(deployment: Deployment, services: Sequence[str], timeout_seconds: float, progress: Progress) -> None:
    """Pull what is missing.

    Raises Problem (3) that names the first image that cannot be had.
    """
    missing = [image for image, found in local_images(images_of(deployment, services)).items() if found is None]
    if not missing:
        return
    progress.line(f"pulling {', '.join(missing)}")
    with ThreadPoolExecutor(len(missing)) as pool:
        futures = {pool.submit(_pull, deployment, image, timeout_seconds): image for image in missing}
        while futures:
            done, _ = wait(futures, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                progress.line(f"pulled {futures.pop(future)} ({progress.seconds:.0f} s)")
            progress.waiting(f"pulling {', '.join(futures.values())}")
    progress.end()


def _pull(deployment: Deployment, image: str, timeout_seconds: float) -> None:
    words = ["pull", "--quiet", "--platform", f"linux/{deployment.architecture}", image]
    result = engine.docker(words, timeout_seconds=timeout_seconds, check=False)
    if result.returncode != 0:
        raise image_problem(image, result.stderr)
