"""The rendered Makefile and ./clair: variables reach the command as they were typed, and nothing reads them on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.support import repositories
from tests.support.projects import Project

# Stands in for ./clair: prints its arguments and its environment.
PRINTER = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}))
"""


@pytest.fixture
def folder(rendered_default: Project, tmp_path: Path) -> Path:
    """A folder with the rendered Makefile and a ./clair that prints what it was given."""
    shutil.copy(rendered_default.folder / "Makefile", tmp_path)
    (tmp_path / "clair").write_text(PRINTER, encoding="utf-8")
    (tmp_path / "clair").chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in `folder`; keywords are environment variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env={**clean, **environment}, capture_output=True, text=True, check=False
    )


LITERAL = [
    "$(shell touch made)",
    "$(id)",
    "$$(touch made)",
    "${HOME}",
    "`touch made`",
    "a b  c",
    'it\'s "quoted"',
    "x; touch made",
    "x # y",
    "x\\",
    "registry.example.com:5000/a/b:1.0@sha256:" + "0" * 64,
    "üж漢",
]


@pytest.mark.parametrize("value", LITERAL)
def test_variable_on_the_command_line_arrives_as_typed(folder: Path, value: str) -> None:
    run = make(folder, "scan", f"IMAGE={value}")

    given = json.loads(run.stdout)
    assert given["arguments"] == ["scan"]
    assert given["environment"]["IMAGE"] == value
    assert not (folder / "made").exists()


@pytest.mark.parametrize("value", LITERAL)
def test_variable_of_the_environment_arrives_as_it_was(folder: Path, value: str) -> None:
    run = make(folder, "scan", IMAGE=value)

    assert json.loads(run.stdout)["environment"]["IMAGE"] == value
    assert not (folder / "made").exists()


def test_every_variable_arrives(folder: Path) -> None:
    names = re.search(r"^VARIABLES := (.+)$", (folder / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert names

    run = make(folder, "scan", *[f"{name}=$(x)-{name}" for name in names[1].split()])

    environment = json.loads(run.stdout)["environment"]
    assert {name: environment[name] for name in names[1].split()} == {name: f"$(x)-{name}" for name in names[1].split()}


def test_command_does_not_inherit_the_flags_of_make(folder: Path) -> None:
    run = make(folder, "scan", "IMAGE=x")

    assert not {"MAKEFLAGS", "MFLAGS"} & set(json.loads(run.stdout)["environment"])


def test_failure_of_a_command_is_exit_code_2_of_make(folder: Path) -> None:
    (folder / "clair").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")

    assert make(folder, "scan").returncode == 2


def test_make_alone_prints_help_of_at_most_a_screenful(folder: Path) -> None:
    run = make(folder)

    lines = run.stdout.strip().splitlines()
    assert run.returncode == 0
    assert lines[0] == "Setup"
    assert len(lines) <= 45
    assert any(line.split()[:1] == ["up"] for line in lines)


def test_every_target_is_phony_has_help_and_calls_the_command_of_its_name(rendered_default: Project) -> None:
    text = rendered_default.text("Makefile")

    rules = re.findall(r"^\.PHONY: ([a-z-]+)\n\1: (## [A-Z].+[^.])\n\t@\./clair \1\n", text, re.MULTILINE)

    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) - {"help"}
    assert {name for name, _ in rules} == targets


def test_destructive_target_is_marked_and_names_its_confirmation(render: Render) -> None:
    help_text = make(render("replicas").folder).stdout

    line = next(line for line in help_text.splitlines() if line.split()[:1] == ["destroy"])

    assert "DESTROY" in line
    assert "CONFIRM=scanners" in line


def test_clair_runs_from_any_folder_and_leaves_nothing_for_git(rendered_default: Project, tmp_path: Path) -> None:
    project = Path(shutil.copytree(rendered_default.folder, tmp_path / "my clair"))
    repositories.commit(project)

    run = subprocess.run([project / "clair", "--help"], cwd="/", capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage: ./clair COMMAND")
    assert repositories.git(project, "status", "--porcelain") == ""
