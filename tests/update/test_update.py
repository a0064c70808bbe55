"""`copier update` from one version of the template to the next: what moves, what stays, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import answers as answer_files
from tests.support import copier_runs, repositories
from tests.support.places import copy_template
from tests.support.projects import Project
from tests.update.conftest import NEXT_RELEASE, SENTINEL

NewProject = Callable[..., Path]

# Copier's own lines in the answers file: the commit differs by definition, the rest must not.
OWN_LINES = ("_commit:",)


@pytest.fixture
def old_project(two_versions: Path, tmp_path: Path) -> NewProject:
    """Make a committed project of version v1.0.0 with these answers."""

    def make(answers: Mapping[str, Any] | None = None) -> Path:
        return repositories.project(
            two_versions, tmp_path / "project", {"architecture": "amd64", **(answers or {})}, vcs_ref="v1.0.0"
        )

    return make


def updated(project: Path, answers: Mapping[str, Any] | None = None) -> Project:
    """Update a project to the newest version and make sure that it really was updated, without a conflict."""
    copier_runs.update(project, answers)
    assert (project / SENTINEL).read_text(encoding="utf-8") == "version 2\n"
    assert repositories.git(project, "diff", "--name-only", "--diff-filter=U") == ""
    assert not list(project.rglob("*.rej"))
    return Project(project)


def test_newest_moves_and_everything_follows(old_project: NewProject, releases: list[str]) -> None:
    project = old_project()
    assert Project(project).facts["clair_release"] == releases[-1]

    after = updated(project)

    assert after.facts["clair_release"] == NEXT_RELEASE
    assert f"clair:{NEXT_RELEASE}" in after.text("compose.yaml")
    assert after.yaml(".copier-answers.yml")["clair_version"] == "newest"


def test_exact_release_stays(old_project: NewProject, releases: list[str]) -> None:
    after = updated(old_project({"clair_version": releases[-1]}))

    assert after.facts["clair_release"] == releases[-1]


def test_exact_release_moves_when_it_is_asked_to(old_project: NewProject, releases: list[str]) -> None:
    after = updated(old_project({"clair_version": releases[-1]}), {"clair_version": NEXT_RELEASE})

    assert after.facts["clair_release"] == NEXT_RELEASE
    assert after.yaml(".copier-answers.yml")["clair_version"] == NEXT_RELEASE


def test_new_release_is_one_entry_of_data(two_versions: Path) -> None:
    changed = repositories.git(two_versions, "diff", "--name-only", "v1.0.0", "v2.0.0").split()

    assert changed == ["extensions/data/clair.yaml", f"template/{SENTINEL}"]


def test_new_release_can_be_refused_and_offered_in_sentences(
    two_versions: Path, tmp_path: Path, releases: list[str]
) -> None:
    refusal = copier_runs.refusal_of_copy(two_versions, tmp_path / "new", {"clair_version": "4.11.0"})

    assert refusal == (
        "clair_version '4.11.0' is not known to this version of the template: "
        f"choose newest or a release from {releases[0]} to {NEXT_RELEASE}, or run copier update if it is newer."
    )


@pytest.mark.parametrize("name", ["defaults", "everything"])
def test_updated_project_is_the_same_as_a_fresh_one(
    two_versions: Path, old_project: NewProject, tmp_path: Path, name: str
) -> None:
    answers = answer_files.named(name)

    after = updated(old_project(answers)).files()
    fresh = Project(copier_runs.copy(two_versions, tmp_path / "fresh", answers)).files()

    assert list(after) == list(fresh)
    for path in after:
        lines = [
            [line for line in tree[path].read_text(encoding="utf-8").splitlines() if not line.startswith(OWN_LINES)]
            for tree in (after, fresh)
        ]
        assert lines[0] == lines[1], path
        assert after[path].stat().st_mode == fresh[path].stat().st_mode, path


def test_edits_of_the_operator_are_merged(old_project: NewProject) -> None:
    project = old_project()
    compose, readme = project / "compose.yaml", project / "README.md"
    compose.write_text(compose.read_text(encoding="utf-8").replace("size=256m", "size=512m"), encoding="utf-8")
    text = readme.read_text(encoding="utf-8").replace("## First start\n", "On call: Ada.\n\n## First start\n")
    readme.write_text(text, encoding="utf-8")
    repositories.commit(project, "own edits")

    after = updated(project)

    assert "size=512m" in after.text("compose.yaml")
    assert NEXT_RELEASE in after.text("compose.yaml")
    assert "\nOn call: Ada.\n" in after.text("README.md")
    assert NEXT_RELEASE in after.text("README.md")


def test_files_of_the_operator_are_never_touched(old_project: NewProject) -> None:
    project = old_project()
    own = {
        "compose.override.yaml": "services: {}\n",
        "config/matcher/config.yaml.d/own.yaml": "log_level: debug\n",
        "config/ca/own.crt": "certificate\n",
        "config/receiver/settings.toml": "[[target]]\n",
        ".clair-ignore.json": "[]\n",
        "images.txt": "docker.io/library/alpine:3\n",
    }
    ignored = {
        "secrets/psk": "key\n",
        "state/applied/compose.yaml": "services: {}\n",
        "backups/one": "x\n",
        "reports/one": "x\n",
    }
    for name, text in {**own, **ignored}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    repositories.commit(project, "own files")

    after = updated(project)

    assert {name: after.text(name) for name in {**own, **ignored}} == {**own, **ignored}


def test_deleted_file_stays_deleted(old_project: NewProject) -> None:
    project = old_project()
    (project / "database" / "setup.sql").unlink()
    repositories.commit(project, "not needed here")

    after = updated(project)

    assert not (after.folder / "database" / "setup.sql").exists()


def test_own_readme_of_a_new_repository_survives_an_update(two_versions: Path, tmp_path: Path) -> None:
    repositories.git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("# Mine\n", encoding="utf-8")
    (tmp_path / "LICENSE").write_text("mine\n", encoding="utf-8")
    project = repositories.project(two_versions, tmp_path, {"architecture": "amd64"}, vcs_ref="v1.0.0")

    after = updated(project)

    assert after.text("LICENSE") == "mine\n"
    assert after.text("README.md") == "# Mine\n"


def test_changed_answer_is_applied_with_the_update(old_project: NewProject) -> None:
    after = updated(old_project(), {"notifier_delivery": "none", "matcher_replicas": "2"})

    assert after.clair_services == ["indexer", "matcher"]
    assert not (after.folder / "config" / "notifier").exists()
    assert after.facts["services"]["matcher"] == {"replicas": 2}


def test_answer_that_a_change_makes_pointless_is_dropped(old_project: NewProject) -> None:
    project = old_project({"notifier_delivery": "webhook", "notifier_target": "https://hooks.example.com"})

    after = updated(project, {"notifier_delivery": "bundled"})

    assert "notifier_target" not in after.yaml(".copier-answers.yml")
    assert after.config("notifier")["notifier"]["webhook"]["target"] == "http://receiver:8080/"


def test_recorded_release_that_was_dropped_is_refused_in_one_line(two_versions: Path, tmp_path: Path) -> None:
    template = repositories.clone_of(two_versions, tmp_path / "template")
    project = repositories.project(
        template, tmp_path / "project", {"architecture": "amd64", "clair_version": "4.7.4"}, vcs_ref="v2.0.0"
    )
    file = template / "extensions" / "data" / "clair.yaml"
    catalogue = yaml.safe_load(file.read_text(encoding="utf-8"))
    del catalogue["releases"]["4.7.4"]
    catalogue["refused"].append({"match": r"4\.7\..*", "reason": "it is too old now"})
    file.write_text(yaml.safe_dump(catalogue), encoding="utf-8")
    repositories.commit(template, "drop a release", "v3.0.0")

    outcome = copier_runs.command(["update", "--trust", "--defaults"], project)

    assert outcome.code == 1
    assert outcome.stderr.splitlines()[-1] == (
        "clair_version '4.7.4' is not supported, it is too old now: choose newest or a release from 4.5.0 to 4.10.0."
    )
    assert outcome.stderr.count("clair_version") == 1
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""
    assert copier_runs.refusal_of_update(project, {"clair_version": "newest"}) == ""


def test_rules_of_the_new_version_decide_and_not_those_already_loaded(two_versions: Path, tmp_path: Path) -> None:
    template = repositories.clone_of(two_versions, tmp_path / "template")
    project = repositories.project(template, tmp_path / "project", {"architecture": "amd64", "matcher_replicas": 5})
    rules = template / "extensions" / "rules.py"
    rules.write_text(
        rules.read_text(encoding="utf-8").replace("REPLICAS = range(1, 17)", "REPLICAS = range(1, 3)"), encoding="utf-8"
    )
    repositories.commit(template, "fewer replicas", "v3.0.0")

    refusal = copier_runs.refusal_of_update(project)

    assert refusal == "matcher_replicas '5' is out of range: choose 1 to 2."
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_template_without_tags_copies_and_updates(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    repositories.commit(template, "no tag")
    project = repositories.project(template, tmp_path / "project", {"architecture": "amd64"})
    (template / "template" / SENTINEL).write_text("version 2\n", encoding="utf-8")
    repositories.commit(template, "still no tag")

    updated(project)


def test_dirty_project_is_left_to_copier(old_project: NewProject) -> None:
    project = old_project()
    (project / "Makefile").write_text("all:\n", encoding="utf-8")

    refusal = copier_runs.refusal_of_update(project)

    assert refusal.startswith("Destination repository is dirty; cannot continue.")
    assert (project / "Makefile").read_text(encoding="utf-8") == "all:\n"
