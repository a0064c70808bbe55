"""Measures what is in a database, so that a dump and what comes out of it can be compared: per table its rows and a digest.

The digest is the sum of 64 bits of the MD5 of each row as text: it depends neither on the order of rows nor on PostgreSQL's
major. Not against forgery, which SHA256SUMS does not withstand either. Pure text and values; `run_client` runs it.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional

from ..state.role_passwords import literal

# Everything that changes how a value is written as text; and no limit that the role or database has set cuts it short. Without
# more workers, which would only take the processors from the dump beside it.
SETTINGS = """SET datestyle = 'ISO, MDY';
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET search_path = pg_catalog;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
"""
_OWN = (
    "c.relnamespace = n.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'"
)
# Prints `@table|DATABASE|SCHEMA.TABLE|ROWS|DIGEST` for each table, partitions each for itself. `w.*` is the row even where a
# column has the alias's name.
MEASURE = f"""SELECT format(
 'SELECT ''@table'', %L, %L, count(*), coalesce(sum((''x'' || left(md5((w.*)::text), 16))::bit(64)::bigint), 0) FROM ONLY %I.%I AS w',
 :'database', format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class AS c, pg_namespace AS n WHERE {_OWN} AND c.relkind = 'r'
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY c.relpages DESC, 1
\\gexec
"""  # noqa: S608 - no value in it comes from outside
# Table by table: of the server's own, which plain ANALYZE tries as well, an owner may none.
ANALYZE = f"""SELECT format('ANALYZE %I.%I', n.nspname, c.relname) FROM pg_class AS c, pg_namespace AS n
WHERE {_OWN} AND c.relkind IN ('r', 'm', 'p') AND pg_has_role(c.relowner, 'USAGE')
\\gexec
"""  # noqa: S608 - no value in it comes from outside
# Prints the whole size and that of the tables without their indexes, in bytes, and the server's version.
SIZES = f"""SELECT '@size', :'database', pg_database_size(current_database()),
 (SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM pg_class AS c, pg_namespace AS n WHERE {_OWN} AND c.relkind = 'r'),
 current_setting('server_version');
"""  # noqa: S608 - no value in it comes from outside
EXTENSIONS = """SELECT '@extension', :'database', extname, nspname FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
WHERE extname <> 'plpgsql' ORDER BY extname;
"""
# Where each service keeps the numbers of its migrations (claircore datastore/postgres/migrations, clair notifier/migrations).
MIGRATIONS = {
    "indexer": "public.libindex_migrations",
    "matcher": "public.libvuln_migrations",
    "notifier": "public.notifier_migrations",
}


class Table(NamedTuple):
    """What one table holds: the number of its rows, and their digest as a decimal number."""

    rows: int
    digest: str


def schema_statement(service: str) -> str:
    """Return the statements that print `@schema|SERVICE|N`, the highest migration, or nothing before the first one."""
    table = MIGRATIONS[service]
    return (
        f"SELECT 'SELECT ''@schema'', ''{service}'', coalesce(max(version), 0) FROM {table}' "  # noqa: S608
        f"WHERE to_regclass({literal(table)}) IS NOT NULL\n\\gexec\n"
    )


def parse_table(line: str) -> Optional[tuple[str, str, Table]]:
    """Return database, table and content of a line of MEASURE; None for any other line."""
    cells = line.split("|")
    if len(cells) < 5 or cells[0] != "@table" or not cells[-2].isdigit():
        return None
    return cells[1], "|".join(cells[2:-2]), Table(int(cells[-2]), cells[-1])


def to_json(tables: Mapping[str, Table]) -> Dict[str, Dict[str, object]]:
    """Return tables as a manifest holds them."""
    return {name: {"rows": table.rows, "digest": table.digest} for name, table in sorted(tables.items())}


def from_json(tables: Mapping[str, Mapping[str, object]]) -> Dict[str, Table]:
    """Return tables as `to_json` wrote them; raises ValueError, KeyError or TypeError for anything else."""
    return {str(name): Table(int(str(table["rows"])), str(table["digest"])) for name, table in tables.items()}


def differences(wanted: Mapping[str, Table], found: Mapping[str, Table]) -> List[str]:
    """Return a text for each table that is not what it should be."""
    told = []
    for name in sorted({*wanted, *found}):
        if name not in found:
            told.append(f"table {name} is missing")
        elif name not in wanted:
            told.append(f"table {name} is too many")
        elif wanted[name].rows != found[name].rows:
            told.append(f"table {name} has {found[name].rows} rows instead of {wanted[name].rows}")
        elif wanted[name].digest != found[name].digest:
            told.append(f"table {name} has other content in its {found[name].rows} rows")
    return told
