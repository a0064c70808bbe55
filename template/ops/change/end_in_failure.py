"""Brings back what was, whatever ended the steps of a change, and says in one line what failed and what answers now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..errors import INTERRUPTED, UNDECIDED, Problem
from ..host.show_progress import Progress


@dataclass(frozen=True)
class Failure:
    """What a failed change is called: `what` such as `upgrade failed, Clair 4.8.0 to 4.9.0`, what answers again, its command."""

    what: str
    before: str
    command: str


def end_in_failure(
    failure: Failure, step: str, error: BaseException, go_back: Callable[[], None], progress: Progress
) -> Problem:
    """Run `go_back` and return the Problem to print: the error's code, or 130 after Ctrl-C; a second Ctrl-C stops at once."""
    problem = told(error, failure.command)
    progress.line(f"step {step}: {problem.sentence}")
    unfinished = "./clair rollback"
    try:
        go_back()
    except Problem as second:
        reason = f"{problem.sentence}; the way back is not finished: {second.sentence}"
        return Problem(f"{failure.what}: {reason}", unfinished, second.code)
    except KeyboardInterrupt:
        return Problem(f"{failure.what}: interrupted on the way back", unfinished, INTERRUPTED)
    except Exception as second:
        reason = f"{problem.sentence}; the way back is not finished: {told(second, failure.command).sentence}"
        return Problem(f"{failure.what}: {reason}", unfinished, UNDECIDED)
    # The log of a container that failed went with it; its reason stands in the sentence.
    hint = problem.hint if problem.hint and " logs" not in problem.hint else f"./clair {failure.command}"
    return Problem(f"{failure.what}: {problem.sentence}; {failure.before} answers as before", hint, problem.code)


def told(error: BaseException, command: str) -> Problem:
    """Return what ended the steps as a Problem."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Problem("interrupted", f"./clair {command}", INTERRUPTED)
    return Problem(f"internal error: {type(error).__name__}: {error}", "", UNDECIDED)
