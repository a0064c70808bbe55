"""What a scan hands to a format: one result, or one for each platform of an image index.

Pure. Every way a scan can end is a result, also that no report came: then it is undecided and holds no report, so that
no format can show it as an image without findings.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NO, UNDECIDED
from ..feeds.find_feeds import Cover
from ..feeds.match_updaters import FRESH, NONE, Feeds
from ..registries.registry import Image
from .finding import CLEAN, FINDINGS, UNDECIDED_VERDICT
from .judge_report import Options, Verdict
from .run_scan import Result

# Exit codes from the worst to the best: what several platforms come to is the worst of theirs.
WORST_FIRST = (UNDECIDED, NO, 0)
VERDICTS = {UNDECIDED: UNDECIDED_VERDICT, NO: FINDINGS, 0: CLEAN}


@dataclass(frozen=True)
class Report:
    """Results of one image, and the Clair release they come from. `whole` means all platforms of its index."""

    results: tuple[Result, ...]
    release: str
    whole: bool = False

    @property
    def image(self) -> str:
        """The full name of the image."""
        return self.results[0].image.name

    @property
    def code(self) -> int:
        """The exit code: the worst of the results'."""
        codes = {result.verdict.code for result in self.results}
        return next(code for code in WORST_FIRST if code in codes)

    @property
    def verdict(self) -> str:
        """The verdict that goes with the exit code."""
        return VERDICTS[self.code]

    @property
    def labels(self) -> tuple[str, ...]:
        """The platform of each result; with the digest's first digits where an index has a platform twice."""
        names = [str(result.image.platform) for result in self.results]
        return tuple(
            name if names.count(name) == 1 else f"{name} ({result.image.digest.partition(':')[2][:12]})"
            for name, result in zip(names, self.results)
        )

    @property
    def labelled(self) -> tuple[tuple[str, Result], ...]:
        """Each result with its label."""
        return tuple(zip(self.labels, self.results))


def failed_result(image: Image, reason: str, feeds: Feeds, options: Options, now: float) -> Result:
    """Return the result of a scan that ended without a report: undecided, with the one reason."""
    verdict = Verdict(UNDECIDED_VERDICT, (reason,), (), (), 0)
    return Result(image, verdict, feeds, options, now, "")


def uncovered(verdict: Verdict) -> list[str]:
    """Return what no feed answers for, each with the reason and the number of packages."""
    return [f"{cover.subject}: {cover.reason} ({count_packages(cover)})" for cover in verdict.covers if is_open(cover)]


def is_open(cover: Cover) -> bool:
    """Return True if no feed answers for a distribution or language at all."""
    return cover.state == NONE or (cover.state != FRESH and cover.succeeded_at is None)


def count_packages(cover: Cover) -> str:
    """Return the number of packages of a distribution or language in words."""
    return f"{cover.packages} package{'' if cover.packages == 1 else 's'}"
