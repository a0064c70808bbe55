"""The user's own Docker credentials, wherever Docker keeps them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ops.errors import Problem
from ops.registries.find_credentials import Credentials, find_credentials
from ops.registries.parse_reference import parse_reference

HUB = "https://index.docker.io/v1/"


def auth(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


class Home:
    """A user's home with a Docker configuration and credential helpers on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
        (folder / "bin").mkdir(parents=True)

    def config(self, place: str = ".docker/config.json", **content: Any) -> None:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def helper(self, name: str, script: str) -> None:
        path = self.folder / "bin" / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def find(self, image: str) -> Credentials:
        return find_credentials(parse_reference(image), self.environment)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")


def answer(username: str, secret: str) -> str:
    """Return a helper that knows one login, and says the registry it was asked for."""
    login = json.dumps({"ServerURL": "x", "Username": username, "Secret": secret})
    return f'[ "$1" = get ] || exit 9\nread -r server\necho "$server" >> "$HOME/asked"\necho \'{login}\''


@pytest.mark.parametrize(
    ("auths", "image", "expected"),
    [
        pytest.param({"r.example": auth("u:p:q")}, "r.example/a", Credentials("u", "p:q"), id="auth in base64"),
        pytest.param(
            {"r.example": {"username": "u", "password": "p"}},
            "r.example/a",
            Credentials("u", "p"),
            id="name and password",
        ),
        pytest.param({HUB: auth("u:p")}, "debian", Credentials("u", "p"), id="Docker Hub"),
        pytest.param(
            {"https://r.example/v1/": auth("u:p")}, "r.example/a", Credentials("u", "p"), id="an old login by URL"
        ),
        pytest.param(
            {"r.example/team": auth("t:p"), "r.example": auth("u:p")},
            "r.example/team",
            Credentials("t", "p"),
            id="by repository",
        ),
        pytest.param(
            {"r.example": {"identitytoken": "it"}}, "r.example/a", Credentials(identity_token="it"), id="identity token"
        ),
        pytest.param(
            {"r.example": {"registrytoken": "rt"}}, "r.example/a", Credentials(registry_token="rt"), id="registry token"
        ),
        pytest.param({"other.example": auth("u:p")}, "r.example/a", Credentials(), id="another registry"),
        pytest.param({"r.example": {}}, "r.example/a", Credentials(), id="an empty entry"),
    ],
)
def test_a_stored_login_is_found(home: Home, auths: dict[str, Any], image: str, expected: Credentials) -> None:
    home.config(auths=auths)

    assert home.find(image) == expected


def test_without_any_configuration_nobody_is_logged_in(home: Home) -> None:
    assert home.find("r.example/a") == Credentials()


def test_docker_config_moves_the_configuration(home: Home) -> None:
    home.config(auths={"r.example": auth("home:p")})
    home.config("elsewhere/config.json", auths={"r.example": auth("elsewhere:p")})
    home.environment["DOCKER_CONFIG"] = str(home.folder / "elsewhere")

    assert home.find("r.example/a").username == "elsewhere"


def test_podmans_login_counts_where_docker_has_no_configuration(home: Home) -> None:
    home.environment["XDG_RUNTIME_DIR"] = str(home.folder / "run")
    home.config("run/containers/auth.json", auths={"r.example": auth("podman:p")})

    assert home.find("r.example/a").username == "podman"


def test_a_credential_store_is_asked_for_the_registry(home: Home) -> None:
    home.config(credsStore="desktop", auths={"r.example": {}})
    home.helper("desktop", answer("u", "p"))

    assert home.find("r.example/a") == Credentials("u", "p")
    assert (home.folder / "asked").read_text().split() == ["r.example/a"]


def test_docker_hub_has_its_own_name_in_a_store(home: Home) -> None:
    home.config(credsStore="desktop")
    home.helper("desktop", answer("u", "p"))

    assert home.find("debian").username == "u"
    assert (home.folder / "asked").read_text().split() == [HUB]


def test_a_helper_for_one_registry_goes_before_the_store(home: Home) -> None:
    home.config(credsStore="desktop", credHelpers={"r.example": "cloud"})
    home.helper("desktop", "echo 'credentials not found in native keychain'; exit 1")
    home.helper("cloud", answer("<token>", "refresh"))

    assert home.find("r.example/a") == Credentials(identity_token="refresh")


def test_a_login_in_the_file_counts_where_the_store_has_none(home: Home) -> None:
    home.config(credsStore="desktop", auths={"r.example": auth("u:p")})
    home.helper("desktop", "echo 'credentials not found in native keychain'; exit 1")

    assert home.find("r.example/a") == Credentials("u", "p")


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        pytest.param(
            None, "docker-credential-desktop, which Docker's config.json names, is not installed", id="missing"
        ),
        pytest.param("echo locked >&2; exit 2", "docker-credential-desktop failed: locked", id="failing"),
        pytest.param("echo hello", "docker-credential-desktop answered no JSON", id="no JSON"),
        pytest.param("echo 'credentials not found in native keychain'; exit 1", "", id="nothing stored"),
    ],
)
def test_a_store_that_gives_nothing_is_no_login_and_tells_why(home: Home, script: str | None, failure: str) -> None:
    home.config(credsStore="desktop")
    if script is not None:
        home.helper("desktop", script)

    assert home.find("r.example/a") == Credentials(failure=failure)


def test_a_damaged_configuration_is_a_failure_with_its_place(home: Home) -> None:
    home.config()
    path = home.folder / ".docker" / "config.json"
    path.write_text("{", encoding="utf-8")

    with pytest.raises(Problem) as failure:
        home.find("r.example/a")

    assert failure.value.sentence.startswith(f"credentials unreadable, {path}: not JSON, ")
    assert failure.value.hint == f"python3 -m json.tool {path}"
