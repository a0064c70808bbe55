"""The arguments that several commands have in common."""

from __future__ import annotations

import pytest
from ops.host.read_arguments import Parser


@pytest.mark.parametrize(
    ("words", "variable", "file"),
    [([], "", ""), ([], "c", "c"), (["--file", "b"], "c", "b"), (["a"], "c", "a"), (["a", "--file", "b"], "", "b")],
    ids=["none", "environment", "flag", "as it stands", "the later one"],
)
def test_file_of_a_command(monkeypatch: pytest.MonkeyPatch, words: list[str], variable: str, file: str) -> None:
    monkeypatch.setenv("FILE", variable)
    parser = Parser("restore", "")
    parser.add_file("the backup")

    assert parser.parse_args(words).file == file
