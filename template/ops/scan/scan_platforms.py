"""Scans every image of an index, one after the other, for `scan --all-platforms`.

Reads what run_scan reads; writes nothing. What goes wrong with one platform is that platform's result, undecided: the
others' are shown all the same.
"""

from __future__ import annotations

import argparse
import time

from ..clair.reach_edge import Edge
from ..errors import Problem
from ..feeds.match_updaters import Feeds
from ..feeds.read_ledger import LedgerSession
from ..feeds.share_ledger import SharedLedger
from ..host.show_activity import Activity
from ..network.open_connection import Deadline
from ..registries.choose_platform import IndexEntry
from ..registries.parse_reference import Platform, parse_platform
from ..registries.registry import Image, Registry
from ..registries.remember_layers import Layer
from ..settings import Deployment
from ..state.name_images import ImageNames
from ..verdict.report import failed_result
from ..verdict.run_scan import Result, run_scan


class EntrySource:
    """The source of run_scan for one entry of an index."""

    def __init__(self, registry: Registry, entry: IndexEntry) -> None:
        self._registry = registry
        self._entry = entry

    def resolve(self, wanted: Platform) -> Image:
        """Return the entry's image, whatever is `wanted`."""
        return self._registry.resolve_entry(self._entry)

    def locate(self, layers: tuple[str, ...]) -> list[Layer]:
        """Return the layers with addresses that can be fetched now."""
        return self._registry.locate(layers)

    def forget_token(self) -> None:
        """Drop what may have expired."""
        self._registry.forget_token()


def scan_platforms(
    deployment: Deployment,
    options: argparse.Namespace,
    activity: Activity,
    *,
    source: Registry,
    edge: Edge,
    feeds: Feeds,
    deadline: Deadline,
) -> list[Result]:
    """Return the results of all entries, in the index's order.

    Raises Problem for an index that cannot be read and for a ledger that cannot: then no platform can be judged.
    """
    entries = source.entries(parse_platform(f"linux/{deployment.architecture}"))
    results = []
    names = ImageNames(deployment)
    with SharedLedger(LedgerSession(deployment, deadline)) as ledger:
        ledger.ledger()
        for number, entry in enumerate(entries, 1):

            def step(
                text: str, told: str = f"{options.image} for {entry.platform} ({number} of {len(entries)})"
            ) -> None:
                activity.text = f"{text} {told}"

            try:
                result = run_scan(
                    EntrySource(source, entry),
                    edge,
                    ledger,
                    feeds=feeds,
                    options=options.policy,
                    wanted=entry.platform,
                    deadline=deadline,
                    step=step,
                    notice=activity.notice,
                )
            except Problem as problem:
                image = Image(options.image, entry.digest, entry.platform, ())
                result = failed_result(image, problem.sentence, feeds, options.policy, time.time())
            names.tell(entry.digest, options.image)
            results.append(result)
    return results
