"""One reading of the feed ledger for many scans, from several threads.

Reads what the session reads; writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Optional

from ..errors import Problem
from ..network.open_connection import Deadline
from .find_feeds import Question
from .match_updaters import Ledger
from .read_ledger import LedgerSession

# Asks for a row that no feed has: what matters is that the database answers.
_PROBE: Question = ("clair", "dist_id", "clair")


class EachTime(Deadline):
    """A limit for each wait of a command that lasts for hours, in place of one for all of them together."""

    def remaining_or_zero(self) -> float:
        """Return the seconds of one wait."""
        return self.seconds


class SharedLedger:
    """A ledger source for run_scan that asks the database each thing once. Use as `with SharedLedger(...) as ledger`.

    `reopen` makes another session where the database went away in the middle of a long run; without it that stays so.
    """

    def __init__(self, session: LedgerSession, reopen: Optional[Callable[[], LedgerSession]] = None) -> None:
        self._session = session
        self._reopen = reopen
        self._ledger: Optional[Ledger] = None
        self._present: dict[Question, bool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> SharedLedger:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._session.close()

    def ledger(self) -> Ledger:
        """Return the ledger as it was when it was first asked for. Raises Problem (3)."""
        with self._lock:
            if self._ledger is None:
                self._ledger = self._session.ledger()
            return self._ledger

    def present(self, questions: Sequence[Question]) -> dict[Question, bool]:
        """Return whether the feeds hold what is asked. Raises Problem (3)."""
        with self._lock:
            missing = [question for question in questions if question not in self._present]
            if missing:
                self._present.update(self._ask(missing))
            return {question: self._present[question] for question in questions}

    def check(self) -> None:
        """Raise Problem (3) if the database does not answer: the indexer would hold a request for ever then."""
        with self._lock:
            self._ask([_PROBE])

    def _ask(self, questions: Sequence[Question]) -> dict[Question, bool]:
        try:
            return self._session.present(questions)
        except Problem:
            if self._reopen is None:
                raise
            self._session.close()
            self._session = self._reopen()
            self._session.ledger()
            return self._session.present(questions)
