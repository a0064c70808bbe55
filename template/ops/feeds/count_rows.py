"""How many vulnerabilities each updater's latest update holds, in a time that does not grow with the database.

A feed such as Red Hat's has millions, and counting them takes seconds. So each is counted up to BOUND by the primary key
of uo_vuln, and what is above comes from PostgreSQL's own statistics (pg_stats), which autovacuum keeps: approximate.
Tables: claircore datastore/postgres/migrations/matcher 01 and 04 at v1.5.48.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..host.read_json import Unreadable, read_text

BOUND = 1000
# Longer than this nobody waits for a number.
TIMEOUT_SECONDS = 5
# Without statistics, as in the minute after the first load, the planner would read the whole table.
COUNTS = f"""
SET statement_timeout = '{TIMEOUT_SECONDS}s';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET jit = off;
WITH latest AS (SELECT DISTINCT ON (updater) id, updater, kind FROM update_operation ORDER BY updater, id DESC),
counted AS MATERIALIZED (
  SELECT id, updater, kind, CASE WHEN kind = 'enrichment'
    THEN (SELECT count(*) FROM (SELECT FROM uo_enrich WHERE uo = latest.id LIMIT {BOUND + 1}) AS bounded)
    ELSE (SELECT count(*) FROM (SELECT FROM uo_vuln WHERE uo = latest.id LIMIT {BOUND + 1}) AS bounded) END AS found
  FROM latest),
statistics AS MATERIALIZED (
  SELECT CASE tablename WHEN 'uo_enrich' THEN 'enrichment' ELSE 'vulnerability' END AS kind, reltuples, n_distinct,
    coalesce(most_common_vals::text::bigint[], '{{}}') AS common, coalesce(most_common_freqs, '{{}}') AS shares
  FROM pg_stats JOIN pg_class ON pg_class.oid = to_regclass('public.' || quote_ident(tablename))
  WHERE schemaname = 'public' AND tablename IN ('uo_vuln', 'uo_enrich') AND attname = 'uo' AND reltuples > 0)
SELECT json_build_object('rows', coalesce(json_agg(json_build_array(updater, found, CASE WHEN found > {BOUND} THEN (
  SELECT reltuples * coalesce(shares[array_position(common, id)],
    (1 - (SELECT coalesce(sum(share), 0) FROM unnest(shares) AS share))
    / greatest(1, CASE WHEN n_distinct < 0 THEN -n_distinct * reltuples ELSE n_distinct END - cardinality(common)))
  FROM statistics WHERE statistics.kind = counted.kind) END)), '[]'))
FROM counted;
"""  # noqa: S608 - the only value in it is a number of this module


class Count(NamedTuple):
    """A number of vulnerabilities: exact, about right, or, without an estimate, at least BOUND + 1."""

    number: int
    exact: bool
    at_least: bool = False

    def __str__(self) -> str:
        if self.exact:
            return str(self.number)
        return f">{BOUND}" if self.at_least else f"~{round_number(self.number)}"


def parse_counts(line: str) -> dict[str, Count]:
    """Return the counts in the answer to COUNTS by updater. Raises Unreadable."""
    document = read_text(line)
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise Unreadable("the answer has no rows")
    counts = {}
    for row in rows:
        if not (isinstance(row, list) and len(row) == 3 and isinstance(row[0], str) and isinstance(row[1], int)):
            raise Unreadable("a row of the answer is not readable")
        counts[row[0]] = _count(row[1], row[2] if isinstance(row[2], (int, float)) else None)
    return counts


def _count(found: int, guess: Optional[float]) -> Count:
    if found <= BOUND:
        return Count(found, True)
    return Count(found, False, True) if guess is None else Count(max(found, round(guess)), False)


def total(counts: list[Count]) -> Optional[Count]:
    """Return the sum of counts, exact only if each of them is; None without any."""
    if not counts:
        return None
    # Beside an estimate of thousands, a feed that is only known to be large makes the sum no less approximate.
    at_least = any(count.at_least for count in counts) and all(count.at_least or count.exact for count in counts)
    return Count(sum(count.number for count in counts), all(count.exact for count in counts), at_least)


def round_number(number: int) -> int:
    """Return a number with two digits that mean something: 3312345 is 3300000."""
    scale = int(10 ** max(0, len(str(number)) - 2))
    return (number + scale // 2) // scale * scale
