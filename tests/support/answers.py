"""Named answer files, and complete sets of answers as the rules and `derive` get them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from extensions.catalogue import Catalogue
from extensions.values import parse_answer
from tests.support import facts
from tests.support.places import ANSWERS


def named(name: str) -> dict[str, Any]:
    """Return the answers in tests/answers/NAME.yml."""
    answers: dict[str, Any] = yaml.safe_load((ANSWERS / f"{name}.yml").read_text(encoding="utf-8"))
    return answers


def names() -> list[str]:
    """Return the name of every answer file."""
    return sorted(path.stem for path in ANSWERS.glob("*.yml"))


def complete(catalogue: Catalogue, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return `answers` with the default of every other question, each cast to its question's type; on amd64 unless told."""
    defaults = {
        "architecture": "amd64",
        "database_version": catalogue.components["postgres"]["default_major"],
        "updater_families": catalogue.default_families,
    }
    values = {}
    for name, spec in facts.questions().items():
        raw = answers.get(name, defaults.get(name, spec["default"]))
        choices = catalogue.family_names if spec.get("multiselect") else ()
        values[name] = parse_answer(raw, spec["type"], choices, spec.get("multiselect", False))
    return values
