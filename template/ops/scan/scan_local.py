"""The command `scan-local`: an image that is only in the local Docker, through a registry that lives for this one scan.

Reads the local Docker, Clair through the edge, the matcher's database. Starts the service `registry` for the scan and
removes it, the name it pushed by, and the index report (unless the indexer knew the manifest before), also after a
failure, Ctrl-C and SIGTERM; `state/scan-local/` tells the next command what a killed one left.
Exit codes and environment overrides: those of `scan` (scan_image.py).
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..clair.fetch_state import fetch_state, is_known
from ..clair.reach_edge import deployment_edge
from ..errors import Problem
from ..feeds.match_updaters import read_feeds
from ..feeds.read_ledger import LedgerSession
from ..feeds.share_ledger import SharedLedger
from ..host.show_activity import Activity
from ..network.choose_proxy import ProxySettings
from ..network.open_connection import Deadline, Trust
from ..network.web import Client
from ..registries.choose_platform import IndexEntry, choose_entry
from ..registries.find_local_image import LocalImage, find_local_image
from ..registries.parse_reference import Platform, Reference, parse_platform
from ..registries.registry import Image, Registry
from ..registries.remember_layers import Layer
from ..settings import Deployment
from ..verdict.run_scan import Result, run_scan
from .run_registry import REPOSITORY, LocalRegistry, remove_leftovers
from .scan_image import arguments, note_image, run_command


class LocalSource:
    """The source of run_scan: read from the registry where this machine sees it, located where the indexer does."""

    def __init__(self, image: LocalImage, registry: LocalRegistry, deadline: Deadline) -> None:
        self._image = image
        self._registry = registry
        self._reference = Reference(registry.host, REPOSITORY, registry.tag.rpartition(":")[2], "")
        # Loopback, without proxy and without the user's logins.
        self._source = Registry(Client(Trust(), ProxySettings()), self._reference, deadline)

    def resolve(self, wanted: Platform) -> Image:
        """Return the image for a platform. Raises Problem as Registry does, about the local name."""
        try:
            found = self._source.resolve(wanted)
        except Problem as problem:
            raise _renamed(problem, str(self._reference), self._image.name) from problem
        return replace(found, name=self._image.name, id=self._image.id)

    def locate(self, layers: tuple[str, ...]) -> list[Layer]:
        """Return the layers with the addresses that only the deployment's own network knows."""
        return [Layer(digest, self._registry.layer_url(digest), {}) for digest in layers]

    def forget_token(self) -> None:
        """Do nothing: this registry asks for no login."""


def _renamed(problem: Problem, inside: str, name: str) -> Problem:
    """Return a Problem that speaks of the image by the user's name for it."""
    hint = problem.hint.replace(inside, name).replace("./clair scan ", "./clair scan-local ")
    return Problem(problem.sentence.replace(inside, name), hint, problem.code)


def wanted_platform(image: LocalImage, asked: str, architecture: str) -> Platform:
    """Return the platform to scan: the one asked for, else the deployment's.

    Raises Problem (2) if nobody asked for a platform and the image is of another one than the deployment.
    """
    wanted = parse_platform(asked or f"linux/{architecture}")
    if not asked and choose_entry([IndexEntry("", image.platform)], wanted) is None:
        raise Problem(
            f"image of another platform, {image.name}: it is for {image.platform}, and the deployment is for {wanted}",
            f"./clair scan-local --platform {image.platform} {image.name}",
        )
    return wanted


def scan_local(deployment: Deployment, options: argparse.Namespace, activity: Activity) -> Result:
    """Scan the local image that `options` name. Raises Problem as run_scan does."""
    image = find_local_image(options.image)
    platform = wanted_platform(image, options.platform, deployment.architecture)
    options.platform = str(platform)
    feeds = read_feeds(deployment.facts["feeds"], options.max_feed_age)
    deadline = Deadline(options.timeout)
    edge = deployment_edge(deployment)
    with _until_ended(), SharedLedger(LedgerSession(deployment, deadline)) as ledger:
        # Both before anything is made: without them there is no verdict.
        fetch_state(edge, deadline)
        ledger.ledger()
        _tell(remove_leftovers(deployment))
        registry = LocalRegistry(deployment)
        try:
            activity.text = "starting a registry"
            registry.start(deadline)
            activity.text = f"pushing {image.name} to it"
            registry.push(image.id, deadline)

            def resolved(found: Image) -> None:
                note_image(options, found)
                if not is_known(edge, found.digest, deadline):
                    registry.indexes(found.digest)

            def step(text: str) -> None:
                activity.text = f"{text} {image.name}"

            return run_scan(
                LocalSource(image, registry, deadline),
                edge,
                ledger,
                feeds=feeds,
                options=options.policy,
                wanted=platform,
                deadline=deadline,
                resolved=resolved,
                step=step,
                notice=activity.notice,
            )
        finally:
            activity.text = "removing what was made for the scan"
            with _undisturbed():
                _tell(registry.close())


@contextmanager
def _until_ended() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does, so that it cleans up."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handlers(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nothing but SIGKILL end the block, which takes a second."""
    with _handlers(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _handlers(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
        yield
        return
    # What is ignored stays so: `nohup` has said that a closed terminal shall end nothing.
    heard = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _tell(failures: Sequence[Problem]) -> None:
    for problem in failures:
        print(f"warning: {problem.sentence}", file=sys.stderr)
        print(f"HINT: {problem.hint}", file=sys.stderr)


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    return run_command(arguments(argv, "scan-local"), scan_local)
