"""Passwords of the PostgreSQL roles as SCRAM verifiers, so that no statement, log or process list ever holds one.

Reads `secrets/database-*` and `database/setup.sql`; writes nothing. The verifier's form is that of PostgreSQL's
`pg_authid.rolpassword` (chapter "pg_authid" of its documentation; RFC 5802, RFC 5803).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import Dict, List, Optional

from ..errors import Problem
from ..settings import Deployment
from .create_secrets import database_roles

SUPERUSER = "postgres"
SCRAM_ITERATIONS = 4096  # PostgreSQL's own default (scram_iterations)
SALT_BYTES = 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")


def verifier(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> str:
    """Return the text PostgreSQL stores for a SCRAM-SHA-256 password.

    The password must be ASCII: others would need the normalisation of RFC 4013, so `password_problem` refuses them.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    salt_text, stored_text, server_text = (base64.b64encode(value).decode() for value in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def fits(password: str, stored: str) -> bool:
    """Return whether a stored verifier is that of the password; False for none, MD5 or anything unreadable."""
    match = _VERIFIER.fullmatch(stored)
    if match is None:
        return False
    try:
        salt = base64.b64decode(match.group(2), validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(verifier(password, salt, int(match.group(1))), stored)


def password_problem(name: str, password: str) -> Optional[Problem]:
    """Return what keeps a secret from being a database password, or None."""
    if re.fullmatch(r"[\x21-\x7e]+", password):
        return None
    reason = "only ASCII letters, digits and signs can be used" if password else "empty"
    return Problem(f"password unusable, secrets/{name}: {reason}", f"./clair secrets rotate {name}")


def literal(text: str) -> str:
    """Return text as an SQL string that no setting of PostgreSQL reads differently."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def role_secrets(deployment: Deployment) -> Dict[str, str]:
    """Return the password of each role, the superuser's first.

    Raises Problem (2) if one is missing or unusable.
    """
    names = {role: f"database-{role}" for role in database_roles(deployment)}
    if deployment.bundled_database:
        names = {SUPERUSER: "database-superuser", **names}
    passwords: Dict[str, str] = {}
    for role, name in names.items():
        passwords[role] = deployment.secret(name)
        problem = password_problem(name, passwords[role])
        if problem:
            raise problem
    return passwords


def password_statements(passwords: Dict[str, str]) -> List[str]:
    """Return the SQL that sets passwords by their verifiers."""
    return [
        f"ALTER ROLE {identifier(role)} PASSWORD {literal(verifier(password, os.urandom(SALT_BYTES)))};"
        for role, password in passwords.items()
    ]


def setup_script(deployment: Deployment) -> str:
    """Return `database/setup.sql`; raises Problem (2) if it cannot be read."""
    try:
        return (deployment.root / "database" / "setup.sql").read_text(encoding="utf-8")
    except OSError as error:
        reason = f"file missing, database/setup.sql: {error.strerror}"
        raise Problem(reason, "git checkout -- database/setup.sql") from error


def administrator_sql(deployment: Deployment) -> str:
    """Return the psql script for the administrator of an external database: roles, databases, password verifiers."""
    setup = setup_script(deployment).rstrip("\n")
    return "\n".join([setup, "\\connect postgres", *password_statements(role_secrets(deployment)), ""])
