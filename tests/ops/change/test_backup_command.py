"""`backup` as a user runs it, against a fake docker: what it refuses before anything is dumped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ops.state.apply_state import apply_state
from ops.state.create_secrets import create_missing

from tests.ops.lifecycle.conftest import Clair, clair, clair_of  # noqa: F401 - fixtures

RUN = "database-client"


@pytest.fixture
def running(clair: Clair) -> Clair:  # noqa: F811
    """A project that runs."""
    create_missing(clair.deployment)
    apply_state(clair.deployment)
    clair.docker.healthy("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik")
    return clair


@pytest.mark.parametrize(
    ("rows", "reason"),
    [((), "no container"), ((("clair-database", "exited", "Exited (0)"),), "its container is exited")],
    ids=["down", "stopped"],
)
def test_a_database_that_does_not_run_is_said(
    running: Clair, rows: tuple[tuple[str, str, str], ...], reason: str
) -> None:
    running.docker.containers(*rows)

    result = running("backup")

    assert (result.code, result.out) == (3, "")
    assert result.err == f"database not running, clair-database: {reason}\nHINT: ./clair up\n"
    assert not running.docker.calls(RUN)


def test_a_deployment_that_never_started_has_no_database(clair: Clair) -> None:  # noqa: F811
    clair.docker.containers()

    result = clair("backup")

    assert (result.code, result.err) == (3, "database not running, clair-database: no container\nHINT: ./clair up\n")


def test_lost_state_is_said(running: Clair) -> None:
    shutil.rmtree(running.folder / "state")

    result = running("backup")

    assert result.code == 2
    assert result.err == "database not reachable, clair: state/applied is missing\nHINT: ./clair up\n"
    assert not running.docker.calls("run --rm")


@pytest.mark.parametrize(
    ("words", "environment", "flag", "value"),
    [
        (["--passphrase-file", "/a b"], {}, "--passphrase-file", "'/a b'"),
        (["--recipient", "me"], {}, "--recipient", "me"),
        ([], {"RECIPIENT": "me"}, "--recipient", "me"),
    ],
    ids=["passphrase file", "recipient", "by the environment"],
)
def test_what_is_only_for_secrets_is_refused_without_them(
    running: Clair, words: list[str], environment: dict[str, str], flag: str, value: str
) -> None:
    result = running("backup", *words, **environment)

    assert result.code == 2
    assert result.err == (
        f"wrong use, backup: {flag} without --with-secrets, so no secrets would be in it\n"
        f"HINT: ./clair backup --with-secrets {flag} {value}\n"
    )
    assert not running.docker.calls()


def test_a_hook_that_is_no_shell_line_is_refused_before_the_dump(running: Clair) -> None:
    result = running("backup", BACKUP_HOOK="copy 'it")

    assert result.code == 2
    assert result.err == "hook unreadable, --hook or BACKUP_HOOK: No closing quotation\nHINT: ./clair backup --help\n"
    assert not running.docker.calls()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_passphrase_that_is_no_file_is_refused_before_the_dump(running: Clair, tmp_path: Path, make: object) -> None:
    path = tmp_path / "passphrase"
    make(path)  # type: ignore[operator]

    result = running("backup", "--with-secrets", "--passphrase-file", str(path))

    assert result.code == 2
    assert result.err == f"passphrase unusable, {path}: it is not a regular file\nHINT: ls -ld {path}\n"
    assert not running.docker.calls()


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not on this machine")
def test_an_unknown_recipient_is_refused_before_the_dump(running: Clair, tmp_path: Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)

    result = running("backup", "--with-secrets", "--recipient", "nobody@example.com", GNUPGHOME=str(home))

    assert result.code == 2
    first, hint = result.err.splitlines()
    assert first.startswith("secrets not encrypted, gpg: ")
    assert hint == "HINT: gpg --list-keys"
    assert not running.docker.calls()


@pytest.mark.parametrize(
    ("command", "failed"), [("backup", "folder not made, backups"), ("restore-test", "backup not found, backups/")]
)
def test_a_link_to_a_disk_that_is_not_mounted_is_told(
    running: Clair, tmp_path: Path, command: str, failed: str
) -> None:
    away = tmp_path / "away"
    (running.folder / "backups").symlink_to(away)

    result = running(command)

    assert result.code == 2
    assert result.err.splitlines()[-2:] == [
        f"{failed}: it is a link to {away}, which is not there; is its disk mounted?",
        "HINT: ls -ld backups",
    ]
