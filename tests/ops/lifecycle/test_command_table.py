"""The entry point: help, unknown commands, and every way a command can end."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from ops.commands import COMMANDS, help_text

from tests.ops.lifecycle.conftest import Clair


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_its_module_and_a_function(name: str) -> None:
    _, module, function, _ = COMMANDS[name]

    assert callable(getattr(importlib.import_module(f"ops.{module}"), function))


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_that_exits_0(clair: Clair, name: str) -> None:
    result = clair(name, "--help")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: clair {name}")


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_every_command(clair: Clair, flag: str) -> None:
    result = clair(flag)

    assert (result.code, result.out, result.err) == (0, help_text() + "\n", "")
    assert all(f"  {name} " in result.out for name in COMMANDS)


def test_no_command_is_wrong_use(clair: Clair) -> None:
    result = clair()

    assert (result.code, result.out, result.err) == (2, "", help_text() + "\n")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("frobnicate", "command unknown, frobnicate: no such command\nHINT: ./clair --help\n"),
        ("dwon", "command unknown, dwon: did you mean down\nHINT: ./clair down\n"),
        ("secret", "command unknown, secret: did you mean secrets\nHINT: ./clair secrets\n"),
        ("$(id)", "command unknown, $(id): no such command\nHINT: ./clair --help\n"),
    ],
)
def test_an_unknown_command_names_the_nearest(clair: Clair, word: str, sentence: str) -> None:
    result = clair(word)

    assert (result.code, result.out, result.err) == (2, "", sentence)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("scan", "verify", "quay")])
def test_an_unknown_flag_is_one_line(clair: Clair, name: str) -> None:
    result = clair(name, "--no-such-flag")

    expected = f"wrong use, clair {name}: unrecognized arguments: --no-such-flag\nHINT: ./clair {name} --help\n"
    assert (result.code, result.out, result.err) == (2, "", expected)


def test_help_imports_nothing_it_does_not_need(clair: Clair) -> None:
    code = (
        "import sys; sys.argv = ['ops', '--help']; from ops.__main__ import main; main(['--help']); print(*sys.modules)"
    )

    result = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(clair.folder)!r}); {code}"],
                            capture_output=True, text=True, check=True)  # fmt: skip

    modules = set(result.stdout.splitlines()[-1].split())
    assert not modules & {"argparse", "json", "subprocess", "pathlib", "ops.host.engine", "ops.settings"}


def test_conflict_markers_in_the_settings_are_said_with_the_way_out(clair: Clair) -> None:
    clair.write("ops/deployment.json", "<<<<<<< before updating\n{}\n")

    result = clair("ps")

    assert result.code == 2
    assert result.err.startswith("settings unreadable, ops/deployment.json: ")
    assert result.err.endswith("HINT: git diff -- ops/deployment.json; git checkout --theirs -- ops/deployment.json\n")


@pytest.mark.parametrize(
    "module",
    ["ops/lifecycle/show_containers.py", "ops/commands.py", "ops/errors.py"],
    ids=["its own", "the table", "the errors"],
)
def test_conflict_markers_in_a_command_are_no_traceback(clair: Clair, module: str) -> None:
    clair.write(module, "<<<<<<< before updating\nimport os\n")

    result = clair("ps")

    expected = (
        f"command unreadable, {module}:1: invalid syntax\n"
        f"HINT: git diff -- {module}; git checkout --theirs -- {module}\n"
    )
    assert (result.code, result.err) == (2, expected)


def test_an_internal_error_is_one_line_and_undecided(clair: Clair) -> None:
    clair.change_facts(images=None)

    result = clair("images")

    first, hint = result.err.splitlines()
    assert result.code == 3
    assert first == "internal error, images: AttributeError: 'NoneType' object has no attribute 'items'"
    assert hint == "HINT: run it again with CLAIR_DEBUG=1 and report what it prints"


def test_debugging_shows_the_traceback(clair: Clair) -> None:
    clair.change_facts(images=None)

    assert "Traceback" in clair("images", CLAIR_DEBUG="1").err
