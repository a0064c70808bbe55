"""Docker Compose's own reading of a rendered repository, as parsed objects; no engine is needed."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.places import tool


def run_compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `docker compose ARGUMENTS` in a rendered repository, every profile included."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "DOCKER_"))}
    return subprocess.run(
        [tool("docker-compose"), "--profile", "*", *arguments],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def model(folder: Path) -> dict[str, Any]:
    """Return the whole model; fails with Compose's own words, also for a warning such as an unset variable."""
    run = run_compose(folder, "config", "--format", "json")
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", run.stderr
    parsed: dict[str, Any] = json.loads(run.stdout)
    return parsed
