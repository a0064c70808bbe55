"""Passwords in PostgreSQL: verifiers that a real server accepts, and text that never changes the meaning of SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.checks.check_external import read_answers, script
from ops.state.role_passwords import fits, identifier, literal, password_problem, verifier

from tests.ops.lifecycle.conftest import Clair

_passwords = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=40)


def test_a_verifier_proves_the_exchange_of_rfc_7677() -> None:
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()

    text = verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))

    match = re.fullmatch(r"SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$(\S+):(\S+)", text)
    assert match
    stored_key, server_key = (base64.b64decode(part) for part in match.groups())
    signature = hmac.new(server_key, exchange, hashlib.sha256).digest()
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(
        a ^ b for a, b in zip(proof, hmac.new(stored_key, exchange, hashlib.sha256).digest(), strict=True)
    )
    assert hashlib.sha256(client_key).digest() == stored_key


@given(_passwords, st.binary(min_size=1, max_size=32), st.integers(1, 50))
def test_a_verifier_fits_its_password_and_no_other(password: str, salt: bytes, iterations: int) -> None:
    stored = verifier(password, salt, iterations)

    assert fits(password, stored)
    assert not fits(password + "x", stored)


@pytest.mark.parametrize(
    "stored",
    ["", "-", "md5d2f2297d6e829cd3493aa7de4416a18f", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", "SCRAM-SHA-256$1:%$a:b"],
)
def test_what_is_no_verifier_fits_nothing(stored: str) -> None:
    assert not fits("word", stored)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "empty"),
        ("with space", "only ASCII letters, digits and signs can be used"),
        ("naïve", "only ASCII letters, digits and signs can be used"),
        ("two\nlines", "only ASCII letters, digits and signs can be used"),
    ],
)
def test_a_password_that_clients_would_spell_differently_is_refused(password: str, reason: str) -> None:
    problem = password_problem("database-indexer", password)

    assert problem
    assert problem.sentence == f"password unusable, secrets/database-indexer: {reason}"
    assert problem.hint == "./clair secrets rotate database-indexer"


@given(_passwords)
def test_every_other_password_is_taken(password: str) -> None:
    assert password_problem("database-indexer", password) is None


@given(st.text(alphabet=st.characters(exclude_characters="\x00")))
def test_text_cannot_leave_its_sql_string(text: str) -> None:
    quoted = literal(text)

    if quoted.startswith("E"):
        # As PostgreSQL reads E'...': a quote is doubled, a backslash escapes what follows.
        assert re.fullmatch(r"E'(?:[^'\\]|''|\\\\)*'", quoted, re.DOTALL)
        assert re.sub(r"''|\\\\", lambda match: match.group()[0], quoted[2:-1]) == text
    else:
        assert re.fullmatch(r"'(?:[^'\\]|'')*'", quoted, re.DOTALL)
        assert quoted[1:-1].replace("''", "'") == text


@given(st.text(alphabet=st.characters(exclude_characters="\x00"), min_size=1))
def test_a_name_cannot_leave_its_sql_identifier(name: str) -> None:
    quoted = identifier(name)

    assert re.fullmatch(r'"(?:[^"]|"")*"', quoted, re.DOTALL)
    assert quoted[1:-1].replace('""', '"') == name


@pytest.mark.parametrize("host", ["db.example", "10.0.0.5", "fd00::1", "x; touch /tmp/owned", "$(id)", "a'b"])
def test_an_external_host_is_no_shell_text(clair: Clair, host: str) -> None:
    clair.change_facts(database={"mode": "external", "host": host, "port": 5432, "sslmode": "verify-full"})

    lines = script(clair.deployment, ["indexer"]).splitlines()

    export = next(line for line in lines if "PGHOST" in line)
    assert shlex.split(export) == ["export", f"PGHOST={host}", "PGPORT=5432"]
    assert subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, check=False).returncode == 0


def test_answers_of_the_database_client_are_read_by_role() -> None:
    output = "indexer\t0\tt|f\nnoise\nledger\t2\tpsql: error: connection to server failed\tx\n"

    assert read_answers(output) == {
        "indexer": (0, "t|f"),
        "ledger": (2, "psql: error: connection to server failed\tx"),
    }
