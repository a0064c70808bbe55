"""`scan-local` and `fleet` on a running deployment: what they find, what they leave, and what a kill does to them."""

from __future__ import annotations

import gzip
import io
import json
import os
import secrets
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import sample_feed, sample_image
from tests.live.conftest import DeploymentFactory
from tests.live.registry import Registry
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    findings,
    no_traceback,
    request,
    token,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

IMAGES = 24
DEBIAN = "sample/debian:12"


@dataclass(frozen=True)
class Stack:
    """A running deployment with feeds, and the names of images that a registry has for it."""

    deployment: Deployment
    images: list[str]

    def traces(self) -> list[str]:
        """Return what a `scan-local` has left in the engine and in `state/`."""
        docker, name = self.deployment.engine.docker, self.deployment.name
        containers = docker("ps", "--all", "--filter", f"name={name}-.*registry", "--format", "{{.Names}}").stdout
        tags = docker(
            "image", "ls", "--filter", "reference=127.0.0.1:*/scan-local", "--format", "{{.Repository}}"
        ).stdout
        files = self.deployment.root / "state" / "scan-local"
        return [*containers.split(), *tags.split(), *(path.name for path in files.glob("*"))]

    def knows(self, digest: str) -> int:
        """Return the status of the indexer's answer to a question for a report."""
        headers = {"Authorization": f"Bearer {token(self.deployment)}"}
        return request(self.deployment.edge_url, "GET", f"/indexer/api/v1/index_report/{digest}", headers)[0]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `./clair ARGUMENTS` in a process group of its own."""
        return subprocess.Popen(
            ["./clair", *arguments],
            cwd=self.deployment.root,
            env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def stack(shared_deployment: DeploymentFactory, registry: Registry) -> Stack:
    """A deployment with its feeds loaded, and images in a registry, each with a layer of its own."""
    deployment = shared_deployment(updater_families=FAMILIES)
    add_samples(deployment)
    clair(deployment, "up")
    address = registry.join(deployment)
    layers = [gzip.decompress(blob.data) for blob in sample_image.debian_image().blobs[1:]]
    names = []
    for number in range(IMAGES):
        image = sample_image.image([*layers, sample_image.tar({"app/number": f"{number}\n"})])
        sample_image.push(image, f"http://{registry.host_address}", "fleet/app", str(number))
        names.append(f"{address}/fleet/app:{number}")
    wait_for_feeds(deployment)
    return Stack(deployment, names)


def archive(image: sample_image.Image, name: str) -> bytes:
    """Return an image as `docker save` writes it."""
    config, *layers = image.blobs
    paths = [f"{blob.digest.removeprefix('sha256:')}/layer.tar" for blob in layers]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": paths}]
    files = {"config.json": config.data, "manifest.json": json.dumps(manifest).encode()}
    files.update({path: gzip.decompress(blob.data) for path, blob in zip(paths, layers, strict=True)})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as written:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            written.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def load_image(stack: Stack, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function that brings the sample of Debian 12 for an architecture into the local Docker."""
    docker = stack.deployment.engine.docker
    loaded: list[str] = []

    def load(architecture: str) -> str:
        name = f"clairtest-{secrets.token_hex(4)}:1.0"
        path = tmp_path / "image.tar"
        path.write_bytes(archive(sample_image.debian_image(architecture), name))
        docker("load", "--quiet", "--input", str(path))
        loaded.append(name)
        return name

    yield load
    for name in loaded:
        docker("image", "rm", "--force", name)


@pytest.fixture
def local_image(load_image: Callable[[str], str]) -> str:
    """The sample of Debian 12 as an image that is in the local Docker only."""
    return load_image("amd64")


def test_a_local_image_has_the_expected_findings_and_nothing_of_the_scan_stays(stack: Stack, local_image: str) -> None:
    release = stack.deployment.facts["clair_release"]

    done = clair(stack.deployment, "scan-local", local_image, "--format", "json", check=False)

    no_traceback(done)
    document = json.loads(done.stdout)
    inspected = stack.deployment.engine.docker("image", "inspect", "--format", "{{.Id}}", local_image).stdout.strip()
    assert done.returncode == 1
    assert findings(document) == sample_feed.expected_findings(DEBIAN, release=release)
    assert (document["image"], document["image_id"]) == (local_image, inspected)
    assert stack.traces() == []
    assert stack.knows(document["digest"]) == 404


def test_a_local_image_of_another_architecture_is_said(stack: Stack, load_image: Callable[[str], str]) -> None:
    other = load_image("arm64")

    refused = clair(stack.deployment, "scan-local", other, check=False)
    scanned = clair(stack.deployment, "scan-local", other, "--platform", "linux/arm64", check=False)

    assert refused.returncode == 2
    assert refused.stderr == (
        f"image of another platform, {other}: it is for linux/arm64, and the deployment is for linux/amd64\n"
        f"HINT: ./clair scan-local --platform linux/arm64 {other}\n"
    )
    assert "platform  linux/arm64" in scanned.stdout.splitlines()
    assert stack.traces() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_scan_leaves_nothing(stack: Stack, local_image: str, number: signal.Signals) -> None:
    process = stack.start("scan-local", local_image)
    wait_until(lambda: any(".registry" in trace for trace in stack.traces()), "a registry's container", 60)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode in (130, 1), errors  # 1: it had just finished
    assert stack.traces() == []


def test_the_next_scan_removes_what_a_killed_one_left(stack: Stack, local_image: str) -> None:
    process = stack.start("scan-local", local_image)
    wait_until(lambda: any(".registry" in trace for trace in stack.traces()), "a registry's container", 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    left = stack.traces()

    done = clair(stack.deployment, "scan-local", local_image, check=False)

    assert left
    assert done.returncode == 1
    assert stack.traces() == []


def test_a_fleet_goes_on_after_a_kill_and_indexes_nothing_twice(stack: Stack) -> None:
    root = stack.deployment.root
    (root / "images.txt").write_text("".join(f"{name}\n" for name in stack.images), encoding="utf-8")

    process = stack.start("fleet")
    journal = wait_until(lambda: next(root.glob("state/fleet/images-*/journal"), None), "a journal", 60)
    wait_until(lambda: journal.read_bytes().count(b"\n") >= 3, "three results", 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    cut_after = journal.read_bytes().count(b"\n")

    resumed = clair(stack.deployment, "fleet", "--json", check=False)
    again = clair(stack.deployment, "fleet", "--json", check=False)

    for done in (resumed, again):
        no_traceback(done)
        assert done.returncode == 1, done.stderr
    document = json.loads(resumed.stdout)
    assert resumed.stderr.startswith("going on with the run of ")
    assert document["images"] == IMAGES
    assert document["indexed"] == IMAGES - cut_after
    assert document["verdicts"] == {"undecided": 0, "findings": IMAGES, "clean": 0}
    second = json.loads(again.stdout)
    assert (second["indexed"], second["new_findings"], second["gone_findings"]) == (0, 0, 0)
    results = [json.loads(line) for line in (root / second["results"]).read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in results] == stack.images
    assert (root / second["overview"]).read_text(encoding="utf-8").startswith("<!doctype html>")
