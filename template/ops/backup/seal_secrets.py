"""Encrypts `secrets/` for a backup with the host's gpg, or openssl where there is no gpg.

The passphrase is read by the program itself from a file, so that it is in no argument and no environment. Reads `secrets/`;
writes one file. Decrypt: `gpg --decrypt FILE | tar -x`, or `openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -in FILE -pass
file:PASSPHRASE_FILE | tar -x`.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import List

from ..errors import USAGE, Problem
from ..host.write_files import write_file
from ..settings import Deployment

# OWASP's number for PBKDF2 with SHA-256.
_ITERATIONS = 600_000
_PASSPHRASE_CHARACTERS = 8
SECONDS = 120


@dataclass(frozen=True)
class Seal:
    """How secrets are encrypted: by `gpg` or `openssl`, with the passphrase in a file or for a gpg recipient."""

    program: str
    passphrase_file: str = ""
    recipient: str = ""


def choose_seal(passphrase_file: str, recipient: str) -> Seal:
    """Return how secrets will be encrypted.

    Raises Problem (2): neither program is here, no passphrase file and no recipient, or a file that cannot be used.
    """
    gpg, openssl = (shutil.which(name) is not None for name in ("gpg", "openssl"))
    if not gpg and not openssl:
        raise Problem(
            "secrets not encrypted, --with-secrets: neither gpg nor openssl is on this host", "sudo apt install gpg"
        )
    if recipient and passphrase_file:
        raise Problem(
            "secrets not encrypted, --with-secrets: a recipient and a passphrase file exclude each other", _HINT
        )
    if recipient:
        if not gpg:
            raise Problem("secrets not encrypted, --recipient: gpg is not on this host", "sudo apt install gpg")
        return Seal("gpg", recipient=recipient)
    if not passphrase_file:
        raise Problem("secrets not encrypted, --with-secrets: no passphrase file and no recipient", _HINT)
    shown = shlex.quote(passphrase_file)
    if Path(passphrase_file).exists() and not Path(passphrase_file).is_file():
        # It is read more than once, and a pipe can only be read once.
        raise Problem(f"passphrase unusable, {passphrase_file}: it is not a regular file", f"ls -ld {shown}")
    try:
        line = Path(passphrase_file).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise Problem(f"passphrase unreadable, {passphrase_file}: {reason}", f"ls -l {shown}") from error
    if len(line) < _PASSPHRASE_CHARACTERS:
        reason = f"its first line has fewer than {_PASSPHRASE_CHARACTERS} characters"
        raise Problem(f"passphrase unusable, {passphrase_file}: {reason}", f"openssl rand -hex 32 > {shown}")
    return Seal("gpg" if gpg else "openssl", passphrase_file=os.path.abspath(passphrase_file))  # noqa: PTH100 - not resolved


def try_seal(seal: Seal) -> None:
    """Encrypt one line and throw it away, so that what cannot be done is known before anything is dumped.

    Raises Problem (2) with the program's own words if it refuses, such as for an unknown recipient.
    """
    _run(_command(seal), b"nothing\n", "gpg --list-keys" if seal.recipient else _HINT)


def seal_secrets(deployment: Deployment, seal: Seal, folder: Path) -> str:
    """Write the encrypted archive of `secrets/` into a folder and return its name.

    Raises Problem (2) with the program's own words if it refuses.
    """
    name = f"secrets.tar.{seal.program}"
    result = _run(_command(seal), _archive(deployment))
    if seal.passphrase_file and _run(_reverse(seal), result) != _archive(deployment):
        raise Problem(f"secrets not encrypted, {seal.program}: what it wrote does not decrypt to what it read", _HINT)
    write_file(folder / name, result, 0o600)
    return name


def _archive(deployment: Deployment) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(deployment.secrets.iterdir()):
            if path.is_file():
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"secrets/{path.name}")
                entry.size, entry.mode = len(content), 0o444
                archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _command(seal: Seal) -> List[str]:
    if seal.recipient:
        # The operator named the key; whether gpg calls it trusted is decided nowhere else.
        return ["gpg", "--batch", "--yes", "--trust-model", "always", "--encrypt", "--recipient", seal.recipient]
    if seal.program == "gpg":
        return [*_GPG, "--cipher-algo", "AES256", "--passphrase-file", seal.passphrase_file, "--symmetric"]
    return [*_OPENSSL, "-salt", "-pass", f"file:{seal.passphrase_file}"]


def _reverse(seal: Seal) -> List[str]:
    if seal.program == "gpg":
        return [*_GPG, "--passphrase-file", seal.passphrase_file, "--decrypt"]
    return [*_OPENSSL, "-d", "-pass", f"file:{seal.passphrase_file}"]


def _run(command: List[str], content: bytes, hint: str = "") -> bytes:
    try:
        result = subprocess.run(command, input=content, capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"no end within {SECONDS} s"
        raise Problem(f"secrets not encrypted, {command[0]}: {reason}", f"{command[0]} --version", USAGE) from error
    if result.returncode != 0:
        lines = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        raise Problem(
            f"secrets not encrypted, {command[0]}: {lines[-1] if lines else 'no message'}", hint or _HINT, USAGE
        )
    return result.stdout


_GPG = ["gpg", "--batch", "--yes", "--quiet", "--no-symkey-cache", "--pinentry-mode", "loopback"]
_OPENSSL = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", str(_ITERATIONS), "-md", "sha256"]
_HINT = "./clair backup --with-secrets --passphrase-file FILE"
