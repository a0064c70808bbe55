"""The pages of docs/ and the README say what the code does: everything of the code is there, and nothing else is."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from extensions.catalogue import Catalogue
from tests.support import answers, facts
from tests.support.copier_runs import refusal_of_copy
from tests.support.places import ROOT, tool
from tests.support.projects import Project

Render = Callable[[str], Project]

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
CODE = re.compile(r"``\s?(.+?)\s?``|`([^`]+)`")
# Made on the deployment's machine, or put there by its operator; everything else of docs/layout.md is rendered.
MADE_ON_THE_MACHINE = re.compile(r"(secrets|state|backups|reports)/")
OPERATORS_OWN = re.compile(
    r"compose\.override\.yaml|images\.txt|\.clair-ignore\.json|config/.*(config\.yaml\.d/|ca/|settings\.toml)"
)


def code_spans(text: str) -> list[str]:
    """Return what stands in backticks."""
    return [match.group(1) or match.group(2) for match in CODE.finditer(text)]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every table row in `text`, without heads and rules."""
    lines = text.splitlines()
    rows: list[list[str]] = []
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and re.match(r"\|[-|: ]+\|$", lines[number + 1])
        if line.startswith("|") and not re.match(r"\|[-|: ]+\|$", line) and not is_head:
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def sections(page: Path, level: int) -> dict[str, str]:
    """Return the text below each heading of `level`, by the heading without backticks."""
    parts = re.split(rf"^{'#' * level} (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bodies = [re.split(rf"^#{{1,{level}}} ", body, maxsplit=1, flags=re.MULTILINE)[0] for body in parts[2::2]]
    return dict(zip([title.strip("`") for title in parts[1::2]], bodies, strict=True))


@pytest.fixture(scope="module")
def all_rendered(render: Render) -> list[Project]:
    """The projects of all answer files: every path that can be rendered is in one of them."""
    return [render(name) for name in answers.names()]


class TestQuestions:
    PAGE = DOCS / "questions.md"

    def test_page_has_exactly_the_questions_in_their_order(self) -> None:
        assert list(sections(self.PAGE, 3)) == list(facts.questions())

    def test_readme_links_exactly_the_questions(self) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")

        assert re.findall(r"\[`(\w+)`\]\(docs/questions\.md#\1\)", readme) == sorted(
            facts.questions(), key=lambda name: readme.find(f"[`{name}`]")
        )

    def test_defaults_are_those_of_copier_yml(self, catalogue: Catalogue) -> None:
        documented = {name: stated(text, "Default") for name, text in sections(self.PAGE, 3).items()}

        assert documented == {
            name: shown_default(spec["default"], catalogue) for name, spec in facts.questions().items()
        }

    def test_choices_are_those_of_copier_yml(self, catalogue: Catalogue) -> None:
        with_choices = {name: spec["choices"] for name, spec in facts.questions().items() if "choices" in spec}

        documented = {name: code_spans(stated(sections(self.PAGE, 3)[name], "Allowed")) for name in with_choices}

        assert documented == {name: choices_of(choices, catalogue) for name, choices in with_choices.items()}

    def test_a_question_that_is_not_always_asked_says_when(self) -> None:
        always = {name for name, text in sections(self.PAGE, 3).items() if stated(text, "Asked") == "always"}

        assert always == {
            name for name, spec in facts.questions().items() if spec["when"] == f"{{{{ asked('{name}') }}}}"
        }

    def test_every_question_shows_a_refusal_of_its_own(self) -> None:
        shown = {
            name: [row[1].strip("`").split()[0] for row in table_rows(text)]
            for name, text in sections(self.PAGE, 3).items()
        }

        assert {name for name, refused in shown.items() if name not in refused} == set()

    @pytest.mark.parametrize(
        ("answered", "refusal"),
        [
            pytest.param(*map(str, cells), id=cells[0])
            for cells in (code_spans(" ".join(row)) for row in table_rows(PAGE.read_text(encoding="utf-8")))
        ],
    )
    def test_documented_refusal_is_the_whole_message(
        self, answered: str, refusal: str, template: Path, tmp_path: Path
    ) -> None:
        data = dict(item.split("=", 1) for item in shlex.split(answered))

        assert refusal_of_copy(template, tmp_path / "project", data) == refusal
        assert not (tmp_path / "project").exists()


def stated(section: str, name: str) -> str:
    """Return what stands after `- **Name**:`, up to the next list item."""
    match = re.search(rf"^- \*\*{name}\*\*: (.+?)(?=\n(?:- |\n))", section, flags=re.MULTILINE | re.DOTALL)
    assert match, f"{name} is missing in: {section[:80]}"
    return " ".join(match.group(1).split())


def shown_default(default: Any, catalogue: Catalogue) -> str:
    """Return a default of copier.yml as docs/questions.md writes it."""
    computed = {
        "{{ machine_architecture }}": "this machine's",
        "{{ catalogue.components.postgres.default_major }}": f"`{catalogue.components['postgres']['default_major']}`",
        "{{ catalogue.default_families }}": ", ".join(f"`{name}`" for name in catalogue.default_families),
    }
    if default in computed:
        return computed[default]
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "empty"


def choices_of(choices: Any, catalogue: Catalogue) -> list[str]:
    """Return the choices of a question, which copier.yml holds itself or takes from the catalogue."""
    if isinstance(choices, str):
        attribute = re.fullmatch(r"\{\{ catalogue\.(\w+) \}\}", choices)
        assert attribute, choices
        return list(getattr(catalogue, attribute.group(1)))
    return list(choices)


def makefile_targets(makefile: str) -> dict[str, str]:
    """Return the targets that `make help` prints, with their texts."""
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", makefile, flags=re.MULTILINE))


class TestMakeTargets:
    PAGE = DOCS / "make-targets.md"

    def documented(self, heading: str) -> dict[str, list[str]]:
        """Return the rows below a heading by target."""
        return {row[0].strip("`").removeprefix("make "): row for row in table_rows(sections(self.PAGE, 2)[heading])}

    def test_targets_of_the_template_are_documented_with_their_help(self) -> None:
        documented = self.documented("In this template")

        assert {name: row[1].replace("`", "") for name, row in documented.items()} == makefile_targets(
            (ROOT / "Makefile").read_text(encoding="utf-8")
        )

    def test_targets_of_a_deployment_are_documented_with_their_help(self, rendered_default: Project) -> None:
        documented = self.documented("In a deployment")

        assert {name: row[1].replace("`", "") for name, row in documented.items()} == makefile_targets(
            rendered_default.text("Makefile")
        )

    def test_variables_of_a_target_are_those_its_command_reads(self) -> None:
        documented = {name: set(code_spans(row[2])) for name, row in self.documented("In a deployment").items()}

        assert documented == {name: command_variables(name) if name in commands() else set() for name in documented}

    def test_make_hands_over_every_variable_that_a_command_reads(self, rendered_default: Project) -> None:
        makefile = rendered_default.text("Makefile")
        handed_over = set(re.findall(r"^VARIABLES := (.+)$", makefile, flags=re.MULTILINE)[0].split())

        read = set().union(*(command_variables(name) for name in commands()))

        assert read <= handed_over


def commands() -> list[str]:
    """Return the commands of `./clair`."""
    return list(importlib.import_module("ops.commands").COMMANDS)


@cache
def command_help(name: str) -> str:
    """Return what `./clair NAME --help` prints."""
    _, module, function, _ = importlib.import_module("ops.commands").COMMANDS[name]
    main = getattr(importlib.import_module(f"ops.{module}"), function)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main(["--help"])
    return output.getvalue()


def command_options(name: str) -> set[str]:
    """Return the options of a command, without `--help`."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", command_help(name), flags=re.MULTILINE)) - {"--help"}


def command_variables(name: str) -> set[str]:
    """Return the environment variables that stand in for options, which the help shows in brackets."""
    return set(re.findall(r"\[([A-Z_]+)(?:=1)?\]", command_help(name)))


class TestCommands:
    PAGE = DOCS / "commands.md"

    def test_page_has_exactly_the_commands_in_their_order(self) -> None:
        assert list(sections(self.PAGE, 3)) == commands()

    @pytest.mark.parametrize("name", commands())
    def test_options_and_their_variables_are_documented(self, name: str) -> None:
        rows = table_rows(sections(self.PAGE, 3)[name])
        options = {row[0].strip("`").split()[0] for row in rows if row[0].startswith("`--")}
        variables = {span.removesuffix("=1") for row in rows for span in code_spans(row[1])}

        assert options == command_options(name)
        assert variables == command_variables(name)

    @pytest.mark.parametrize("name", commands())
    def test_exit_codes_of_a_command_are_known_ones(self, name: str) -> None:
        documented = {
            int(code) for code in re.findall(r"`(\d+)`", stated(sections(self.PAGE, 3)[name] + "\n\n", "Exit codes"))
        }

        assert documented <= exit_codes()
        assert 0 in documented


def exit_codes() -> set[int]:
    """Return the codes that a command can end with: errors.py, success, and Ctrl-C."""
    errors = importlib.import_module("ops.errors")
    return {0, errors.NO, errors.USAGE, errors.UNDECIDED, 130}


def test_exit_codes_page_has_exactly_the_codes() -> None:
    rows = table_rows((DOCS / "exit-codes.md").read_text(encoding="utf-8"))

    assert {int(row[0].strip("`")) for row in rows} == exit_codes()


class TestLayout:
    PAGE = DOCS / "layout.md"

    def documented(self) -> list[str]:
        """Return the paths of the page's tables, patterns with `*` among them."""
        tables = [text for heading, text in sections(self.PAGE, 2).items() if heading != "Volumes"]
        return [path for text in tables for row in table_rows(text) for path in code_spans(row[0])]

    def test_every_rendered_path_is_documented(self, all_rendered: list[Project]) -> None:
        patterns = [path for path in self.documented() if not path.endswith("/")]

        assert [
            path for path in rendered_paths(all_rendered) if not any(Path(path).match(one) for one in patterns)
        ] == []

    def test_every_documented_path_is_rendered_or_made(self, all_rendered: list[Project]) -> None:
        paths = rendered_paths(all_rendered)
        others = [
            path for path in self.documented() if not MADE_ON_THE_MACHINE.match(path) and not OPERATORS_OWN.match(path)
        ]

        assert [one for one in others if not any(Path(path).match(one) for path in paths)] == []

    def test_volumes_are_those_of_the_compose_files(self, all_rendered: list[Project]) -> None:
        documented = {name for row in table_rows(sections(self.PAGE, 2)["Volumes"]) for name in code_spans(row[0])}

        assert documented == set().union(*(project.yaml("compose.yaml")["volumes"] for project in all_rendered))


def rendered_paths(projects: list[Project]) -> list[str]:
    """Return the files of rendered repositories, relative to each; the tests' renders leave the commands themselves out."""
    template = ROOT / "template"
    commands = {path.relative_to(template).as_posix() for path in (template / "ops").rglob("*.py")}
    return sorted(commands.union(*(project.files() for project in projects)))


class TestReadme:
    TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

    def test_release_table_is_that_of_the_catalogue(self, catalogue: Catalogue) -> None:
        shown = self.TEXT.split("<!-- releases -->\n")[1].split("<!-- end of releases -->")[0]

        assert shown == release_table(catalogue)

    def test_images_beside_clair_are_those_of_the_catalogue(self, catalogue: Catalogue) -> None:
        shown = f"PostgreSQL {', '.join(catalogue.database_majors)}; Traefik {catalogue.components['traefik']['tag']}."

        assert shown in sections(ROOT / "README.md", 2)["Clair releases"]

    def test_trust_list_is_what_copier_yml_loads(self) -> None:
        settings = facts.parsed("copier.yml")
        rows = table_rows(sections(ROOT / "README.md", 2)["What --trust allows"])

        assert [row[0].strip("`") for row in rows] == settings["_jinja_extensions"]
        assert {"_tasks", "_migrations"} & set(settings) == set()

    def test_trust_list_names_the_modules_that_the_extension_loads(self) -> None:
        row = table_rows(sections(ROOT / "README.md", 2)["What --trust allows"])[1]
        modules = {path.name for path in (ROOT / "extensions").glob("*.py")} - {"__init__.py", "gate.py"}

        assert {span for span in code_spans(row[1]) if span.endswith(".py")} == modules

    def test_day_two_commands_exist(self, rendered_default: Project) -> None:
        named = code_spans(sections(ROOT / "README.md", 2)["Day two"])
        targets = {span.split()[1] for span in named if span.startswith("make ")}
        called = {span.split()[1] for span in named if span.startswith("./clair ")} - {"NAME"}

        assert targets <= set(makefile_targets(rendered_default.text("Makefile")))
        assert called <= set(commands())


def release_table(catalogue: Catalogue) -> str:
    """Return the README's table of the releases in extensions/data/clair.yaml, newest first."""
    lines = [
        "| Clair | Released | Architectures | An unknown setting | Drop-in files | Stops on | Traces | claircore |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for version in reversed(catalogue.releases):
        release = catalogue.release(version)
        cells = [
            version,
            str(release["date"]),
            ", ".join(release["platforms"]),
            "stops it" if release["strict_config"] else "is ignored",
            "read" if release["drop_ins"] else "ignored",
            release["stop_signal"],
            "sent" if release["tracing"] else "no",
            release["claircore"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosting services make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def relative_links() -> Iterator[tuple[Path, str]]:
    """Yield each link of a page that stays in this repository."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                yield page, target


def test_relative_links_lead_somewhere() -> None:
    broken = []
    for page, target in relative_links():
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in headings(linked)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")

    assert broken == []


def test_decisions_are_numbered_and_have_the_four_parts() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))

    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert {page.name: list(sections(page, 2)) for page in pages} == {
        page.name: ["Status", "Context", "Decision", "Consequences"] for page in pages
    }


def test_changelog_begins_with_the_version_of_pyproject() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert next(iter(sections(ROOT / "CHANGELOG.md", 2))).startswith(f"[{version}] - ")


def test_pages_have_no_spelling_mistake() -> None:
    result = subprocess.run([tool("codespell"), *map(str, PAGES)], capture_output=True, text=True, check=False)

    assert result.stdout + result.stderr == ""
