"""A scan's result as JUnit XML, for GitLab, Jenkins and others.

Pure. One suite for each platform: first the verdict, then what covers it, then the findings. What fails the scan is a
failure, an undecided verdict an error, what does not count is skipped. GitLab takes the text of those elements (its
lib/gitlab/ci/parsers/test/junit.rb); nothing of a feed goes into system-out, where it would look for attachments.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..feeds.match_updaters import FRESH
from ..verdict.compare_platforms import ABSENT, compare_platforms
from ..verdict.finding import SEVERITIES, UNDECIDED_VERDICT, Finding
from ..verdict.report import Report
from ..verdict.run_scan import Result
from .describe_result import cover_text, facts, standing, summary, timestamp
from .neutralise_text import markup

# A case of a suite: class, name, and what it is (failure, error, skipped or nothing) with message and text.
Case = tuple[str, str, str, str, str]


def junit_report(report: Report) -> Iterator[str]:
    """Yield the whole document in pieces."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    totals = [_count(result) for result in report.results]
    tests, failures, errors, skipped = (sum(each) for each in zip(*totals))
    differences = list(_difference_cases(report)) if report.whole else []
    counted = _counts(tests + len(differences), failures, errors, skipped + len(differences))
    yield f'<testsuites name="clair scan" {counted}>\n'
    for label, result in report.labelled:
        name = f"{report.image} {label}" if report.whole else report.image
        yield f'<testsuite name="{markup(name)}" {_counts(*_count(result))} timestamp="{_time(result)}">\n<properties>\n'
        for key, value in _properties(result, report.release):
            yield f'<property name="{markup(key)}" value="{_line(value)}"/>\n'
        yield "</properties>\n"
        for case in _cases(result):
            yield _case(case)
        yield "</testsuite>\n"
    if differences:
        yield f'<testsuite name="differences between platforms" {_counts(len(differences), 0, 0, len(differences))}>\n'
        for case in differences:
            yield _case(case)
        yield "</testsuite>\n"
    yield "</testsuites>\n"


def _properties(result: Result, release: str) -> Iterator[tuple[str, str]]:
    yield from facts(result, release)
    yield "verdict", f"{result.verdict.verdict}: {summary(result)}"
    for cover in result.verdict.covers:
        yield "feed", cover_text(cover, result.finished_at)
    for note in result.verdict.notes:
        yield "note", note


def _cases(result: Result) -> Iterator[Case]:
    verdict = result.verdict
    undecided = verdict.verdict == UNDECIDED_VERDICT
    reasons = verdict.reasons
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    said = f"undecided: {reasons[0]}{more}" if reasons else ""
    yield ("verdict", "the scan is decided", "error" if undecided else "", said, "\n".join(reasons))
    for cover in verdict.covers:
        text = cover_text(cover, result.finished_at)
        yield ("feeds", cover.subject, "" if cover.state == FRESH else "skipped", text, text)
    for sentence in verdict.expired:
        yield ("ignore file", sentence, "failure", sentence, sentence)
    for finding in verdict.findings:
        yield _finding_case(finding, result.options.fail_on)


def _finding_case(finding: Finding, limit: str) -> Case:
    severity = SEVERITIES[finding.severity]
    fix = f"fixed in {finding.fixed}" if finding.fixed else "no fix is known"
    name = f"{finding.id} in {finding.package} {finding.installed}"
    text = f"{name}: {severity}, {fix}"
    if finding.fails:
        return (finding.package, name, "failure", text, f"{text}\n{finding.links}".rstrip())
    why = standing(finding) or f"does not count at --fail-on {limit}"
    return (finding.package, name, "skipped", f"{severity}, {fix}; {why}", "")


def _difference_cases(report: Report) -> Iterator[Case]:
    for one in compare_platforms(report):
        cells = ", ".join(
            f"{label}: {text if text != ABSENT else 'no'}" for label, text in zip(report.labels, one.installed)
        )
        yield (one.package, f"{one.id} in {one.package}", "skipped", cells, "")


def _case(case: Case) -> str:
    group, name, kind, message, text = case
    start = f'<testcase classname="{_line(group)}" name="{_line(name)}" time="0"'
    if not kind:
        return f"{start}/>\n"
    body = f">{markup(text)}</{kind}>" if text else "/>"
    return f'{start}><{kind} message="{_line(message)}"{body}</testcase>\n'


def _count(result: Result) -> tuple[int, int, int, int]:
    """Return how many tests, failures, errors and skipped ones a result comes to."""
    kinds = [kind for _, _, kind, _, _ in _cases(result)]
    return len(kinds), kinds.count("failure"), kinds.count("error"), kinds.count("skipped")


def _counts(tests: int, failures: int, errors: int, skipped: int) -> str:
    return f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="0"'


def _time(result: Result) -> str:
    return timestamp(result.finished_at).rstrip("Z")


def _line(text: str) -> str:
    """Return text for an attribute, in which a parser would turn line ends into spaces."""
    return markup(" ".join(text.split()))
