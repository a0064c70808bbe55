"""What a user of `copier` sees: exit code, whole standard error, and a destination that is as it was.

A few calls, because each starts Python and Copier anew; what is refused with which sentence is tested in process (test_bad_input.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import repositories
from tests.support.copier_runs import command
from tests.support.places import ROOT
from tests.support.terminal import Terminal

BACKSPACE = "\x7f"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("edge_tls=maybe", "edge_tls 'maybe' is not supported: choose off, files or acme."),
        ("indexer_replicas=0", "indexer_replicas '0' is out of range: choose 1 to 16."),
        (
            "proxy_url=http://user:hunter2@proxy.example.com",
            "proxy_url 'http://***@proxy.example.com' carries a user or a query, and answers are kept in git:"
            " leave them out here and put the full URL into secrets/proxy-url.",
        ),
        ("edge_prot=7070", "edge_prot '7070' is no question of this template: did you mean edge_port?"),
    ],
)
def test_bad_data_is_one_line_and_exit_code_1(template: Path, tmp_path: Path, data: str, sentence: str) -> None:
    outcome = command(["copy", "--trust", "--defaults", "--data", data, str(template), "new"], tmp_path)

    assert (outcome.code, outcome.stderr) == (1, sentence + "\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "clair_version: 4.10",
            "clair_version '4.1' is no full release number: choose newest or a release from {oldest} to {newest},"
            " and quote a value like '4.10', which YAML reads as 4.1.",
        ),
        ("updater_families: debian", "updater_families 'debian' is no list: write [alpine, aws]."),
        ("image_check: maybe", "image_check 'maybe' is neither true nor false: write true or false."),
    ],
)
def test_bad_data_file_is_one_line_and_exit_code_1(
    template: Path, tmp_path: Path, releases: list[str], line: str, sentence: str
) -> None:
    (tmp_path / "answers.yml").write_text(line + "\n", encoding="utf-8")

    outcome = command(["copy", "--trust", "--defaults", "--data-file", "answers.yml", str(template), "new"], tmp_path)

    assert (outcome.code, outcome.stderr) == (
        1,
        sentence.replace("{oldest}", releases[0]).replace("{newest}", releases[-1]) + "\n",
    )
    assert not (tmp_path / "new").exists()


def test_bad_recorded_answer_is_the_last_line_of_an_update_that_changes_nothing(
    tagged_template: Path, tmp_path: Path
) -> None:
    project = repositories.project(tagged_template, tmp_path / "project", {"architecture": "amd64"})
    answers = project / ".copier-answers.yml"
    answers.write_text(
        answers.read_text(encoding="utf-8").replace("edge_port: 6060", "edge_port: http"), encoding="utf-8"
    )
    repositories.commit(project, "edit an answer by hand")

    outcome = command(["update", "--trust", "--defaults"], project)

    assert outcome.code == 1
    assert outcome.stderr.splitlines()[-1] == "edge_port 'http' is no whole number: write digits only."
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.count("edge_port") == 1
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_defaults_render_and_the_next_steps_are_said(template: Path, tmp_path: Path) -> None:
    outcome = command(["copy", "--trust", "--defaults", "--data", "architecture=amd64", str(template), "new"], tmp_path)

    assert outcome.code == 0
    assert "make up" in outcome.stderr
    assert yaml.safe_load((tmp_path / "new" / "compose.yaml").read_text(encoding="utf-8"))["name"] == "clair"


def test_missing_terminal_is_left_to_copier(template: Path, tmp_path: Path) -> None:
    outcome = command(["copy", "--trust", str(template), "new"], tmp_path)

    assert outcome.code == 1
    assert outcome.stderr.splitlines()[-1] == (
        "Interactive session required: Use `--defaults` and/or `--data`/`--data-file`"
    )
    assert not (tmp_path / "new").exists()


def test_missing_trust_is_left_to_copier(template: Path, tmp_path: Path) -> None:
    outcome = command(["copy", "--defaults", str(template), "new"], tmp_path)

    assert outcome.code == 4
    assert outcome.stderr.splitlines()[0] == "Template uses potentially unsafe feature: jinja_extensions."
    assert not (tmp_path / "new").exists()


def test_file_that_would_be_overwritten_stops_before_the_first_file(template: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "Makefile").write_text("mine:\n", encoding="utf-8")

    outcome = command(["copy", "--trust", "--defaults", str(template), "new"], tmp_path)

    assert outcome.code == 1
    assert outcome.stderr.splitlines()[-1] == (
        "destination 'new' holds the file Makefile, which would be overwritten: choose an empty folder."
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["Makefile"]


def test_terminal_shows_the_same_sentence_and_asks_again(template: Path, tmp_path: Path) -> None:
    copier = [sys.executable, "-m", "copier", "copy", "--trust", str(template), str(tmp_path / "new")]
    terminal = Terminal(copier, {**os.environ, "PYTHONWARNINGS": "ignore"})
    terminal.wait_for("Name of this deployment")

    terminal.type(BACKSPACE * len("clair") + "Mine\r")
    terminal.wait_for(
        "deployment_name 'Mine' is no Compose project name: use lower-case letters, digits, - and _, and begin with a letter or digit."
    )
    terminal.type(BACKSPACE * len("Mine") + "mine\r")
    terminal.wait_for("Where the services run")

    assert terminal.stop() == 1
    assert not (tmp_path / "new").exists()


def test_checkout_is_rendered_by_the_command_of_make_new(tmp_path: Path) -> None:
    variables = {
        "DEST": str(tmp_path / "new"),
        "DEFAULTS": "1",
        "DATA": "edge_port=7070 architecture=amd64",
        "ANSWERS": "",
    }

    run = subprocess.run(
        [sys.executable, "-m", "tools.new_project"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "edge_port: 7070" in (tmp_path / "new" / ".copier-answers.yml").read_text(encoding="utf-8")
