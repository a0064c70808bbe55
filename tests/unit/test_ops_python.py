"""What runs on the deployment's host needs nothing that Python 3.9 lacks; the receiver brings its own Python."""

from __future__ import annotations

import vermin
import yaml

from tests.support.places import ROOT

OPS = ROOT / "template" / "ops"
RECEIVER = OPS / "receiving"
ON_THE_HOST_TOO = {RECEIVER / "__init__.py", RECEIVER / "read_fixed.py"}


def needs(source: str) -> tuple[int, int]:
    """Return the lowest version of Python 3 that has all that a module names."""
    config = vermin.Config()
    config.add_exclusion("str.decode")  # of bytes that vermin takes for text
    lowest: tuple[int, int] = vermin.detect(source, config)[1] or (3, 0)
    return lowest


def test_the_hosts_commands_run_on_python_3_9() -> None:
    paths = [path for path in OPS.rglob("*.py") if RECEIVER not in path.parents or path in ON_THE_HOST_TOO]
    newer = {path.name: needs(path.read_text(encoding="utf-8")) for path in paths}

    assert len(paths) > 150
    assert {name: version for name, version in newer.items() if version > (3, 9)} == {}


def test_the_receiver_runs_on_the_python_of_its_image() -> None:
    components = yaml.safe_load((ROOT / "extensions" / "data" / "components.yaml").read_text(encoding="utf-8"))
    major, minor = components["receiver"]["tag"].split(".")[:2]

    assert max(needs(path.read_text(encoding="utf-8")) for path in RECEIVER.glob("*.py")) <= (int(major), int(minor))


def test_newer_names_are_noticed() -> None:
    assert needs("import tomllib") == (3, 11)
    assert needs("print(1)\nzip([], [], strict=True)") == (3, 10)
