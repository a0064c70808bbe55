"""Creates the secrets that are missing, and replaces one (`rotate NAME`); prints names, never values.

Writes `secrets/` (0700) and its files (0444, whatever the umask), each whole or not at all; an existing file is never
overwritten except by `rotate`. With an external database the passwords of its roles are the administrator's: they are
only invented with `--generate`, or by `database` and `up`, which then print the SQL that sets them.
Exit codes: 0 done; 2 a secret must be put there by hand; 3 another command is running.
Environment: NAME (for rotate).
"""

from __future__ import annotations

import base64
import os
import sys
from typing import List, Tuple

from ..errors import USAGE, Problem
from ..host.read_arguments import Parser
from ..host.state_lock import hold_lock
from ..host.write_files import make_folder, write_file
from ..settings import Deployment, load_deployment

PSK_BYTES = 32
PASSWORD_BYTES = 24


def database_roles(deployment: Deployment) -> List[str]:
    """Return the roles of this deployment in PostgreSQL that have a secret, without the superuser."""
    services = [name for name in ("indexer", "matcher", "notifier") if name in deployment.facts["services"]]
    return [*services, "ledger"]


def password_names(deployment: Deployment) -> List[str]:
    """Return the names of the password files; the superuser's only where the database is ours."""
    roles = database_roles(deployment)
    return [f"database-{role}" for role in (["superuser", *roles] if deployment.bundled_database else roles)]


def supplied_names(deployment: Deployment) -> List[str]:
    """Return the names of the secrets that only the operator can supply."""
    return ["tls.crt", "tls.key"] if deployment.facts["edge"]["tls"] == "files" else []


def missing(deployment: Deployment, names: List[str]) -> List[str]:
    """Return those names that have no file under `secrets/`."""
    return [name for name in names if not os.path.lexists(deployment.secrets / name)]


def new_secret(name: str) -> bytes:
    """Return a new random value: for `psk` 32 bytes as padded standard base64 (what Clair reads), else URL-safe text."""
    if name == "psk":
        return base64.b64encode(os.urandom(PSK_BYTES))
    return base64.urlsafe_b64encode(os.urandom(PASSWORD_BYTES))


def create_missing(deployment: Deployment, generate: bool = True) -> Tuple[List[str], List[str]]:
    """Create what is missing; return the names created and the names left for the operator.

    `generate` False leaves the passwords of an external database to the operator. The lock must be held.
    Raises Problem (2) if `secrets/` cannot be written.
    """
    make_folder(deployment.secrets, 0o700)
    wanted = ["psk"]
    left = missing(deployment, supplied_names(deployment))
    if deployment.bundled_database or generate:
        wanted += password_names(deployment)
    else:
        left = [*missing(deployment, password_names(deployment)), *left]
    created = missing(deployment, wanted)
    for name in created:
        write_file(deployment.secrets / name, new_secret(name), 0o444)
    return created, left


def rotate(deployment: Deployment, name: str) -> str:
    """Replace one secret by a new random one; return what must follow. The old file stays until the new one is written.

    Raises Problem (2) if there is no such secret here or it is the operator's own.
    """
    known = ["psk", *password_names(deployment)]
    if name in supplied_names(deployment):
        raise Problem(
            f"secret not rotated, secrets/{name}: only you can make it",
            f"install -m 0444 FILE secrets/{name} && make up",
        )
    if name not in known:
        what = f"secret unknown, {name}" if name else "secret not named, rotate"
        raise Problem(f"{what}: choose one of {', '.join(known)}", f"./clair secrets rotate {known[0]}")
    make_folder(deployment.secrets, 0o700)
    write_file(deployment.secrets / name, new_secret(name), 0o444)
    if name != "psk" and not deployment.bundled_database:
        return "./clair database --print-sql (run what it prints on the external database), then make up"
    if name == "psk" and deployment.facts.get("quay_enabled"):
        return "make up, then make quay (Quay and every client that signs need the new key)"
    return "make up"


def main(argv: List[str]) -> int:
    """Run `secrets` or `secrets rotate NAME`."""
    parser = Parser("secrets", "Create the secrets that are missing; `rotate NAME` replaces one.")
    parser.add_argument("action", nargs="?", choices=["create", "rotate"], default="create", help="default: create")
    parser.add_argument("name", nargs="?", default=os.environ.get("NAME", ""), help="secret to rotate [NAME]")
    parser.add_argument(
        "--generate", action="store_true", help="external database: invent its missing passwords as well"
    )
    options = parser.parse_args(argv)
    deployment = load_deployment(applied=False)
    with hold_lock(deployment, "secrets"):
        if options.action == "rotate":
            following = rotate(deployment, options.name)
            print(f"secrets/{options.name}")
            print(f"rotated; not in use yet, next: {following}", file=sys.stderr)
            return 0
        created, left = create_missing(deployment, generate=options.generate)
    for name in created:
        print(f"secrets/{name}")
    if not created and not left:
        print("nothing to create: all secrets are there", file=sys.stderr)
    if left:
        raise missing_problem(left)
    if created and not deployment.bundled_database and options.generate:
        print("next: ./clair database --print-sql (what the external database's administrator runs)", file=sys.stderr)
    return 0


def missing_problem(left: List[str]) -> Problem:
    """Return the Problem for secrets that only the operator has."""
    names = ", ".join(f"secrets/{name}" for name in left)
    hint = f"install -m 0444 FILE secrets/{left[0]}"
    if any(name.startswith("database-") for name in left):
        hint = f"put the roles' existing passwords there ({hint}), or let new ones be made: ./clair secrets --generate"
    return Problem(f"secret missing, {names}: only you have it", hint, USAGE)
