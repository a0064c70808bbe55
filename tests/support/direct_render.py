"""The templates rendered by Jinja alone, a hundred times as fast as a Copier run: for tests of many answers.

test_text_answers.py compares it with Copier's own result, so that it cannot drift.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from extensions.catalogue import Catalogue
from extensions.derive import derive
from tests.support import facts
from tests.support.answers import complete


@cache
def _environment(folder: Path) -> SandboxedEnvironment:
    options = {**facts.parsed("copier.yml")["_envops"], "undefined": jinja2.StrictUndefined}
    return SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
        **options,
    )


@cache
def _sources(folder: Path) -> dict[str, str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.jinja"))
    return {re.sub(r"{%.*?%}|\.jinja$", "", name): name for name in names}


def rendered(
    template: Path, catalogue: Catalogue, answers: Mapping[str, Any], names: tuple[str, ...]
) -> dict[str, str]:
    """Return the text of these rendered files of a template, for answers and the defaults of the others."""
    values = complete(catalogue, answers)
    context = {**values, "deployment": derive(values, catalogue)}
    environment, sources = _environment(template / "template"), _sources(template / "template")
    return {name: environment.get_template(sources[name]).render(context) for name in names}
