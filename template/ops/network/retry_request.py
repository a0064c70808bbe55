"""Sends a request again while another try may help: the service is busy, restarting, or lost the connection.

Pure but for sleeping. 429 means that the indexer has enough to do (quay/clair httptransport/concurrentlimit.go at
v4.9.0): worth waiting for as long as the caller can. 502, 503, 504 and broken connections mean a restart or a fault,
and a fault must be told in seconds: those are tried a few times only.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from typing import Optional

from .open_connection import Deadline, NoAnswer
from .web import Answer

BROKEN_STATUSES = (502, 503, 504)
BROKEN_ATTEMPTS = 5
REFUSED_ATTEMPTS = 3
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 15.0

Notice = Callable[[str], None]


def retry_after_seconds(text: str, now: Optional[float] = None) -> float:
    """Return the seconds a Retry-After header asks to wait, 0 for none: it holds seconds or a date (RFC 9110 10.2.3)."""
    if text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now))
    except (TypeError, ValueError, OverflowError):  # no date
        return 0.0


def retry_request(
    send: Callable[[], Answer],
    deadline: Deadline,
    what: str,
    *,
    notice: Notice = lambda text: None,
    busy_attempts: Optional[int] = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Return the first answer that another try would not better, or the last one when the tries are used up.

    `what` names the service in `notice`, which is told why and how long is waited. `busy_attempts` bounds the tries
    after 429; None means until the deadline. Raises NoAnswer if the last try had no answer.
    """
    delay, broken, refused, busy = FIRST_DELAY_SECONDS, 0, 0, 0
    while True:
        answer: Optional[Answer] = None
        failure: Optional[NoAnswer] = None
        try:
            answer = send()
            if answer.status == 429:
                busy += 1
                again = busy_attempts is None or busy < busy_attempts
            else:
                broken += 1
                again = answer.status in BROKEN_STATUSES and broken < BROKEN_ATTEMPTS
            reason = f"answered {answer.status}"
        except NoAnswer as error:
            failure, reason = error, error.reason
            broken, refused = broken + (error.kind == "lost"), refused + (error.kind == "refused")
            again = (error.kind == "lost" and broken < BROKEN_ATTEMPTS) or (
                error.kind == "refused" and refused < REFUSED_ATTEMPTS
            )
        if again:
            wait = max(delay, retry_after_seconds(answer.header("Retry-After"))) if answer else delay
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)
            again = wait < deadline.remaining_or_zero()
        if not again:
            if answer is None:
                raise failure or NoAnswer("other", "no answer")
            return answer
        notice(f"{what} {reason}, next try in {wait:.0f} s" if wait >= 1 else f"{what} {reason}, trying again")
        sleep(wait)
