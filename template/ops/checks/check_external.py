"""Checks an external database from inside the deployment's network: every role, its database, its rights, uuid-ossp.

Runs psql once, in the `database-client` tool container, with a copy of the password file that libpq accepts (0600, on a
tmpfs). Read-only: it changes nothing in the database.
"""

from __future__ import annotations

import re
import shlex
import sys
from typing import Dict, List, NamedTuple, Tuple

from ..errors import NO, UNDECIDED, Problem
from ..host import engine
from ..host.explain_failure import explain
from ..settings import Deployment
from ..state.create_secrets import database_roles

CONNECT_SECONDS = 10
# Per role: may it use its own database as Clair does?
_QUERY = (
    "SELECT has_schema_privilege('public', 'CREATE'), EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp')"
)
# What psql says (lower case), the reason we say, and whether waiting or another network could mend it.
_REASONS: Tuple[Tuple[str, str, bool], ...] = (
    (r"password authentication failed", "wrong password, or no such role", False),
    (r"database \"[^\"]*\" does not exist", "no such database", False),
    (r"role \"[^\"]*\" does not exist", "no such role", False),
    (r"permission denied for database", "the role may not connect to it", False),
    (r"no pg_hba\.conf entry", "the server's pg_hba.conf lets this host not in", False),
    (r"server does not support ssl", "the server speaks no TLS, and database_sslmode asks for it", False),
    (r"certificate verify failed|root certificate|self.signed", "its certificate is signed by no CA known here", False),
    (r"server certificate for .* does not match", "its certificate is for another host name", False),
    (r"could not translate host name|name or service not known", "no such host name", True),
    (r"connection refused", "connection refused", True),
    (r"timeout expired|timed out|no route to host|network is unreachable", "no answer", True),
)


_PRINT_SQL = "./clair database --print-sql"


class ExternalFinding(NamedTuple):
    """What is wrong with one role; `unreachable` says that the server gave no answer at all."""

    failed: str
    on: str
    reason: str
    hint: str
    unreachable: bool = False

    @property
    def sentence(self) -> str:
        """The line to print."""
        return f"{self.failed}, {self.on}: {self.reason}"


def check_external(deployment: Deployment, timeout_seconds: float) -> None:
    """Check every role of the external database, and print each finding with what mends it.

    Raises Problem: a check failed (1), the server cannot be reached (3).
    """
    roles = database_roles(deployment)
    result = engine.compose(
        deployment,
        ["--profile", "tools", "run", "--rm", "--no-deps", "-T", "--entrypoint", "bash", "database-client", "-s"],
        input_text=script(deployment, roles),
        timeout_seconds=timeout_seconds,
        check=False,
    )
    answers = read_answers(result.stdout)
    if set(answers) != set(roles):
        raise explain("compose run database-client", result.stderr or result.stdout)
    findings = [finding for role in roles for finding in judge(role, answers[role])]
    where = f"{deployment.facts['database']['host']}:{deployment.facts['database']['port']}"
    reasons = {finding.reason for finding in findings if finding.unreachable}
    if len(findings) == len(roles) and len(reasons) == 1:
        raise Problem(
            f"database unreachable, {where}: {reasons.pop()}",
            f"pg_isready --host={deployment.facts['database']['host']} --port={deployment.facts['database']['port']}",
            UNDECIDED,
        )
    for finding in findings:
        print(finding.sentence, file=sys.stderr)
        print(f"HINT: {finding.hint}", file=sys.stderr)
    if findings:
        raise Problem(
            f"database check failed, {where}: {len(findings)} findings above",
            _PRINT_SQL,
            UNDECIDED if any(finding.unreachable for finding in findings) else NO,
        )


def script(deployment: Deployment, roles: List[str]) -> str:
    """Return the bash script that asks as each role: a line `role`, tab, exit code, tab, answer on one line."""
    database = deployment.facts["database"]
    lines = [
        "install -m 0600 /config/pgpass /tmp/pgpass && export PGPASSFILE=/tmp/pgpass",
        "[ -s /config/ca-bundle.pem ] && export PGSSLROOTCERT=/config/ca-bundle.pem",
        f"export PGHOST={shlex.quote(str(database['host']))} PGPORT={int(database['port'])}",
        f"export PGSSLMODE={shlex.quote(str(database['sslmode']))} PGCONNECT_TIMEOUT={CONNECT_SECONDS}",
        "ask() {",
        f'  answer=$(psql -X -q -A -t -w -U "$1" -d "$2" -c {shlex.quote(_QUERY)} 2>&1 </dev/null)',
        '  printf "%s\\t%s\\t%s\\n" "$1" "$?" "$(printf %s "$answer" | tr "\\n\\t" "  ")"',
        "}",
    ]
    for role in roles:
        lines.append(f"ask {role} {'matcher' if role == 'ledger' else role}")
    return "\n".join(lines) + "\n"


def read_answers(output: str) -> Dict[str, Tuple[int, str]]:
    """Return exit code and answer of each role in the script's output."""
    rows = (line.split("\t", 2) for line in output.splitlines())
    return {row[0]: (int(row[1]), row[2]) for row in rows if len(row) == 3 and row[1].isdigit()}


def judge(role: str, answer: Tuple[int, str]) -> List[ExternalFinding]:
    """Return what is wrong with one role, by psql's exit code and answer."""
    code, text = answer
    database = "matcher" if role == "ledger" else role
    on = f"role {role}, database {database}"
    if code != 0:
        for pattern, reason, unreachable in _REASONS:
            if re.search(pattern, text.lower()):
                return [ExternalFinding("database login failed", on, reason, _PRINT_SQL, unreachable)]
        return [ExternalFinding("database login failed", on, text[-200:].strip() or "no message", _PRINT_SQL)]
    create, extension = [*text.split("|"), "", ""][:2]
    findings = []
    if role != "ledger" and create != "t":
        hint = f"as administrator: ALTER DATABASE {database} OWNER TO {role}"
        findings.append(ExternalFinding("database right missing", on, "it may not create tables", hint))
    if role == "matcher" and extension != "t":
        hint = 'as administrator, in this database: CREATE EXTENSION "uuid-ossp"'
        findings.append(ExternalFinding("database extension missing", f"database {database}", "uuid-ossp", hint))
    return findings
