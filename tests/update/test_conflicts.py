"""An operator's edit of the very line that the template changed: said by `check`, and no start before somebody decided.

Copier itself exits 0 and prints nothing for it, with --conflict inline (markers in the file) and rej (the edit in a file beside it).
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops.lifecycle.conftest import Clair
from tests.support import copier_runs, facts, repositories, updates
from tests.update.conftest import commands_of, pretend_applied

# File: text in a line that both change, and how a comment begins there; the settings hold none, their release is changed.
LINES = {
    "Makefile": "SHELL := /bin/sh",
    "README.md": "## First start",
    "clair": "# Runs a command of this deployment from any folder",
    "compose.yaml": "cap_drop: [ALL]",
    "config/indexer/config.yaml": "log_level: info",
    "traefik/traefik.yaml": "  sendAnonymousUsage: false",
    "ops/errors.py": "UNDECIDED = 3",
}
SETTINGS = "ops/deployment.json"
FILES = [*LINES, SETTINGS]
UNREAD = ("ops/errors.py", SETTINGS)  # with markers in these no command runs at all: it says so itself

Broken = Callable[[str, str], Clair]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def edited(whole_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project of v1.0.0 whose operator and whose template both changed the lines of LINES."""
    folder = tmp_path_factory.mktemp("edited")
    template = repositories.clone_of(whole_versions, folder / "template")
    answers = {"architecture": "amd64", "edge_port": free_port(), "operations_port": free_port()}
    project = repositories.project(template, folder / "project", answers, vcs_ref="v1.0.0")
    for name, line in LINES.items():
        source = f"template/{name}.jinja" if (template / "template" / f"{name}.jinja").exists() else f"template/{name}"
        updates.edit(template, source, line, f"{line}  # theirs")
        updates.edit(project, name, line, f"{line}  # mine")
    updates.edit(project, SETTINGS, '"clair_release": "', '"clair_release": "mine-')
    repositories.commit(template, "the same lines", "v3.0.0")
    repositories.commit(project, "edits")
    return project


@pytest.fixture(scope="module")
def conflicting(edited: Path) -> Callable[[str], Path]:
    """Return the edited project after its update with --conflict MODE, once per module; it is only read."""
    made: dict[str, Path] = {}

    def make(mode: str) -> Path:
        if mode not in made:
            made[mode] = repositories.clone_of(edited, edited.with_name(mode))
            copier_runs.update(made[mode], conflict=mode)
        return made[mode]

    return make


@pytest.fixture
def broken(conflicting: Callable[[str], Path], tmp_path: Path) -> Broken:
    """Return a copy of the project in which only one file is left to decide, and every other is the template's."""

    def make(mode: str, name: str) -> Clair:
        folder = repositories.clone_of(conflicting(mode), tmp_path / "my-clair")
        others = [other for other in FILES if other != name]
        if mode == "inline":
            repositories.git(folder, "checkout", "--quiet", "--theirs", "--", *others)
        for other in others if mode == "rej" else []:
            (folder / f"{other}.rej").unlink()
        return commands_of(folder, tmp_path)

    return make


def sentences(text: str) -> list[str]:
    """Return what a command complained about, without its hints."""
    return [line for line in text.splitlines() if not line.startswith("HINT: ")]


def expected(clair: Clair, mode: str, name: str) -> str:
    """Return how the one line about this file begins."""
    if mode == "rej":
        return f"update unfinished, {name}.rej: a change that did not fit"
    lines = (clair.folder / name).read_text(encoding="utf-8").splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.startswith("<<<<<<< "))
    if name == SETTINGS:
        return f"settings unreadable, {name}: "
    if name == "ops/errors.py":
        return f"command unreadable, {name}:{number}: "
    return f"update unfinished, {name}:{number}: conflict markers"


def test_copier_reports_every_conflict_to_git_only(conflicting: Callable[[str], Path]) -> None:
    assert updates.conflicts(conflicting("inline")) == sorted(FILES)


def test_rejected_edits_lie_beside_the_template_s_files(conflicting: Callable[[str], Path]) -> None:
    project = conflicting("rej")

    assert updates.conflicts(project) == sorted(f"{name}.rej" for name in FILES)
    assert {name: "# theirs" in (project / name).read_text(encoding="utf-8") for name in LINES} == dict.fromkeys(
        LINES, True
    )
    assert "# mine" in (project / "Makefile.rej").read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["inline", "rej"])
def test_check_names_every_file_without_docker(broken: Broken, mode: str) -> None:
    clair = broken(mode, "compose.yaml")
    kept = [name for name in FILES if name not in UNREAD]
    for name in kept:
        clair.write(name, "<<<<<<< mine\n>>>>>>> theirs\n") if mode == "inline" else clair.write(f"{name}.rej", "")

    result = clair("check", "--offline", "--json")

    findings = [one["sentence"] for one in json.loads(result.out)["findings"]]
    assert result.code == 1
    assert [one.split(",")[0] for one in findings[: len(kept)]] == ["update unfinished"] * len(kept)
    assert {one.split()[2].split(":")[0].removesuffix(".rej") for one in findings[: len(kept)]} == set(kept)
    assert clair.docker.calls() == []


@pytest.mark.parametrize("mode", ["inline", "rej"])
@pytest.mark.parametrize("command", ["up", "services", "traefik", "database", "upgrade"])
def test_conflict_stops_a_start_with_one_line_that_names_the_file(broken: Broken, command: str, mode: str) -> None:
    clair = broken(mode, "config/indexer/config.yaml")
    if command == "upgrade":  # from the newest known release to the fictional one
        release = facts.releases()[-1]
        pretend_applied(clair, {"clair_release": release, "release": {"schema": facts.release(release)["schema"]}})

    result = clair(command)

    assert sentences(result.err) == [expected(clair, mode, "config/indexer/config.yaml")]
    assert result.code in (1, 2)
    assert clair.docker.calls("up --detach") == clair.docker.calls(" pull") == []


@pytest.mark.parametrize("command", ["up", "services", "traefik", "database"])
def test_conflict_is_the_whole_answer_where_other_checks_fail_for_it(broken: Broken, command: str) -> None:
    clair = broken("inline", "compose.yaml")
    clair.docker.on(r"compose .*config", stderr="yaml: line 27: could not find expected ':'\n", code=1)

    result = clair(command)

    assert result.err == f"{expected(clair, 'inline', 'compose.yaml')}\nHINT: edit compose.yaml, then make check\n"
    assert (result.code, clair.docker.calls()) == (1, [])


@pytest.mark.parametrize("name", FILES)
def test_conflict_in_any_file_stops_a_start(broken: Broken, name: str) -> None:
    clair = broken("inline", name)

    result = clair("up")

    (sentence,) = sentences(result.err)
    assert sentence.startswith(expected(clair, "inline", name))
    assert result.code in (1, 2)
    assert clair.docker.calls("up --detach") == []


@pytest.mark.parametrize(("side", "comment"), [("--theirs", "# theirs"), ("--ours", "# mine")])
def test_one_side_is_taken_by_git(broken: Broken, side: str, comment: str) -> None:
    clair = broken("inline", "compose.yaml")

    repositories.git(clair.folder, "checkout", side, "--", "compose.yaml")

    assert f"{LINES['compose.yaml']}  {comment}\n" in (clair.folder / "compose.yaml").read_text(encoding="utf-8")
    assert "update unfinished" not in clair("check", "--offline").err


@pytest.mark.parametrize("name", UNREAD)
def test_hint_for_a_conflict_in_the_commands_mends_it(broken: Broken, name: str) -> None:
    clair = broken("inline", name)
    hint = clair("ps").err.splitlines()[-1].removeprefix("HINT: ")

    for command in hint.split("; "):
        subprocess.run(shlex.split(command), cwd=clair.folder, check=True, capture_output=True)

    assert "update unfinished" not in clair("check", "--offline").err
