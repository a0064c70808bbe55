"""Fixtures of the update tests: two versions of the template, told apart by a file that only the second one renders."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support import facts, repositories

SENTINEL = "sentinel.txt"
NEXT_RELEASE = "4.10.0"


def release_as_data(version: str = NEXT_RELEASE) -> str:
    """Return the catalogue's entry of a fictional release: the newest one's facts under another number."""
    entry = {**facts.release(facts.releases()[-1]), "date": "2026-06-01"}
    text = yaml.safe_dump({version: entry}, default_flow_style=None, sort_keys=False)
    return "".join(f"  {line}\n" for line in text.splitlines())


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with the tags v1.0.0 and v2.0.0; v2.0.0 knows a newer Clair and renders one file more. Only data changed."""
    folder = repositories.template_repository(tmp_path_factory.mktemp("versions") / "clair")
    catalogue = folder / "extensions" / "data" / "clair.yaml"
    text = catalogue.read_text(encoding="utf-8")
    catalogue.write_text(text.replace("\nrefused:", f"\n{release_as_data()}refused:"), encoding="utf-8")
    (folder / "template" / SENTINEL).write_text("version 2\n", encoding="utf-8")
    repositories.commit(folder, "a newer Clair", "v2.0.0")
    return folder
