"""What may stand in the folder that a project is rendered into."""

from __future__ import annotations

from pathlib import Path

import pytest

from extensions.destination import destination_problem, kept_if_present

OURS = "deployment_name: clair\nclair_version: newest\n"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A small template folder: a plain file, templates, conditional names."""
    for name in (
        "Makefile.jinja",
        "README.md.jinja",
        "config/{% if a %}notifier{% endif %}/config.yaml.jinja",
        "traefik/{% if b %}tls.yaml{% endif %}.jinja",
        "{{ _copier_conf.answers_file }}.jinja",
        "clair",
    ):
        path = tmp_path / "template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "template"


def folder_with(tmp_path: Path, *names: str, answers: str = "") -> Path:
    """Return a folder that holds these empty files, and an answers file on request."""
    folder = tmp_path / "my-clair"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    if answers:
        (folder / ".copier-answers.yml").write_text(answers, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["README.md", "LICENSE", ".git/config", "notes.txt", "config/ca/own.crt"])
def test_destination_may_hold(tmp_path: Path, template: Path, name: str) -> None:
    folder = folder_with(tmp_path, name)

    assert destination_problem(folder, False, template) is None


def test_destination_may_be_missing(tmp_path: Path, template: Path) -> None:
    assert destination_problem(tmp_path / "nowhere", False, template) is None


@pytest.mark.parametrize("name", ["Makefile", "clair", "config/notifier/config.yaml", "traefik/tls.yaml"])
def test_file_that_would_be_overwritten_is_refused(tmp_path: Path, template: Path, name: str) -> None:
    folder = folder_with(tmp_path, name)

    reason = destination_problem(folder, False, template)

    assert (
        reason == f"destination '{folder}' holds the file {name}, which would be overwritten: choose an empty folder."
    )


@pytest.mark.parametrize("answers", ["project_name: other\n", "- a list\n", "{", "\x00"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_project_of_another_template_is_refused(tmp_path: Path, template: Path, answers: str, overwrite: bool) -> None:
    folder = folder_with(tmp_path, answers=answers)

    reason = destination_problem(folder, overwrite, template)

    assert reason == f"destination '{folder}' holds a project of another template: choose an empty folder."


def test_deployment_is_not_rendered_over_without_being_asked(tmp_path: Path, template: Path) -> None:
    folder = folder_with(tmp_path, "Makefile", answers=OURS)

    reason = destination_problem(folder, False, template)

    assert (
        reason
        == f"destination '{folder}' holds a deployment already: run copier update there, or choose an empty folder."
    )


def test_deployment_is_updated_and_overwritten_on_request(tmp_path: Path, template: Path) -> None:
    folder = folder_with(tmp_path, "Makefile", answers=OURS)

    assert destination_problem(folder, True, template) is None


@pytest.mark.parametrize(
    ("readme", "answers", "pattern"),
    [
        (b"# Mine\n", "", "/README.md"),
        (b"# Mine\n", OURS, "/README.md"),
        (b"\xff", OURS, "/README.md"),
        (b"# clair: Clair 4.9.0, distributed\n\nand my own words\n", OURS, "/-"),
        (b"# clair: Clair 4.9.0, distributed\n", "", "/README.md"),
        (None, OURS, "/-"),
        (None, "", "/-"),
    ],
    ids=["new-repository", "kept-before", "no-text", "edited", "left-alone", "deleted", "empty"],
)
def test_readme_that_was_not_rendered_is_kept(tmp_path: Path, readme: bytes | None, answers: str, pattern: str) -> None:
    folder = folder_with(tmp_path, answers=answers)
    if readme is not None:
        (folder / "README.md").write_bytes(readme)

    assert kept_if_present(folder) == pattern
