"""The user's own credentials for a registry, found where Docker keeps them.

Reads `config.json` in DOCKER_CONFIG (default `~/.docker`), and `${XDG_RUNTIME_DIR}/containers/auth.json` where there is
none, as clairctl does; runs `docker-credential-NAME get` on this host; writes nothing. Order for a host: its entry in
credHelpers, else credsStore, then `auths` (docker/cli cli/config/configfile at v28.0.0). A secret never reaches an
argument, a message or a file.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import Problem
from ..host.escape_text import printable
from .parse_reference import HUB, Reference

HUB_KEY = "https://index.docker.io/v1/"
HELPER_TIMEOUT_SECONDS = 30
# What a helper answers for a registry it holds nothing for (docker-credential-helpers credentials/error.go).
NOTHING_STORED = "credentials not found in native keychain"


@dataclass(frozen=True)
class Credentials:
    """A login for a registry, as a name and password or as a token; all fields empty means anonymous.

    `failure` tells why stored credentials could not be read: worth telling only if the registry wants some.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    failure: str = ""


def find_credentials(reference: Reference, environment: Mapping[str, str] = os.environ) -> Credentials:
    """Return the login stored for the registry of `reference`, or an empty one.

    Raises Problem (2) if Docker's configuration file is there and cannot be read.
    """
    config = _read_config(environment)
    keys = [HUB_KEY] if reference.domain == HUB else [reference.repository, reference.domain]
    failure = ""
    for key in keys:
        helper = _text(_mapping(config.get("credHelpers")).get(key)) or _text(config.get("credsStore"))
        if helper:
            found = _ask_helper(helper, key, environment)
            if found.username or found.identity_token:
                return found
            failure = failure or found.failure
        entry = _stored(_mapping(config.get("auths")), key)
        if entry is not None:
            return entry
    return Credentials(failure=failure)


def _config_paths(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    paths = [Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"]
    runtime = environment.get("XDG_RUNTIME_DIR")
    return paths + ([Path(runtime) / "containers" / "auth.json"] if runtime else [])


def _read_config(environment: Mapping[str, str]) -> dict[str, Any]:
    for path in _config_paths(environment):
        try:
            return _mapping(json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"not JSON, {error}"
            raise Problem(f"credentials unreadable, {path}: {reason}", f"python3 -m json.tool {path}") from error
    return {}


def _stored(auths: dict[str, Any], key: str) -> Optional[Credentials]:
    entry = auths.get(key)
    if entry is None:  # older logins stored URLs in place of host names
        entry = next((value for name, value in auths.items() if _hostname(name) == key), None)
    fields = _mapping(entry)
    username, password = _text(fields.get("username")), _text(fields.get("password"))
    if _text(fields.get("auth")):
        try:
            username, _, password = base64.b64decode(_text(fields["auth"])).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Credentials(failure=f"the entry of {key} in Docker's config.json is not base64")
        password = password.rstrip("\0")
    identity, token = _text(fields.get("identitytoken")), _text(fields.get("registrytoken"))
    return Credentials(username, password, identity, token) if username or identity or token else None


def _ask_helper(name: str, key: str, environment: Mapping[str, str]) -> Credentials:
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key,
            capture_output=True,
            text=True,
            timeout=HELPER_TIMEOUT_SECONDS,
            check=False,
            env=dict(environment),
        )
    except FileNotFoundError:
        return Credentials(failure=f"{program}, which Docker's config.json names, is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Credentials(failure=f"{program} failed: {type(error).__name__}")
    if done.returncode != 0:
        message = printable((done.stdout + done.stderr).strip())
        return Credentials(
            failure="" if NOTHING_STORED in message else f"{program} failed: {message or done.returncode}"
        )
    try:
        answer = _mapping(json.loads(done.stdout))
    except ValueError:
        return Credentials(failure=f"{program} answered no JSON")
    username, secret = _text(answer.get("Username")), _text(answer.get("Secret"))
    return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)


def _hostname(url: str) -> str:
    return url.partition("://")[2].partition("/")[0] if "://" in url else url.partition("/")[0]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
