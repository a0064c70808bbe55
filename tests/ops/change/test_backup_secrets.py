"""Secrets leave only encrypted, by a program of the host that reads the passphrase itself; what holds one is not copied."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ops.backup import seal_secrets as sealing
from ops.backup.seal_secrets import Seal, choose_seal, seal_secrets
from ops.errors import USAGE, Problem
from ops.settings import Deployment
from ops.state.copy_state import kept_files

from tests.ops.change.made_backups import deployment_at

PASSPHRASE = "correct horse battery staple"
OPEN = {
    "gpg": [
        "gpg",
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase-file",
        "{pass}",
        "--decrypt",
        "{file}",
    ],
    "openssl": [
        "openssl",
        "enc",
        "-d",
        "-aes-256-cbc",
        "-pbkdf2",
        "-iter",
        "600000",
        "-in",
        "{file}",
        "-pass",
        "file:{pass}",
    ],
}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment with secrets, and a home of its own for gpg."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    made = deployment_at(tmp_path)
    (made.secrets / "psk").write_text("this-is-the-key-of-clair")
    (made.secrets / "database-matcher").write_text("this-is-a-password")
    return made


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    """A file with the passphrase in its first line."""
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\nanother line\n")
    return path


def only(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Let `choose_seal` find these programs only."""
    monkeypatch.setattr(sealing.shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None)


@pytest.mark.parametrize("program", ["gpg", "openssl"])
def test_what_is_sealed_opens_with_the_documented_command_and_in_no_other_way(
    deployment: Deployment, passphrase_file: Path, program: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    name = seal_secrets(deployment, Seal(program, passphrase_file=str(passphrase_file)), tmp_path)

    sealed = tmp_path / name
    words = [word.format(**{"file": sealed, "pass": passphrase_file}) for word in OPEN[program]]
    opened = subprocess.run(words, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(opened)) as archive:
        assert sorted(archive.getnames()) == ["secrets/database-matcher", "secrets/psk"]
        member = archive.extractfile("secrets/psk")
        assert member is not None
        assert member.read() == b"this-is-the-key-of-clair"
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert b"this-is-the-key" not in sealed.read_bytes()
    passphrase_file.write_text("another passphrase\n")
    assert subprocess.run(words, capture_output=True, check=False).stdout != opened


def test_the_passphrase_is_in_no_argument_and_no_environment(
    deployment: Deployment, passphrase_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "bin" / "gpg"
    spy.parent.mkdir()
    spy.write_text(f"#!{sys.executable}\nimport os, sys\nopen({str(tmp_path / 'seen')!r}, 'a').write(repr((sys.argv, dict(os.environ))))\n"
                   "sys.stdout.buffer.write(sys.stdin.buffer.read())\n")  # fmt: skip
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")

    seal_secrets(deployment, choose_seal(str(passphrase_file), ""), tmp_path)

    seen = (tmp_path / "seen").read_text()
    assert "--symmetric" in seen
    assert PASSPHRASE not in seen


def test_gpg_is_taken_before_openssl(passphrase_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "gpg", "openssl")
    assert choose_seal(str(passphrase_file), "").program == "gpg"

    only(monkeypatch, "openssl")
    assert choose_seal(str(passphrase_file), "").program == "openssl"


@pytest.mark.parametrize(
    ("programs", "passphrase", "recipient", "sentence"),
    [
        ((), "FILE", "", "--with-secrets: neither gpg nor openssl is on this host"),
        (("openssl",), "", "me@example.com", "--recipient: gpg is not on this host"),
        (("gpg",), "", "", "--with-secrets: no passphrase file and no recipient"),
        (("gpg",), "FILE", "me@example.com", "--with-secrets: a recipient and a passphrase file exclude each other"),
    ],
    ids=["no program", "no gpg", "no passphrase", "both"],
)
def test_what_cannot_be_encrypted_is_refused(
    programs: tuple[str, ...], passphrase: str, recipient: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, *programs)
    with pytest.raises(Problem) as raised:
        choose_seal(passphrase, recipient)

    assert (raised.value.code, raised.value.sentence) == (USAGE, f"secrets not encrypted, {sentence}")


def test_a_passphrase_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "gpg")
    with pytest.raises(Problem, match="passphrase unreadable, /nonexistent: No such file or directory"):
        choose_seal("/nonexistent", "")


def test_a_passphrase_of_a_few_letters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "gpg")
    (tmp_path / "short").write_text("\nlong enough, but not its first line\n")
    with pytest.raises(Problem, match="its first line has fewer than 8 characters"):
        choose_seal(str(tmp_path / "short"), "")


def test_files_in_which_a_secret_stands_are_not_copied(deployment: Deployment) -> None:
    applied = deployment.applied
    for service, text in (("indexer", "auth: {psk: {key: this-is-the-key-of-clair}}"), ("matcher", "auth: {}")):
        (applied / service / "config.yaml.d").mkdir(parents=True)
        (applied / service / "config.yaml").write_text(text)
        (applied / service / "config.yaml.d" / "own.yaml").write_text("headers: {Authorization: [mine]}")
        (applied / service / "pgpass").write_text("*:*:*:x:this-is-a-password")
    (applied / "compose.yaml").write_text("services: {}")
    (applied / "overlay.json").write_text("{}")

    assert sorted(kept_files(deployment)) == ["applied-config/matcher/config.yaml", "compose.yaml", "deployment.json"]


@pytest.mark.parametrize("known", [True, False], ids=["applied", "applied by an older command"])
def test_the_answers_are_those_of_what_is_applied(deployment: Deployment, known: bool) -> None:
    (deployment.root / ".copier-answers.yml").write_text("clair_version: 4.9.0\n")
    if known:
        (deployment.applied / "copier-answers.yml").write_text("clair_version: 4.8.0\n")

    release = b"4.8.0" if known else b"4.9.0"
    assert kept_files(deployment)["copier-answers.yml"] == b"clair_version: " + release + b"\n"
