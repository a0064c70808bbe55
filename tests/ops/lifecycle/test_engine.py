"""Docker and Compose calls: which words they get, and their failures in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.errors import Problem
from ops.host import engine
from ops.host.explain_failure import explain, image_problem
from ops.settings import load_deployment

from tests.ops.lifecycle.conftest import Clair
from tests.ops.lifecycle.fake_docker import CONTAINERS

INSTALL = (
    "HINT: install Docker Engine 20.10 or newer with Compose 2.20 or newer: https://docs.docker.com/engine/install/\n"
)


def test_a_missing_docker_is_said_with_the_way_to_get_it(clair: Clair) -> None:
    result = clair("ps", DOCKER="no-such-docker")

    assert (result.code, result.out, result.err) == (
        2,
        "",
        f"docker missing, no-such-docker: command not found\n{INSTALL}",
    )


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get ...",
            2,
            "docker not allowed, its socket: permission denied for this user\n"
            'HINT: sudo usermod -aG docker "$USER", then log in again\n',
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            3,
            "docker unreachable, its daemon: not running\nHINT: sudo systemctl start docker\n",
        ),
        (
            "error during connect: Get http://x/: dial tcp: connection refused",
            3,
            "docker unreachable, its daemon: not running\nHINT: sudo systemctl start docker\n",
        ),
        (
            "Error response from daemon: something new\n",
            3,
            "call failed, docker ps: something new\nHINT: make check\n",
        ),
        ("", 3, "call failed, docker ps: no message\nHINT: make check\n"),
    ],
    ids=["permission", "daemon", "remote daemon", "unknown", "silent"],
)
def test_failures_of_docker_are_said_in_words(clair: Clair, text: str, code: int, sentence: str) -> None:
    clair.docker.on(CONTAINERS, stderr=text, code=1)

    result = clair("ps")

    assert (result.code, result.out, result.err) == (code, "", sentence)


@pytest.mark.parametrize(
    "text",
    [
        "docker: 'compose' is not a docker command.\nSee 'docker --help'",
        "docker: unknown command: docker compose\n\nRun 'docker --help' for more information",
        "unknown flag: --project-name\nSee 'docker --help'.",
    ],
    ids=["20.10", "28", "flags first"],
)
def test_a_missing_compose_is_said_with_the_way_to_get_it(clair: Clair, text: str) -> None:
    clair.docker.on(r"^compose", stderr=text, code=1)

    result = clair("down")

    expected = (
        "compose missing, docker compose: not installed\n"
        "HINT: install Compose 2.20 or newer: https://docs.docker.com/compose/install/linux/\n"
    )
    assert (result.code, result.err) == (2, expected)


@pytest.mark.parametrize(
    ("text", "sentence", "code"),
    [
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint clair-traefik: "
            "Bind for 127.0.0.1:6060 failed: port is already allocated",
            "port in use, published port: driver failed programming external connectivity on endpoint clair-traefik: "
            "Bind for 127.0.0.1:6060 failed: port is already allocated",
            2,
        ),
        (
            "write /var/lib/docker/tmp/x: no space left on device",
            "disk full, docker: write /var/lib/docker/tmp/x: no space left on device",
            2,
        ),
        (
            'Get "https://quay.io/v2/": dial tcp: lookup quay.io: no such host',
            'image not available, pull: Get "https://quay.io/v2/": dial tcp: lookup quay.io: no such host',
            3,
        ),
        (
            'Volume clair_receiver Error error during connect: Post "http://socket/v1.41/volumes/create": context canceled\n'
            "failed to create network clair_edge: Error response from daemon: could not find an available, "
            "non-overlapping IPv4 address pool among the defaults to assign to the network",
            "networks used up, docker: no address range is left for another network",
            2,
        ),
    ],
)
def test_known_failures_of_a_start_have_their_own_sentence(text: str, sentence: str, code: int) -> None:
    problem = explain("compose up", text)

    assert (problem.sentence, problem.code) == (sentence, code)


@pytest.mark.parametrize(
    "text", ["manifest for x:1 not found: manifest unknown", "pull access denied for x", "toomanyrequests: rate limit"]
)
def test_an_image_that_cannot_be_pulled_is_named(text: str) -> None:
    problem = image_problem("quay.io/projectquay/clair:4.9.0", f"Error response from daemon: {text}")

    assert problem.sentence == f"image not available, quay.io/projectquay/clair:4.9.0: {text}"
    assert problem.hint == "make images lists all; docker load --input FILE brings them in without a registry"
    assert problem.code == 3


def test_a_daemon_that_is_down_is_not_blamed_on_the_image() -> None:
    assert image_problem("x:1", "Cannot connect to the Docker daemon").sentence.startswith("docker unreachable")


def test_a_call_without_an_answer_ends(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        engine.run(["sleep", "10"], timeout_seconds=0.1)

    assert (caught.value.sentence, caught.value.code) == ("call failed, sleep 10: no answer within 0.1 s", 3)


def test_a_program_that_may_not_be_run_is_no_traceback(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)

    with pytest.raises(Problem) as caught:
        engine.run([str(program), "ps"])

    # root may run no file without an x bit either.
    assert caught.value.sentence.startswith(("docker not allowed, ", "docker missing, "))


def test_a_shell_line_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE", "docker 'compose")

    with pytest.raises(Problem) as caught:
        engine.program("compose")

    assert (caught.value.sentence, caught.value.hint) == (
        "setting unreadable, COMPOSE: No closing quotation",
        "unset COMPOSE",
    )


def test_docker_and_compose_are_replaced_like_a_shell_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMPOSE", raising=False)
    monkeypatch.setenv("DOCKER", "sudo -n '/opt/my docker'")
    assert engine.program("compose") == ["sudo", "-n", "/opt/my docker", "compose"]

    monkeypatch.setenv("COMPOSE", "podman-compose")
    assert engine.program("compose") == ["podman-compose"]


def test_before_anything_is_applied_compose_gets_the_rendered_files(clair: Clair) -> None:
    words = engine.compose_command(clair.deployment, ["ps"])

    root = clair.folder
    expected = ["--project-name", "clair", "--project-directory", str(root), "--env-file", str(root / ".env")]
    assert words[2:] == [*expected, "--file", str(root / "compose.yaml"), "ps"]


def test_afterwards_compose_gets_the_applied_files_and_the_overlay(started: Clair) -> None:
    started.write("compose.override.yaml", "services: {}\n")
    assert started("up").code == 0

    words = engine.compose_command(load_deployment(started.folder), ["ps"])

    applied = started.folder / "state/applied"
    files = [str(applied / name) for name in ("compose.yaml", "compose.override.yaml", "overlay.json")]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--file"] == files
    assert words[words.index("--env-file") + 1] == str(applied / "env")


def test_variables_that_would_choose_another_project_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("DOCKER_HOST", "unix:///x")

    environment = engine.environment()

    assert not [name for name in environment if name.startswith("COMPOSE_")]
    assert environment["DOCKER_HOST"] == "unix:///x"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("name", "found", "sentence"),
    [
        ("docker", "20.10.24+dfsg1", None),
        ("docker", "28.2.2", None),
        ("docker", "19.03.15", "docker too old, 19.03.15: 20.10 or newer is needed"),
        ("compose", "v2.20.0-desktop.1\n", None),
        ("compose", "2.19.1", "compose too old, 2.19.1: 2.20 or newer is needed"),
        ("compose", "1.29.2", "compose too old, 1.29.2: 2.20 or newer is needed"),
        ("compose", "", "compose unreadable, its version: no answer"),
        ("compose", "dev", "compose unreadable, its version: dev"),
    ],
)
def test_versions_are_compared_by_their_numbers(name: str, found: str, sentence: str | None) -> None:
    minimum = engine.DOCKER_MINIMUM if name == "docker" else engine.COMPOSE_MINIMUM

    problem = engine.version_problem(name, found, minimum)

    assert (problem.sentence if problem else None) == sentence


@given(st.text())
def test_any_output_gives_one_line(text: str) -> None:
    problem = explain("docker ps", text)

    assert len(problem.sentence.splitlines()) == 1
    assert problem.code in (2, 3)
