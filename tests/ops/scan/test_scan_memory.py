"""How much memory a large report takes, measured in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import copy_commands

from .servers import Clair, Registry

HERE = Path(__file__).parent
LIMIT_MIB = 400


def large_report(report: dict[str, Any], size_bytes: int, text: str) -> dict[str, Any]:
    """Return a report with findings of about 900 bytes each, `size_bytes` in all."""
    template, *_ = report["vulnerabilities"].values()
    template = {**template, "description": ""}
    overhead = len(json.dumps(template))
    description = (text * 900)[: max(0, 900 - overhead)]
    number = size_bytes // 900
    vulnerabilities = {
        str(index): {**template, "id": str(index), "name": f"CVE-2024-{index}", "description": description}
        for index in range(number)
    }
    package = next(iter(report["packages"]))
    return {**report, "vulnerabilities": vulnerabilities, "package_vulnerabilities": {package: list(vulnerabilities)}}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        pytest.param("plain text ", "table", id="ascii to a table"),
        # One such character makes Python store every character of a text in four bytes.
        pytest.param("text with a \N{PILE OF POO} ", "json", id="beyond U+FFFF to JSON"),
        # These read the report once more, for descriptions and packages.
        pytest.param("plain text ", "html", id="ascii to a page"),
        pytest.param("plain text ", "cyclonedx", id="ascii to an inventory"),
    ],
)
def test_a_report_of_50_mb_is_handled_in_under_400_mib(
    *, clair: Clair, registry: Registry, deployment: Path, tmp_path: Path, text: str, output: str
) -> None:
    built: dict[str, bytes] = {}

    def change(report: dict[str, Any]) -> Any:
        document = large_report(report, 50_000_000, text)
        return built.setdefault("body", json.dumps(document, ensure_ascii=False).encode())

    clair.change_report = change
    now = time.time()
    fake = tmp_path / "ledger.json"
    fake.write_text(json.dumps({"rows": [["debian/updater", now, now, now, None]], "present": ["bookworm"]}))
    environment = {
        **os.environ,
        "DOCKER": f"{sys.executable} {HERE / 'fake_docker.py'}",
        "FAKE_LEDGER": str(fake),
    }
    copy_commands(deployment)
    environment["PYTHONPATH"] = str(deployment)

    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "clair_program.py"), "scan", f"{registry.name}/demo/debian:12"),
            *("--format", output, "--output", str(tmp_path / "report")),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    peak_kib = int(re.search(r"peak (\d+) KiB", done.stderr).group(1))  # type: ignore[union-attr]
    print(f"{len(built['body']) / 1e6:.0f} MB, {output}: {peak_kib / 1024:.0f} MiB")
    assert peak_kib < LIMIT_MIB * 1024
