"""`./clair secrets`: creates what is missing, never overwrites, never prints a value."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable

import pytest
from ops.state.create_secrets import new_secret

from tests.ops.lifecycle.conftest import Clair

PASSWORDS = [f"database-{role}" for role in ("superuser", "indexer", "matcher", "notifier", "ledger")]
NAMES = ["psk", *PASSWORDS]


def test_all_secrets_are_created_and_only_their_names_printed(clair: Clair) -> None:
    result = clair("secrets")

    assert (result.code, result.err) == (0, "")
    assert result.out == "".join(f"secrets/{name}\n" for name in NAMES)
    assert sorted(path.name for path in (clair.folder / "secrets").iterdir()) == sorted(NAMES)


def test_no_value_is_printed(clair: Clair) -> None:
    result = clair("secrets")

    for name in NAMES:
        value = (clair.folder / "secrets" / name).read_text()
        assert value not in result.out + result.err


def test_the_key_is_32_bytes_in_padded_standard_base64(clair: Clair) -> None:
    clair("secrets")

    assert len(base64.b64decode((clair.folder / "secrets/psk").read_text(), validate=True)) == 32


def test_passwords_need_no_quoting_anywhere() -> None:
    for _ in range(200):
        assert set(new_secret("database-indexer").decode()) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000, 0o777], ids="umask={:03o}".format)
def test_modes_do_not_depend_on_the_umask(clair: Clair, umask: int) -> None:
    clair.umask = umask

    assert clair("secrets").code == 0

    folder = clair.folder / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in NAMES} == {0o444}


def test_a_second_run_changes_nothing(clair: Clair) -> None:
    clair("secrets")
    before = {name: (clair.folder / "secrets" / name).read_bytes() for name in NAMES}

    result = clair("secrets")

    assert (result.code, result.out, result.err) == (0, "", "nothing to create: all secrets are there\n")
    assert before == {name: (clair.folder / "secrets" / name).read_bytes() for name in NAMES}


def test_only_what_is_missing_is_created_and_an_empty_file_is_not_overwritten(clair: Clair) -> None:
    clair.write("secrets/psk", "")

    result = clair("secrets")

    assert result.out == "".join(f"secrets/{name}\n" for name in PASSWORDS)
    assert (clair.folder / "secrets/psk").read_text() == ""


def test_without_a_notifier_there_is_no_password_for_it(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("no-notifier")

    clair("secrets")

    assert not (clair.folder / "secrets/database-notifier").exists()


def test_certificate_files_are_asked_of_the_operator(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("tls-files")

    result = clair("secrets")

    expected = "secret missing, secrets/tls.crt, secrets/tls.key: only you have it\nHINT: install -m 0444 FILE secrets/tls.crt\n"
    assert (result.code, result.err) == (2, expected)
    assert "secrets/psk\n" in result.out


def test_passwords_of_an_external_database_are_not_invented(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("external-database")

    result = clair("secrets")

    names = ", ".join(f"secrets/database-{role}" for role in ("indexer", "matcher", "notifier", "ledger"))
    hint = (
        "HINT: put the roles' existing passwords there (install -m 0444 FILE secrets/database-indexer), "
        "or let new ones be made: ./clair secrets --generate\n"
    )
    expected = f"secret missing, {names}: only you have it\n{hint}"
    assert (result.code, result.out, result.err) == (2, "secrets/psk\n", expected)


def test_passwords_of_an_external_database_are_made_on_request(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("external-database")

    result = clair("secrets", "--generate")

    assert result.code == 0
    assert result.out.splitlines() == ["secrets/psk", *(f"secrets/{name}" for name in PASSWORDS[1:])]
    assert result.err == "next: ./clair database --print-sql (what the external database's administrator runs)\n"


@pytest.mark.parametrize("name", ["psk", "database-superuser", "database-ledger"])
def test_rotate_replaces_one_secret_and_says_what_must_follow(clair: Clair, name: str) -> None:
    clair("secrets")
    before = {path.name: path.read_bytes() for path in (clair.folder / "secrets").iterdir()}

    result = clair("secrets", "rotate", name)

    after = {path.name: path.read_bytes() for path in (clair.folder / "secrets").iterdir()}
    expected = (0, f"secrets/{name}\n", "rotated; not in use yet, next: make up\n")
    assert (result.code, result.out, result.err) == expected
    assert {key for key in before if before[key] != after[key]} == {name}
    assert stat.S_IMODE((clair.folder / "secrets" / name).stat().st_mode) == 0o444


def test_rotate_takes_the_name_from_the_environment(clair: Clair) -> None:
    clair("secrets")

    assert clair("secrets", "rotate", NAME="psk").out == "secrets/psk\n"


def test_rotating_the_key_names_quay_where_quay_has_it(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("quay")
    clair("secrets")

    result = clair("secrets", "rotate", "psk")

    following = "make up, then make quay (Quay and every client that signs need the new key)"
    assert result.err == f"rotated; not in use yet, next: {following}\n"


def test_rotating_an_external_password_names_the_sql(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("external-database")
    clair("secrets", "--generate")

    result = clair("secrets", "rotate", "database-indexer")

    following = "./clair database --print-sql (run what it prints on the external database), then make up"
    assert result.err == f"rotated; not in use yet, next: {following}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (["rotate"], "secret not named, rotate: choose one of psk, ", "./clair secrets rotate psk"),
        (["rotate", "../x"], "secret unknown, ../x: choose one of psk, ", "./clair secrets rotate psk"),
        (["rotate", "tls.key"], "secret unknown, tls.key: choose one of psk, ", "./clair secrets rotate psk"),
    ],
)
def test_rotate_of_no_secret_lists_the_ones_there_are(
    clair: Clair, arguments: list[str], sentence: str, hint: str
) -> None:
    result = clair("secrets", *arguments)

    expected = f"{sentence}{', '.join(PASSWORDS)}\nHINT: {hint}\n"
    assert (result.code, result.out, result.err) == (2, "", expected)


def test_rotate_of_the_operators_own_secret_is_refused(clair_of: Callable[[str], Clair]) -> None:
    clair = clair_of("tls-files")

    result = clair("secrets", "rotate", "tls.key")

    expected = "secret not rotated, secrets/tls.key: only you can make it\nHINT: install -m 0444 FILE secrets/tls.key && make up\n"
    assert (result.code, result.err) == (2, expected)


def test_a_command_that_was_cut_short_leaves_nothing_that_stops_the_next(clair: Clair) -> None:
    clair.write("secrets/.psk.new", "half")

    assert clair("secrets").code == 0

    assert len((clair.folder / "secrets/psk").read_text()) == 44
    assert not (clair.folder / "secrets/.psk.new").exists()
