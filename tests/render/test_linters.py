"""Checkers of others, run on what is rendered."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.support import answers as answer_files
from tests.support.places import tool
from tests.support.projects import Project

# Each rule that is off, and why.
DIGESTS = {"enabled": False, "reason": "a digest differs by architecture and mirror; tags are exact"}
SETTING = {"exclude_services": {"clair-database": "password_encryption is a setting of PostgreSQL and no password"}}
YAMLLINT = {
    "extends": "default",
    # Copier writes the answers file itself.
    "ignore": [".copier-answers.yml"],
    "rules": {"line-length": "disable", "document-start": "disable"},
}


def run(*arguments: str, folder: Path) -> str:
    """Run a checker in `folder` and return what it says, with the exit code on a line of its own if that is not 0."""
    outcome = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    code = f"\nexit code {outcome.returncode}" if outcome.returncode else ""
    return (outcome.stdout + outcome.stderr).strip() + code


@pytest.fixture(params=answer_files.names())
def project(request: pytest.FixtureRequest, render: Render) -> Project:
    """Each answer file's project in turn."""
    return render(request.param)


@pytest.mark.parametrize("name", ["defaults", "external-database", "everything"])
def test_compose_lint_finds_nothing(render: Render, tmp_path: Path, name: str) -> None:
    project, config = render(name), tmp_path / "compose-lint.yml"
    rules = {"CL-0019": DIGESTS, **({"CL-0020": SETTING} if "clair-database" in project.facts["services"] else {})}
    config.write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")

    said = run(
        *(tool("compose-lint"), "check", "--fail-on", "medium", "--strict-config"),
        *("--format", "json", "--skip-suppressed", "--config", str(config), "compose.yaml"),
        folder=project.folder,
    )

    findings = [line for line in json.loads(said)["findings"] if line["severity"] != "low"]
    assert findings == []


def test_yamllint_finds_nothing(project: Project) -> None:
    assert run(tool("yamllint"), "--strict", "-d", json.dumps(YAMLLINT), ".", folder=project.folder) == ""


def test_rumk_finds_nothing(rendered_default: Project) -> None:
    # MK101: one line names all variables, so that a reader and a test find them in one place.
    said = run(tool("rumk"), "check", "--no-config", "--disable", "MK101", "Makefile", folder=rendered_default.folder)

    assert "No issues" in said or said == ""


def test_shellcheck_finds_nothing(rendered_default: Project) -> None:
    assert run(tool("shellcheck"), "clair", folder=rendered_default.folder) == ""


def test_shell_of_the_healthchecks_is_sound(rendered_default: Project, tmp_path: Path) -> None:
    compose = rendered_default.yaml("compose.yaml")
    test = compose["services"]["indexer"]["healthcheck"]["test"]
    script = tmp_path / "ready.sh"
    script.write_text("#!/bin/bash\n" + test[-1].replace("$$", "$") + "\n", encoding="utf-8")

    assert run(tool("shellcheck"), str(script), folder=tmp_path) == ""


def test_every_target_can_be_made_without_undefined_variables(rendered_default: Project) -> None:
    targets = re.findall(r"^([a-z-]+):", rendered_default.text("Makefile"), re.MULTILINE)

    said = {
        target: run("make", "-n", "--warn-undefined-variables", target, folder=rendered_default.folder)
        for target in targets
    }

    assert {target: text for target, text in said.items() if "warning" in text.lower() or "exit code" in text} == {}
    assert set(said) > {"up", "scan", "help"}


def test_every_rendered_data_file_can_be_parsed(project: Project) -> None:
    for name, path in project.files().items():
        text = path.read_text(encoding="utf-8")
        if name.endswith(".json"):
            json.loads(text)
        elif name.endswith((".yaml", ".yml")):
            assert list(yaml.safe_load_all(text)), name


def test_nothing_of_the_template_language_is_left_over(project: Project) -> None:
    left = [
        f"{name}: {line.strip()}"
        for name, path in project.files().items()
        if not name.endswith(".py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\{\{|\{%|%\}|\{#", line)
    ]

    assert left == []


def test_rendered_text_has_no_trailing_space_and_one_newline_at_its_end(project: Project) -> None:
    for name, path in project.files().items():
        text = path.read_text(encoding="utf-8")
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        assert "\n\n\n" not in text or name.endswith(".py"), name
