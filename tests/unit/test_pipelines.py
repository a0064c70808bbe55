"""The examples of docs/pipelines.md: valid for their services, and run with a stand-in for `./clair`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.places import ROOT, tool
from tests.unit.test_docs import command_options, command_variables

PAGE = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
BLOCKS = {kind: re.findall(rf"^```{kind}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL) for kind in ("yaml", "sh")}
GITHUB, GITLAB = BLOCKS["yaml"]
CLAIR = "/srv/clair/clair"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        pytest.param(GITHUB, ["--builtin-schema", "vendor.github-workflows"], id="github"),
        pytest.param(GITLAB, ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"], id="gitlab"),
    ],
)
def test_an_example_is_valid_for_its_service(text: str, arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yml"
    path.write_text(text)

    done = subprocess.run([tool("check-jsonschema"), *arguments, path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "ok -- validation done\n")


def scripts() -> list[str]:
    """Return every script of the page."""
    steps = yaml.safe_load(GITHUB)["jobs"]["scan"]["steps"]
    return [step["run"] for step in steps if "run" in step] + yaml.safe_load(GITLAB)["clair"]["script"] + BLOCKS["sh"]


@pytest.mark.parametrize("script", scripts())
def test_a_script_has_no_fault_that_shellcheck_knows(script: str) -> None:
    # SC2029: that the variable is expanded on this side is what is meant.
    arguments = [tool("shellcheck"), "--shell=bash", "--exclude=SC2029", "-"]

    done = subprocess.run(arguments, input=script, capture_output=True, text=True, check=False)

    assert done.stdout == ""


def test_options_and_variables_of_the_examples_exist() -> None:
    options = set(re.findall(rf"{CLAIR} scan ([^\n|\"&>]*)", PAGE))
    used = {word for line in options for word in line.split() if word.startswith("--")}
    variables = set(re.findall(r"^ +([A-Z_]+): ", PAGE, flags=re.MULTILINE)) - {"CODE", "GIT_STRATEGY"}

    assert used <= command_options("scan")
    assert variables <= command_variables("scan")


def run(script: str, folder: Path, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a `./clair` that ends with `code`, and an ssh that runs what it is given."""
    clair = folder / "clair"
    clair.write_text(
        f'#!/bin/sh\necho "$IMAGE $FAIL_ON $FORMAT $*"\n[ -z "$OUTPUT" ] || echo report > "$OUTPUT"\nexit {code}\n'
    )
    ssh = folder / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    for program in (clair, ssh):
        program.chmod(0o755)
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script.replace(CLAIR, str(clair))],
        cwd=folder, env={"PATH": f"{folder}:{os.environ['PATH']}", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("code", "uploaded"), [(0, True), (1, True), (2, False), (3, False), (130, False)])
def test_the_github_job_uploads_a_verdict_only_and_ends_with_its_code(
    tmp_path: Path, code: int, uploaded: bool
) -> None:
    steps: dict[str, Any] = {step.get("name", ""): step for step in yaml.safe_load(GITHUB)["jobs"]["scan"]["steps"]}
    outputs = tmp_path / "outputs"

    scanned = run(
        steps["Scan"]["run"], tmp_path, code, GITHUB_OUTPUT=str(outputs), OUTPUT=str(tmp_path / "clair.sarif")
    )
    condition = steps["Upload to code scanning"]["if"].replace("steps.scan.outputs.code", f"'{code}'")
    verdict = run(steps["Verdict"]["run"], tmp_path, code, CODE=outputs.read_text().strip().removeprefix("code="))

    assert scanned.returncode == 0
    assert any(one == other for one, other in re.findall(r"'(\d+)' == '(\d+)'", condition)) is uploaded
    assert verdict.returncode == code


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_gitlab_job_ends_with_the_code_of_the_scan(tmp_path: Path, code: int) -> None:
    (script,) = yaml.safe_load(GITLAB)["clair"]["script"]

    assert run(script, tmp_path, code, OUTPUT=str(tmp_path / "clair.xml")).returncode == code
    assert (tmp_path / "clair.xml").exists()


@pytest.mark.parametrize(
    ("code", "word"), [(0, "clean"), (1, "findings: see clair.html"), (3, "no verdict"), (255, "no verdict")]
)
def test_over_ssh_the_code_of_the_scan_comes_back(tmp_path: Path, code: int, word: str) -> None:
    done = run(BLOCKS["sh"][0], tmp_path, code, IMAGE="example.com/app:1")

    assert (done.returncode, done.stdout) == (code, f"{word}\n")
    assert (tmp_path / "clair.html").read_text() == "example.com/app:1 high html scan\n"
