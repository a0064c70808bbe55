"""How long `./clair fleet` takes for 200 images that are indexed, against clairctl on the same stack.

Two floors: a shell loop of `clairctl report`, a container per image, measured on 20 images and scaled; and one
`clairctl report` that names all 200. The stack is the demo's; the images are in a registry container beside it. That one
call asks for all images at once and gives up at the first 429, so here the indexer takes 1,000 requests at once;
`fleet` still sends as many as the size allows.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import socket
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from bench.engine import docker, remove_project
from bench.measure import BenchError, Row, call, note, timed_call
from bench.project import with_interpreter
from bench.scanning import clairctl, start_demo, workspace
from demo import sample_image

__all__ = ["compare", "measure", "push_images", "start_registry"]

IMAGES = 200
LOOP_IMAGES = 20
REPOSITORIES = 20
RUNS = 3
NETWORK = "egress"  # the one that the indexer fetches layers over
PORT = 5000
MANY = 1000
START_SECONDS = 20.0


def take_many(folder: Path) -> None:
    """Let the indexer take more requests at once than clairctl sends."""
    drop_in = folder / "config" / "indexer" / "config.yaml.d" / "bench.yaml"
    drop_in.write_text(f"indexer:\n  index_report_request_concurrency: {MANY}\n", encoding="utf-8")
    call([folder / "clair", "up"], environment={"ALLOW_SMALL": "1", **with_interpreter()})


def start_registry(name: str, image: str) -> str:
    """Start a registry in the deployment's network, to be removed with it; return its `address:port` there."""
    container, network = f"{name}-fleet", f"{name}_{NETWORK}"
    label = f"com.docker.compose.project={name}"
    call(docker("run", "--detach", "--name", container, "--network", network, "--label", label, image))
    template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    address = call(docker("inspect", "--format", template, container)).strip()
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((address, PORT), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return f"{address}:{PORT}"
    raise BenchError(f"registry not started, {container}: nothing listens on {address}:{PORT}")


def push_images(address: str, count: int) -> list[str]:
    """Push `count` images, each with a layer of its own above one of four bases; return their names."""
    bases = [
        sample_image.debian_image(),
        sample_image.debian_image(updated=True),
        sample_image.alpine_image(),
        sample_image.alpine_image(updated=True),
    ]
    layers = [[gzip.decompress(blob.data) for blob in base.blobs[1:]] for base in bases]
    names = []
    for number in range(count):
        own = sample_image.tar({"app/number": f"{number}\n"})
        image = sample_image.image([*layers[number % len(layers)], own])
        repository, tag = f"fleet/app-{number % REPOSITORIES}", str(number)
        sample_image.push(image, f"http://{address}", repository, tag)
        names.append(f"{address}/{repository}:{tag}")
    return names


def measure() -> list[Row]:
    """Return a row per floor."""
    note(f"fleet: {IMAGES} indexed images (some minutes)")
    log = start_demo()
    kept = re.search(r"kept: (\S+) in (\S+)", log)
    if not kept:
        raise BenchError(f"the demo kept nothing to measure: {' / '.join(log.splitlines()[-3:])}")
    folder = Path(kept.group(2))
    facts = json.loads((folder / "ops" / "deployment.json").read_text(encoding="utf-8"))
    try:
        take_many(folder)
        address = start_registry(kept.group(1), facts["images"]["registry"])
        host = address.partition(":")[0]
        environment = {"NO_PROXY": host, "no_proxy": host, **with_interpreter()}
        names = push_images(address, IMAGES)
        (folder / "images.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return compare(folder, names, environment)
    finally:
        remove_project(kept.group(1))
        shutil.rmtree(workspace(folder, kept.group(1)), ignore_errors=True)


def compare(folder: Path, names: list[str], environment: Mapping[str, str]) -> list[Row]:
    """Return the rows for the images `names`, which the deployment in `folder` and its clairctl reach."""
    fleet = [folder / "clair", "fleet"]
    one_call = [*clairctl(folder, names[0]), *names[1:]]
    loop = "; ".join(shlex.join(clairctl(folder, name)) for name in names[:LOOP_IMAGES])

    def run_fleet() -> float:
        return timed_call(fleet, environment=environment, accept=(0, 1))

    def run_first() -> float:
        shutil.rmtree(folder / "state" / "fleet", ignore_errors=True)
        return run_fleet()

    timed_call(one_call)  # indexes all
    runs = [(run_first(), run_fleet(), timed_call(one_call), timed_call(["sh", "-c", loop])) for _ in range(RUNS)]
    first, ours, together, sample = (statistics.median(column) for column in zip(*runs, strict=True))
    scaled = sample / LOOP_IMAGES * len(names)
    rate, loop_rate = (60 * len(names) / seconds for seconds in (ours, scaled))
    return [
        Row(
            f"images per minute of `./clair fleet` of {len(names)} indexed images to a loop of `clairctl report`",
            ">= 10",
            f"{rate / loop_rate:.1f}",
            f"{rate:.0f} to {loop_rate:.0f}; {ours:.2f} s to {sample:.1f} s for {LOOP_IMAGES} images, scaled",
        ),
        Row(
            f"`./clair fleet` of {len(names)} indexed images to one `clairctl report` of all",
            "<= 1.2",
            f"{ours / together:.2f}",
            f"{ours:.2f} s to {together:.2f} s, median of {RUNS} runs each",
        ),
        Row(
            "the same for the first run of a list, which does not know yet what is indexed",
            "<= 1.2",
            f"{first / together:.2f}",
            f"{first:.2f} s to {together:.2f} s",
        ),
    ]
