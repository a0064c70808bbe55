"""The feed ledger: what the matcher's database knows of each updater, read by the role `ledger`.

Reads the tables update_operation, updater_status and vuln through psql inside the database's container, or, with an
external database, inside the one-shot service `database-client`; reads `state/feed-pack.json` where a pack was
imported; writes nothing. The password goes through the shell's standard input, so that it is in no argument. Tables:
claircore datastore/postgres/migrations/matcher 01, 04 and 08 at v1.5.48 (all there in Clair 4.5.0).
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..errors import UNDECIDED, Problem
from ..host.escape_text import printable
from ..host.explain_failure import explain
from ..host.read_json import Unreadable, read_text
from ..network.open_connection import Deadline, NoAnswer
from ..settings import Deployment
from .match_updaters import Ledger, LedgerRow
from .open_ledger import CONNECT_TIMEOUT_SECONDS, psql_command, start_psql, take_psql

if TYPE_CHECKING:
    from .find_feeds import Question

STATEMENT_TIMEOUT_SECONDS = 60
# Since 4.7.0 the matcher looks only at what its view of the newest updates names. Clair brings the view up to date after each
# update, outside of its transaction (claircore datastore/postgres/updatevulnerabilities.go at v1.5.48): two updates at once, or
# an end in between, leave one out, and nothing of that feed is found then, until another feed changes.
ROWS = r"""
SELECT CASE WHEN to_regclass('latest_update_operations') IS NULL
  THEN '(SELECT updater, max(id) AS id FROM update_operation GROUP BY updater)' ELSE 'latest_update_operations' END AS newest \gset
SELECT json_build_object('rows', coalesce(json_agg(json_build_array(
  coalesce(s.updater_name, o.updater), extract(epoch FROM o.stored), extract(epoch FROM s.last_attempt),
  extract(epoch FROM s.last_success), CASE WHEN NOT s.last_run_succeeded THEN left(s.last_error, 300) END,
  o.id IS NOT NULL AND o.id IS DISTINCT FROM n.id)), '[]'))
FROM updater_status s
FULL JOIN (SELECT updater, max(date) AS stored, max(id) AS id FROM update_operation GROUP BY updater) o
ON o.updater = s.updater_name LEFT JOIN :newest n ON n.updater = o.updater;
"""
# Values that come from an image's os-release: anything but these characters is in no feed.
_SAFE_VALUE = re.compile(r"[A-Za-z0-9._ ()+-]{1,80}", re.ASCII)
_SAFE_UPDATER = re.compile(r"[A-Za-z0-9._/ -]{1,120}", re.ASCII)
_SAFE_COLUMN = re.compile(r"dist_[a-z_]{1,40}", re.ASCII)


class LedgerSession:
    """One psql that stays open for the questions of a command; a program may ask from several threads in turn.

    It starts at once, so that the database is asked while the registry is.
    """

    def __init__(self, deployment: Deployment, deadline: Deadline) -> None:
        self._deployment = deployment
        self._deadline = deadline
        self._lines: queue.Queue[Optional[str]] = queue.Queue()
        self._complaints = ""
        self._lock = threading.Lock()
        pack = deployment.state / "feed-pack.json"
        self._pack_exported_at, self._pack_dates = pack_exported_at(pack), pack_dates(pack)
        self._empty = empty_updaters(pack)
        password = deployment.secret("database-ledger")
        self._process = take_psql() or start_psql(psql_command(deployment))
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()
        self._listener = threading.Thread(target=self._read_complaints, daemon=True)
        self._listener.start()
        self._send(f"{password}\nSET statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s';\n{ROWS}")

    def ledger(self) -> Ledger:
        """Return the ledger; may be called once. Raises Problem (3) if it cannot be read."""
        try:
            return Ledger({**self._empty, **parse_rows(self._answer())}, self._pack_exported_at, self._pack_dates)
        except Unreadable as error:
            raise self._failure(str(error)) from error

    def present(self, questions: Sequence[Question]) -> dict[Question, bool]:
        """Return for each (updater, column, value) whether the feed's table has such a row. Raises Problem (3)."""
        answers = {}
        with self._lock:
            for question in questions:
                statement = presence_statement(question)
                if statement:
                    self._send(statement)
                answers[question] = bool(statement) and self._answer() == "t"
        return answers

    def ask(self, statement: str) -> str:
        """Return the line that a statement of one row answers; only after `ledger`. Raises Problem (3)."""
        with self._lock:
            self._send(statement)
            return self._answer()

    def close(self) -> None:
        """End psql."""
        try:
            if self._process.stdin:
                self._process.stdin.close()
        except OSError:  # it is gone already, with our last words unread
            pass
        if self._deployment.bundled_database:
            return  # `docker exec` ends by itself; waiting for it would cost a third of a scan's time
        try:
            self._process.wait(timeout=CONNECT_TIMEOUT_SECONDS)  # `compose run --rm` still removes its container
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _send(self, text: str) -> None:
        try:
            if self._process.stdin is None:
                raise BrokenPipeError
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except OSError:  # psql has ended: what it said is told when its answer is asked for
            pass

    def _answer(self) -> str:
        try:
            line = self._lines.get(timeout=self._deadline.remaining())
        except (queue.Empty, NoAnswer) as error:
            self._process.kill()
            raise self._failure(f"no answer within {self._deadline.seconds:g} s") from error
        if line is None:
            self._listener.join(timeout=2)
            raise self._ended(self._complaints)
        return line

    def _read_lines(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_complaints(self) -> None:
        for line in self._process.stderr or ():
            self._complaints = (self._complaints + line)[-4000:]

    def _failure(self, reason: str) -> Problem:
        return Problem(f"feed ledger unreadable, database matcher: {reason}", self._hint(), UNDECIDED)

    def _hint(self) -> str:
        return "./clair database"

    def _ended(self, complaints: str) -> Problem:
        """Return why psql ended, from what it or docker wrote on standard error."""
        text = complaints.lower()
        if "no such container" in text or "is not running" in text or "no such service" in text:
            return self._failure("the database's container is not running")
        if re.search(r"relation \S+ does not exist", text):
            return self._failure("the matcher has not made its tables yet")
        if "psql:" in text or "fatal:" in text or "error:" in text:
            lines = [line for line in complaints.splitlines() if re.search("fatal|error", line, re.IGNORECASE)]
            reason = re.sub(r"^.*(fatal|error): +", "", lines[-1] if lines else complaints, flags=re.IGNORECASE)
            return self._failure(printable(reason.strip(), 200))
        problem = explain("docker exec", complaints)
        return Problem(f"feed ledger unreadable, database matcher: {problem.sentence}", problem.hint, UNDECIDED)


def parse_rows(line: str) -> dict[str, LedgerRow]:
    """Return the rows of the answer to ROWS by updater. Raises Unreadable."""
    document = read_text(line)
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise Unreadable("the answer has no rows")
    found = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 6 or not isinstance(row[0], str):
            raise Unreadable("a row of the answer is not readable")
        times = [value if isinstance(value, (int, float)) else None for value in row[1:4]]
        # Anything but false: what nobody understands is not in use.
        found[row[0]] = LedgerRow(row[0], times[0], times[1], times[2], str(row[4] or ""), row[5] is not False)
    return found


def presence_statement(question: Question) -> str:
    """Return the statement that answers a question with t or f, or nothing for values no feed can hold."""
    updater, column, value = question
    if not (_SAFE_UPDATER.fullmatch(updater) and _SAFE_COLUMN.fullmatch(column) and _SAFE_VALUE.fullmatch(value)):
        return ""
    # None of the three can hold a quote.
    return f"SELECT EXISTS (SELECT 1 FROM vuln WHERE updater = '{updater}' AND {column} = '{value}');\n"  # noqa: S608


def pack_exported_at(path: Path) -> Optional[float]:
    """Return when the imported feed pack left its origin, in seconds since 1970; None without a pack or date."""
    try:
        return _seconds(json.loads(path.read_text(encoding="utf-8"))["exported_at"])
    except (OSError, ValueError, KeyError, TypeError):  # no pack, or a manifest without a date: the age is unknown
        return None


def pack_dates(path: Path) -> Optional[dict[str, float]]:
    """Return when each updater of the imported packs left its origin; None without a pack or without such a list."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or "updaters" not in document:
        return None
    dates: dict[str, float] = {}
    for name, entry in document["updaters"].items() if isinstance(document["updaters"], dict) else ():
        exported_at = _seconds(entry.get("exported_at")) if isinstance(entry, dict) else None
        if exported_at is not None:
            dates[name] = exported_at
    return dates


def empty_updaters(path: Path) -> dict[str, LedgerRow]:
    """Return rows for the updaters of the imported packs that ran and found no vulnerability.

    A pack has no line of them, so an import stores nothing, and without this they would count as never loaded.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        imported_at = _seconds(document["imported_at"])
        empty = [str(name) for name, entry in document["updaters"].items() if entry.get("empty") is True]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no pack, or one that tells nothing of it
        return {}
    return {name: LedgerRow(name, imported_at) for name in empty}


def _seconds(text: Any) -> Optional[float]:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
