"""Copier in this process, in half the time and with the same results; its command line, which is tested as well, runs without this.

- Copier asks Jinja for every path, default and condition of every render anew: the same 500 short texts. What Jinja makes of a text depends
  on the text and on how the environment reads it, and both are the key here.
- For every file Copier asks git whether core.fileMode is off, for the sake of Windows. It is on in every repository of these tests, and then
  Copier does nothing with the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import copier._main
import jinja2
import pytest

# Everything an environment reads a text by (jinja2.Environment.__init__); loader and cache are where texts come from.
_READ_BY = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "autoescape",
    "finalize",
    "is_async",
)


def _reading(environment: jinja2.Environment) -> tuple[Any, ...]:
    names = (environment.filters, environment.tests, environment.extensions)
    return (
        type(environment),
        *(getattr(environment, name) for name in _READ_BY),
        *(frozenset(mapping) for mapping in names),
    )


@contextmanager
def quick_copier() -> Iterator[None]:
    """Make every Jinja environment of this process remember what it compiled, and spare a git process per file."""
    compile_anew = jinja2.Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(
        self: jinja2.Environment, source: Any, name: Any = None, filename: Any = None, *args: Any, **options: Any
    ) -> Any:
        if not isinstance(source, str):
            return compile_anew(self, source, name, filename, *args, **options)
        reading = self.__dict__.get("_reading") or self.__dict__.setdefault("_reading", _reading(self))
        # Not the file's name, which only a traceback shows: Copier clones a template into another folder at each update.
        key = (reading, source, name, args, tuple(sorted(options.items())))
        if key not in compiled:
            compiled[key] = compile_anew(self, source, name, filename, *args, **options)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        patch.setattr(copier._main.Worker, "_sync_git_index_executable_bit", lambda *_: None, raising=False)
        yield
