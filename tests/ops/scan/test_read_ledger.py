"""The feed ledger, read through a stand-in for docker, and the shell that keeps the password out of every argument."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.errors import UNDECIDED, USAGE, Problem
from ops.feeds.open_ledger import SHELL, psql_command
from ops.feeds.read_ledger import LedgerSession, pack_exported_at, parse_rows, presence_statement
from ops.host.read_json import Unreadable
from ops.network.open_connection import Deadline
from ops.settings import Deployment, load_deployment

from extensions.catalogue import Catalogue

from .conftest import facts, write_deployment

HERE = Path(__file__).parent
PASSWORD = "ledger-password"
ROWS = [["debian/updater", 3.5, 4.0, 5, None], ["oracle-2026-updater", None, 4, None, "HTTP 404"]]
BOOKWORM = ("debian/updater", "dist_version_code_name", "bookworm")
STRETCH = ("debian/updater", "dist_version_code_name", "stretch")


class Docker:
    """The stand-in for docker: what it answers, and what it was called with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answer(self, **content: Any) -> None:
        self._path.write_text(json.dumps({"rows": ROWS, "present": ["bookworm"], **content}), encoding="utf-8")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(f"{self._path}.log").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """A docker whose database has a ledger."""
    path = tmp_path / "ledger.json"
    monkeypatch.setenv("DOCKER", f"{sys.executable} {HERE / 'fake_docker.py'}")
    monkeypatch.delenv("COMPOSE", raising=False)
    monkeypatch.setenv("FAKE_LEDGER", str(path))
    found = Docker(path)
    found.answer()
    return found


@pytest.fixture
def place(tmp_path: Path, catalogue: Catalogue) -> Deployment:
    """A deployment with a bundled database."""
    write_deployment(tmp_path / "deployment", facts(catalogue))
    return load_deployment(tmp_path / "deployment")


@pytest.fixture
def session(docker: Docker, place: Deployment) -> Iterator[LedgerSession]:
    """A session with the bundled database."""
    opened = LedgerSession(place, Deadline(20))
    yield opened
    opened.close()


def failure(place: Deployment, seconds: float = 20) -> Problem:
    opened = LedgerSession(place, Deadline(seconds))
    with pytest.raises(Problem) as found:
        opened.ledger()
    opened.close()
    return found.value


def test_the_ledger_holds_each_updater_with_its_times(session: LedgerSession) -> None:
    rows = session.ledger().rows

    assert rows["debian/updater"].stored_at == 3.5
    assert rows["debian/updater"].last_success == 5
    assert rows["oracle-2026-updater"].stored_at is None
    assert rows["oracle-2026-updater"].error == "HTTP 404"


@pytest.mark.parametrize(("member", "unused"), [("false", False), ("true", True), ("null", True), ('"f"', True)])
def test_only_a_feed_that_is_surely_in_use_counts_as_that(member: str, unused: bool) -> None:
    rows = parse_rows(f'{{"rows": [["debian/updater", 3.5, 4.0, 5, null, {member}]]}}')

    assert rows["debian/updater"].unused is unused


def test_one_session_answers_many_questions(session: LedgerSession, docker: Docker) -> None:
    session.ledger()

    assert session.present([BOOKWORM, STRETCH]) == {BOOKWORM: True, STRETCH: False}
    assert session.present([BOOKWORM]) == {BOOKWORM: True}
    assert len(docker.calls) == 1


def test_the_password_is_read_from_standard_input_and_stands_in_no_argument(
    session: LedgerSession, docker: Docker
) -> None:
    session.ledger()

    (call,) = docker.calls
    assert call["password"] == PASSWORD
    assert PASSWORD not in " ".join(call["arguments"])
    assert call["arguments"][:3] == ["exec", "-i", "clair-database"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            {"complaint": "Error response from daemon: container 12ab is not running"},
            "the database's container is not running",
            id="stopped",
        ),
        pytest.param(
            {"complaint": "Error: No such container: clair-database"},
            "the database's container is not running",
            id="never started",
        ),
        pytest.param(
            {"complaint": 'psql:<stdin>:6: ERROR:  relation "updater_status" does not exist\nLINE 4: FROM ...'},
            "the matcher has not made its tables yet",
            id="no tables yet",
        ),
        pytest.param(
            {
                "complaint": 'psql: error: connection to server at "127.0.0.1", port 5432 failed: '
                'FATAL:  password authentication failed for user "ledger"'
            },
            'password authentication failed for user "ledger"',
            id="wrong password",
        ),
        pytest.param({"answer": "null"}, "the answer has no rows", id="null"),
        pytest.param({"answer": '{"rows": [1]}'}, "a row of the answer is not readable", id="damaged row"),
        pytest.param({"answer": "Hello"}, "the answer is not JSON (at character 0)", id="no JSON"),
    ],
)
def test_a_ledger_that_cannot_be_read_leaves_it_undecided(
    docker: Docker, place: Deployment, content: dict[str, Any], reason: str
) -> None:
    docker.answer(**content)

    found = failure(place)

    assert found.sentence == f"feed ledger unreadable, database matcher: {reason}"
    assert (found.hint, found.code) == ("./clair database", UNDECIDED)


def test_a_database_that_does_not_answer_ends_at_the_timeout(docker: Docker, place: Deployment) -> None:
    docker.answer(delay=30)

    found = failure(place, 0.5)

    assert found.sentence == "feed ledger unreadable, database matcher: no answer within 0.5 s"


def test_without_docker_the_program_is_named(place: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER", "no-such-docker")

    with pytest.raises(Problem) as found:
        LedgerSession(place, Deadline(5))

    assert found.value.sentence == "docker missing, no-such-docker: command not found"
    assert found.value.code == USAGE


def test_an_external_database_is_asked_from_the_one_shot_service(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE", "compose")
    database = {"mode": "external", "host": "db.example", "port": 5433, "sslmode": "verify-full", "version": "17"}
    write_deployment(tmp_path / "external", facts(catalogue, database=database))

    command = psql_command(load_deployment(tmp_path / "external"))

    assert command[-11:-4] == ["run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "database-client"]
    assert command[-1] == (
        "host='db.example' port='5433' sslmode='verify-full' sslrootcert='/config/ca-bundle.pem' user='ledger' "
        "dbname='matcher' connect_timeout='10'"
    )


def test_the_shell_gives_the_password_to_psql_by_the_environment_only(tmp_path: Path) -> None:
    psql = tmp_path / "psql"
    psql.write_text('#!/bin/sh\nprintf "%s\\n" "arguments: $*" "password: $PGPASSWORD" "rest: $(cat)"\n')
    psql.chmod(0o755)

    done = subprocess.run(
        ["sh", "-c", SHELL, "sh", "host='h'"],
        input=f"{PASSWORD} \\n$(id)\nSELECT 1;\n",
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [
        "arguments: -XqAt -v ON_ERROR_STOP=1 -d host='h' -f -",
        f"password: {PASSWORD} \\n$(id)",
        "rest: SELECT 1;",
    ]


@given(st.tuples(st.text(), st.text(), st.text()))
def test_no_text_from_an_image_becomes_part_of_a_statement(question: tuple[str, str, str]) -> None:
    statement = presence_statement(question)

    assert statement == "" or statement.count("'") == 4
    assert statement.count(";") <= 1


@pytest.mark.parametrize("value", ["x'; DROP TABLE vuln; --", "x\\", "", "a" * 81, "böokworm", "a\nb"])
def test_a_value_no_feed_can_hold_is_not_asked_for(session: LedgerSession, value: str) -> None:
    session.ledger()
    question = ("debian/updater", "dist_version_code_name", value)

    assert session.present([question]) == {question: False}


@given(st.text())
def test_any_line_is_rows_or_not_readable(line: str) -> None:
    try:
        parse_rows(line)
    except Unreadable:
        return


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        ('{"exported_at": "1970-01-01T00:01:40Z"}', 100.0),
        ('{"exported_at": "1970-01-01T01:01:40+01:00"}', 100.0),
        ('{"exported_at": "1970-01-01T00:01:40"}', None),
        ('{"exported_at": "yesterday"}', None),
        ("{}", None),
        ("not JSON", None),
        (None, None),
    ],
)
def test_a_pack_without_a_date_that_is_sure_has_no_age(
    tmp_path: Path, content: str | None, seconds: float | None
) -> None:
    path = tmp_path / "feed-pack.json"
    if content is not None:
        path.write_text(content)

    assert pack_exported_at(path) == seconds
