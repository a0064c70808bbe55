"""What `copier update` does to answers: which values move, which stay, and what becomes of questions that come and go."""

from __future__ import annotations

from pathlib import Path

import copier

from tests.support import copier_runs, repositories, updates
from tests.support.projects import Project
from tests.support.updates import NEXT_RELEASE, SENTINEL, recorded, updated
from tests.update.conftest import NewProject, Renewed, commands_of, pretend_applied


def test_newest_moves_and_everything_follows(renewed: Renewed) -> None:
    after = renewed("defaults")

    assert after.facts["clair_release"] == NEXT_RELEASE
    assert f"clair:{NEXT_RELEASE}" in after.text("compose.yaml")
    assert after.yaml(".copier-answers.yml")["clair_version"] == "newest"


def test_exact_release_stays(renewed: Renewed) -> None:
    after = renewed("oldest-release")

    assert after.facts["clair_release"] == after.yaml(".copier-answers.yml")["clair_version"] == "4.5.0"


def test_exact_release_moves_when_it_is_asked_to(old_project: NewProject, releases: list[str]) -> None:
    after = updated(old_project({"clair_version": releases[-1]}), {"clair_version": NEXT_RELEASE})

    assert after.facts["clair_release"] == NEXT_RELEASE
    assert after.yaml(".copier-answers.yml")["clair_version"] == NEXT_RELEASE


def test_older_release_is_rendered_and_no_start_applies_it(old_project: NewProject, tmp_path: Path) -> None:
    project = old_project()
    before = Project(project).facts

    after = updated(project, {"clair_version": "4.8.0"})

    assert after.facts["clair_release"] == recorded(project)["clair_version"] == "4.8.0"
    clair = commands_of(project, tmp_path)
    pretend_applied(clair, before)
    for command in ("up", "upgrade"):
        refusal = clair(command)
        sentence = refusal.err.splitlines()[0]
        assert (refusal.code, clair.docker.calls("up --detach")) == (2, [])
        assert "Clair 4.8.0" in sentence
        assert before["clair_release"] in sentence
        assert "./clair upgrade" not in refusal.err


def test_answer_changes_without_another_version_of_the_template(old_project: NewProject) -> None:
    project = old_project()

    copier_runs.update(project, {"edge_port": "7070"}, vcs_ref=copier.VcsRef.CURRENT)

    assert (recorded(project)["edge_port"], (project / SENTINEL).exists()) == (7070, False)
    assert Project(project).facts["edge"]["port"] == 7070


def test_answer_that_was_edited_by_hand_has_no_effect(old_project: NewProject) -> None:
    project = old_project()
    updates.edit(project, ".copier-answers.yml", "edge_port: 6060", "edge_port: 7070")
    repositories.commit(project, "against the advice")

    after = updated(project)

    assert after.facts["edge"]["port"] == 6060


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


def test_changed_answer_is_applied_and_what_it_makes_pointless_is_dropped(old_project: NewProject) -> None:
    project = old_project({"notifier_delivery": "webhook", "notifier_target": "https://hooks.example.com"})

    after = updated(project, {"notifier_delivery": "none", "matcher_replicas": "2"})

    assert after.clair_services == ["indexer", "matcher"]
    assert not (after.folder / "config" / "notifier").exists()
    assert after.facts["services"]["matcher"]["replicas"] == 2
    assert "notifier_target" not in recorded(after.folder)


def test_set_that_a_release_names_otherwise_needs_no_hand(old_project: NewProject, next_version: Path) -> None:
    project = old_project({"updater_families": ["debian", "osv"]}, next_version)
    updates.edit(next_version, "extensions/data/families.yaml", "sets: [debian]", "sets: [debian-tracker]")
    repositories.commit(next_version, "another word", "v3.0.0")

    after = updated(project)

    assert set(after.config("matcher")["updaters"]["sets"]) >= {"debian-tracker", "osv"}
    assert recorded(project)["updater_families"] == ["debian", "osv"]


def test_new_question_takes_its_default_and_a_retired_one_is_forgotten(
    old_project: NewProject, next_version: Path
) -> None:
    add_question(next_version, "log_colour", "v2.1.0")
    project = old_project({"log_colour": "green"}, next_version, "v2.1.0")
    remove_question(next_version, "log_colour")
    add_question(next_version, "log_depth", "v3.0.0")

    after = updated(project)

    answers = recorded(after.folder)
    assert (answers["log_depth"], "log_colour" in answers) == ("plain", False)


def test_retired_question_is_refused_where_somebody_still_answers_it(
    old_project: NewProject, next_version: Path
) -> None:
    add_question(next_version, "log_colour", "v2.1.0")
    project = old_project({"log_colour": "green"}, next_version, "v2.1.0")
    remove_question(next_version, "log_colour")
    repositories.commit(next_version, "no colour", "v3.0.0")

    refusal = copier_runs.refusal_of_update(project, {"log_colour": "green"})

    assert refusal == "log_colour 'green' is no question of this template: docs/questions.md lists all questions."
    assert repositories.git(project, "status", "--porcelain", "--ignored") == ""


def test_answer_whose_meaning_changes_can_be_moved_by_a_migration(old_project: NewProject, next_version: Path) -> None:
    """No version needed one so far: this one is made up, and shows that the refusal comes after the migration."""
    project = old_project({"deployment_size": "medium"}, next_version)
    updates.edit(next_version, "extensions/data/sizes.yaml", "  medium:\n", "  middle:\n")
    script = next_version / "migrations" / "rename_medium.py"
    script.parent.mkdir()
    script.write_text(
        "from pathlib import Path\n"
        "answers = Path('.copier-answers.yml')\n"
        "answers.write_text(answers.read_text().replace('deployment_size: medium', 'deployment_size: middle'))\n",
        encoding="utf-8",
    )
    migration = (
        "_migrations:\n"
        "  - version: v3.0.0\n"
        "    when: \"{{ _stage == 'before' }}\"\n"
        "    command: ['{{ _copier_python }}', '{{ _copier_conf.src_path }}/migrations/rename_medium.py']\n"
    )
    updates.edit(next_version, "copier.yml", "# QUESTIONS\n", f"{migration}# QUESTIONS\n")
    repositories.commit(next_version, "medium is middle", "v3.0.0")

    updated(project)

    assert recorded(project)["deployment_size"] == "middle"


def add_question(template: Path, name: str, tag: str) -> None:
    """Add a question to a throwaway template and tag that."""
    question = (
        f"{name}:\n  type: str\n  help: Made up.\n  default: plain\n"
        f"  when: \"{{{{ asked('{name}') }}}}\"\n  validator: \"{{{{ problem('{name}') }}}}\"\n"
    )
    updates.edit(template, "copier.yml", "# COMPUTED VALUES", f"{question}\n# COMPUTED VALUES")
    repositories.commit(template, f"ask {name}", tag)


def remove_question(template: Path, name: str) -> None:
    """Remove a question that `add_question` added."""
    file = template / "copier.yml"
    before, _, rest = file.read_text(encoding="utf-8").partition(f"{name}:\n")
    file.write_text(before + rest.partition("\n\n")[2], encoding="utf-8")
