"""What stands in the destination stays as it is, or nothing is rendered at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from extensions.destination import NOTHING, kept_if_present
from tests.support import repositories
from tests.support.copier_runs import copy, refusal_of_copy
from tests.support.projects import Project

AMD64 = {"architecture": "amd64"}


def test_new_repository_of_a_hosting_service_keeps_its_readme_and_licence(template: Path, tmp_path: Path) -> None:
    repositories.git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("mine\n", encoding="utf-8")
    (tmp_path / "LICENSE").write_text("mine\n", encoding="utf-8")

    copy(template, tmp_path, AMD64)

    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine\n"
    assert (tmp_path / "LICENSE").read_text(encoding="utf-8") == "mine\n"
    assert (tmp_path / "compose.yaml").exists()


@pytest.mark.parametrize(
    "name", ["compose.yaml", ".env", ".gitignore", "config/notifier/config.yaml", "traefik/dynamic/tls.yaml"]
)
def test_file_of_somebody_else_is_not_overwritten(template: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine\n", encoding="utf-8")

    refusal = refusal_of_copy(template, tmp_path, AMD64)

    assert refusal == (
        f"destination '{tmp_path}' holds the file {name}, which would be overwritten: choose an empty folder."
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_project_of_another_template_is_not_touched(template: Path, tmp_path: Path) -> None:
    (tmp_path / ".copier-answers.yml").write_text("_src_path: gh:someone/else\nproject_name: x\n", encoding="utf-8")

    refusal = refusal_of_copy(template, tmp_path, AMD64)

    assert refusal == f"destination '{tmp_path}' holds a project of another template: choose an empty folder."
    assert [path.name for path in tmp_path.iterdir()] == [".copier-answers.yml"]


def test_second_copy_into_a_deployment_is_sent_to_copier_update(template: Path, tmp_path: Path) -> None:
    copy(template, tmp_path, AMD64)

    refusal = refusal_of_copy(template, tmp_path, AMD64)

    assert refusal == (
        f"destination '{tmp_path}' holds a deployment already: run copier update there, or choose an empty folder."
    )


def test_second_copy_with_overwrite_changes_answers(template: Path, tmp_path: Path) -> None:
    copy(template, tmp_path, AMD64)

    copy(template, tmp_path, {**AMD64, "edge_port": 7070}, overwrite=True)

    assert "edge_port: 7070" in (tmp_path / ".copier-answers.yml").read_text(encoding="utf-8")


def test_files_of_the_operator_are_accepted_and_kept(template: Path, tmp_path: Path) -> None:
    kept = {"compose.override.yaml": "services: {}\n", "config/ca/own.crt": "certificate\n", "images.txt": "alpine:3\n"}
    for name, text in kept.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    copy(template, tmp_path, AMD64)

    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in kept} == kept


def test_rendered_readme_is_known_as_rendered(rendered_default: Project) -> None:
    assert kept_if_present(rendered_default.folder) == NOTHING
