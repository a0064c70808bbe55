"""One scan from image to verdict, wherever manifest and ledger come from.

Talks to what it is given and writes nothing: a source knows the image, the edge leads to Clair, the ledger knows the
feeds. The command `scan` gives it a registry and this machine's database; a pipeline elsewhere can give it others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..clair.fetch_report import fetch_report
from ..clair.index_manifest import index_manifest
from ..clair.reach_edge import Edge
from ..clair.read_report import IndexReport
from ..feeds.find_feeds import Question, presence_questions
from ..feeds.match_updaters import Feeds, Ledger
from ..host.run_parallel import Running
from ..network.open_connection import Deadline
from ..network.retry_request import Notice
from ..registries.parse_reference import Platform
from ..registries.registry import Image
from ..registries.remember_layers import Layer
from .judge_report import Options, Verdict, judge_report

# Gets the indexer's report of a manifest: index_manifest, or what stands in for it.
Indexer = Callable[[Edge, str, Callable[[], list[Layer]], Deadline, Notice], IndexReport]


class Source(Protocol):
    """Where an image comes from: a registry."""

    def resolve(self, wanted: Platform) -> Image:
        """Return the image for a platform."""

    def locate(self, layers: tuple[str, ...]) -> list[Layer]:
        """Return the layers with addresses the indexer can fetch now."""

    def forget_token(self) -> None:
        """Drop what may have expired before the layers are located again."""


class LedgerSource(Protocol):
    """Where the feed ledger comes from: a database."""

    def ledger(self) -> Ledger:
        """Return the ledger."""

    def present(self, questions: Sequence[Question]) -> dict[Question, bool]:
        """Return whether the feeds hold what is asked."""


@dataclass(frozen=True)
class Result:
    """A verdict and what it is about. `finished_at` is in seconds since 1970, `report` the matcher's answer as JSON."""

    image: Image
    verdict: Verdict
    feeds: Feeds
    options: Options
    finished_at: float
    report: str = field(repr=False)


def run_scan(
    source: Source,
    edge: Edge,
    ledger_source: LedgerSource,
    *,
    feeds: Feeds,
    options: Options,
    wanted: Platform,
    deadline: Deadline,
    resolved: Callable[[Image], None] = lambda image: None,
    step: Notice = lambda text: None,
    notice: Notice = lambda text: None,
    index: Indexer = index_manifest,
) -> Result:
    """Return the result of scanning one image.

    `resolved` is told which one as soon as it is known, `step` what is going on, `notice` why something takes longer.
    Raises Problem: 2 for an image that cannot be scanned, 3 for every service that gives no readable answer.
    """
    ledger = Running(ledger_source.ledger)
    image = source.resolve(wanted)
    resolved(image)
    located = False

    def locate() -> list[Layer]:
        nonlocal located
        if located:
            source.forget_token()
        located = True
        return source.locate(image.layers)

    step("indexing")
    indexing = Running(lambda: index(edge, image.digest, locate, deadline, notice))
    # Asked first: with its database down the indexer holds the request for ever (seen with 4.9.0), the ledger fails at once.
    known = ledger.result()
    indexed = indexing.result()
    questions = presence_questions(indexed.contents, feeds, known)
    step("matching")
    present = Running(lambda: ledger_source.present(questions))
    report = fetch_report(edge, image.digest, deadline, notice)
    now = time.time()
    verdict = judge_report(
        image.digest,
        indexed,
        report,
        feeds=feeds,
        ledger=known,
        present=present.result(),
        options=options,
        now=now,
        image=image.name,
        platform=str(image.platform),
    )
    return Result(image, verdict, feeds, options, now, report.text)
