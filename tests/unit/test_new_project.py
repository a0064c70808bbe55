"""`make new`: which copier call its variables make, and how it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import new_project
from tools.new_project import copier_command

COPY = [sys.executable, "-m", "copier", "copy", "--trust"]
TARGET = [str(new_project.ROOT), "../my-clair"]


@pytest.mark.parametrize(
    ("variables", "is_terminal", "options"),
    [
        ({}, True, []),
        ({}, False, ["--defaults"]),
        ({"DEFAULTS": "1"}, True, ["--defaults"]),
        ({"DEFAULTS": "0"}, True, []),
        ({"DEFAULTS": ""}, True, []),
        ({"DATA": "edge_port=7070"}, True, ["--data", "edge_port=7070"]),
        (
            {"DATA": "auth_issuers='[a, b]' image_mirror="},
            True,
            ["--data", "auth_issuers=[a, b]", "--data", "image_mirror="],
        ),
    ],
    ids=["terminal", "no-terminal", "defaults", "defaults=0", "defaults=empty", "data", "data-quoted"],
)
def test_variables_become_options(variables: dict[str, str], is_terminal: bool, options: list[str]) -> None:
    command = copier_command({"DEST": "../my-clair", **variables}, is_clone=False, is_terminal=is_terminal)

    assert command == [*COPY, *options, *TARGET]


def test_clone_is_rendered_at_its_head_and_not_at_its_newest_tag() -> None:
    command = copier_command({"DEST": "../my-clair"}, is_clone=True, is_terminal=True)

    assert command == [*COPY, "--vcs-ref", "HEAD", *TARGET]


def test_answers_file_comes_before_data_that_may_change_it(tmp_path: Path) -> None:
    answers = tmp_path / "answers.yml"
    answers.touch()

    command = copier_command(
        {"DEST": "../my-clair", "ANSWERS": str(answers), "DATA": "a=b"}, is_clone=False, is_terminal=True
    )

    assert command == [*COPY, "--data-file", str(answers), "--data", "a=b", *TARGET]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "DEST is missing: make new DEST=../my-clair"),
        (
            {"DEST": "x", "DATA": "edge_port"},
            "DATA item 'edge_port' is no key=value: DATA=\"deployment_size=medium edge_port=7070\"",
        ),
        (
            {"DEST": "x", "DATA": "a='b"},
            "DATA cannot be split like a shell line (No closing quotation): DATA=\"key=value key2='a b'\"",
        ),
        (
            {"DEST": "x", "ANSWERS": "no.yml"},
            "ANSWERS file 'no.yml' does not exist: give the path of a YAML file with answers",
        ),
    ],
    ids=["no-dest", "no-value", "open-quote", "no-file"],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    variables: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DEST", "DATA", "ANSWERS", "DEFAULTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    code = new_project.main()

    assert (code, capsys.readouterr().err) == (2, sentence + "\n")


def test_template_without_git_is_warned_of() -> None:
    assert new_project.update_warning(is_clone=False) == (
        "this template is no git clone: the project can be used, but not updated with copier update"
    )
