"""`database-upgrade` with real PostgreSQL: another major on a volume of its own, and the way back; also when it is cut short.

One deployment for the module; every test begins with the old server running, the new major rendered, and leaves it so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from extensions.catalogue import Catalogue
from tests.live.conftest import DeploymentFactory
from tests.live.samples import FAMILIES, add_samples, clair, no_traceback, wait_for_feeds
from tests.live.support import Deployment
from tests.live.upgrades import NEW, journal, killed_at, no_leftovers, render_release, rows, sample_findings

FROM, TO = "15", "18"


@pytest.fixture(scope="module")
def running(shared_deployment: DeploymentFactory, whole_template: Path, images: object) -> Deployment:
    """A deployment on the old major with feeds and an indexed image; the new major is rendered, not applied."""
    deployment = shared_deployment(updater_families=FAMILIES, database_version=FROM)
    add_samples(deployment)
    clair(deployment, "up")
    wait_for_feeds(deployment)
    assert len(sample_findings(deployment)) == 11
    render_release(deployment, whole_template, NEW, database_version=TO)
    images.ensure(*deployment.facts["images"].values())  # type: ignore[attr-defined]
    return deployment


@pytest.fixture
def old(running: Deployment) -> Iterator[Deployment]:
    """The deployment with the old server running and the new one rendered."""
    assert server(running) == FROM
    yield running
    subprocess.run(["docker", "volume", "rm", *kept(running)], check=False, capture_output=True)


def server(deployment: Deployment) -> str:
    """Return the major of the server that answers."""
    return str(deployment.psql("postgres", "SHOW server_version_num")[0][0])[:2]


def volumes(deployment: Deployment) -> list[str]:
    """Return the volumes that hold a database of the deployment."""
    label = f"label=com.docker.compose.project={deployment.name}"
    listed = deployment.engine.docker("volume", "ls", "--quiet", "--filter", label).stdout.split()
    return sorted(name for name in listed if "_database" in name)


def kept(deployment: Deployment) -> list[str]:
    """Return those that no container mounts now."""
    return [name for name in volumes(deployment) if name != f"{deployment.name}_database"]


def told(deployment: Deployment, *arguments: str, code: int) -> str:
    """Run a command that fails; return its sentence, the last line before the hint."""
    done = clair(deployment, *arguments, check=False)
    no_traceback(done)
    assert done.returncode == code, done.stderr
    sentence, hint = done.stderr.splitlines()[-2:]
    assert hint.startswith("HINT: ")
    return str(sentence)


def test_plan_changes_nothing_and_up_refuses(old: Deployment) -> None:
    before = rows(old)

    plan = json.loads(clair(old, "database-upgrade", "--plan", "--json").stdout)
    refused = clair(old, "up", check=False)

    assert (plan["from_major"], plan["to_major"]) == (FROM, TO)
    assert (plan["old_volume"], plan["new_volume"]) == (f"{old.name}_database", f"{old.name}_database-{TO}")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-2:] == [
        f"database not started, PostgreSQL {TO}: its data folder is of PostgreSQL {FROM}",
        "HINT: make database-upgrade",
    ]
    assert (server(old), rows(old)) == (FROM, before)


def test_nobody_to_ask_is_wrong_use(old: Deployment) -> None:
    assert told(old, "database-upgrade", code=2) == "not confirmed, database-upgrade: no terminal to ask at"
    assert journal(old) is None


def test_new_major_holds_the_same_rows_and_rollback_returns(old: Deployment) -> None:
    before, findings = rows(old), sample_findings(old)

    done = json.loads(clair(old, "database-upgrade", "--yes", "--json").stdout)["done"]

    assert server(old) == TO
    assert (done["operation"], done["from"], done["to"]) == ("database-upgrade", FROM, TO)
    assert [done["old_volume"], done["new_volume"]] == [f"{old.name}_database", f"{old.name}_database-{TO}"]
    assert rows(old) == before
    assert sample_findings(old) == findings
    assert volumes(old) == [f"{old.name}_database", f"{old.name}_database-{TO}"]
    clair(old, "up")
    no_leftovers(old)

    clair(old, "rollback", "--yes")

    assert server(old) == FROM
    assert rows(old) == before
    assert sample_findings(old) == findings
    no_leftovers(old)


@pytest.mark.parametrize(
    ("step", "command", "delay_seconds"),
    [
        ("backup", "rollback", 0.0),
        ("keep", "database-upgrade", 0.0),
        ("apply", "rollback", 1.0),
        ("load", "database-upgrade", 4.0),
        ("load", "rollback", 0.0),
        ("start", "database-upgrade", 0.0),
        ("verify", "rollback", 0.0),
        ("thaw", "database-upgrade", 0.0),
    ],
)
def test_killed_at_a_step(old: Deployment, step: str, command: str, delay_seconds: float) -> None:
    before = rows(old)

    assert killed_at(old, "database-upgrade", step, delay_seconds) == -signal.SIGKILL
    assert journal(old) is not None
    refused = told(old, "up", code=2)
    clair(old, command, "--yes")

    assert refused.startswith("change not finished, database-upgrade of ")
    if command == "database-upgrade":
        assert server(old) == TO
        assert rows(old) == before
        clair(old, "rollback", "--yes")
    assert server(old) == FROM
    assert rows(old) == before
    no_leftovers(old)


def test_goes_on_after_a_down_in_between(old: Deployment) -> None:
    before = rows(old)

    assert killed_at(old, "database-upgrade", "verify") == -signal.SIGKILL
    clair(old, "down")
    clair(old, "database-upgrade", "--yes")

    assert (server(old), rows(old)) == (TO, before)
    clair(old, "rollback", "--yes")
    assert (server(old), rows(old)) == (FROM, before)
    no_leftovers(old)


@contextmanager
def overridden(deployment: Deployment, **more: Any) -> Iterator[None]:
    """Put more into the operator's compose.override.yaml for the block."""
    path = deployment.root / "compose.override.yaml"
    text = path.read_text(encoding="utf-8")
    model = yaml.safe_load(text)
    for part, value in more.items():
        model.setdefault(part, {}).update(value)
    path.write_text(yaml.safe_dump(model), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_server_that_never_starts_brings_the_old_one_back(old: Deployment) -> None:
    before = rows(old)
    broken = {"clair-database": {"command": ["postgres", "-c", "no_such_setting=1"]}}

    with overridden(old, services=broken):
        sentence = told(old, "database-upgrade", "--yes", code=1)

    assert sentence.startswith(f"database-upgrade failed, PostgreSQL {FROM} to {TO}: ")
    assert sentence.endswith(f"; PostgreSQL {FROM} answers as before")
    assert (server(old), rows(old)) == (FROM, before)
    assert kept(old) == []
    no_leftovers(old)


def test_full_disk_while_loading_brings_the_old_server_back(old: Deployment) -> None:
    before = rows(old)
    # An empty server of this major with three empty databases has 61 MiB.
    small = {"type": "tmpfs", "device": "tmpfs", "o": "size=62m,uid=999,gid=999"}

    with overridden(old, volumes={"database": {"driver": "local", "driver_opts": small}}):
        sentence = told(old, "database-upgrade", "--yes", code=2)

    assert ": restore failed, database " in sentence
    assert ": no space left on its disk; " in sentence
    assert sentence.endswith(f"; PostgreSQL {FROM} answers as before")
    assert (server(old), rows(old)) == (FROM, before)
    assert kept(old) == []
    no_leftovers(old)


def interrupted(deployment: Deployment, *lines: str) -> str:
    """Run the command with a Ctrl-C at each line that begins so, once; return the sentence that it ends with."""
    process = subprocess.Popen(
        [str(deployment.root / "clair"), "database-upgrade", "--yes"],
        env={**os.environ, "ALLOW_SMALL": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    told, waited = [], list(lines)
    timer = threading.Timer(200, process.kill)
    timer.start()
    for line in process.stderr:
        told.append(line.rstrip("\n"))
        if waited and line.startswith(waited[0]):
            waited.pop(0)
            os.killpg(process.pid, signal.SIGINT)
    timer.cancel()
    assert process.wait() != 0
    assert not waited, told
    return told[-2]


def test_interrupt_brings_the_old_server_back(old: Deployment) -> None:
    before = rows(old)

    sentence = interrupted(old, "step load:")

    assert sentence.startswith(f"database-upgrade failed, PostgreSQL {FROM} to {TO}: ")
    assert sentence.endswith(f"; PostgreSQL {FROM} answers as before")
    assert (server(old), rows(old)) == (FROM, before)
    assert kept(old) == []
    no_leftovers(old)


def test_second_interrupt_stops_at_once_and_rollback_goes_on(old: Deployment) -> None:
    before = rows(old)

    sentence = interrupted(old, "step load:", "way back: stopping")

    assert sentence == f"database-upgrade failed, PostgreSQL {FROM} to {TO}: interrupted on the way back"
    assert told(old, "up", code=2).startswith("change not finished, rollback of ")
    clair(old, "rollback", "--yes")
    assert (server(old), rows(old)) == (FROM, before)
    assert kept(old) == []
    no_leftovers(old)


def test_lost_state_finds_the_volume_of_the_rendered_major(old: Deployment) -> None:
    clair(old, "database-upgrade", "--yes")
    before = rows(old)
    clair(old, "down")
    applied = old.root / "state" / "applied"
    applied.rename(old.root / "state" / "lost")

    clair(old, "up")

    assert (server(old), rows(old)) == (TO, before)
    clair(old, "rollback", "--yes")
    assert server(old) == FROM


def test_every_hop_keeps_the_rows(
    deployment: DeploymentFactory, whole_template: Path, images: object, catalogue: Catalogue
) -> None:
    """From each major to every later one and back, at last to the next one; the hop of the tests above is left out."""
    majors = catalogue.database_majors
    made = deployment(updater_families=FAMILIES, database_version=majors[0])
    add_samples(made)
    clair(made, "up")
    wait_for_feeds(made)
    before = rows(made)
    for old, following, *later in (majors[place:] for place in range(len(majors) - 1)):
        for major in (*later, following):
            if (old, major) == (FROM, TO):
                continue
            render_release(made, whole_template, NEW, database_version=major)
            images.ensure(*made.facts["images"].values())  # type: ignore[attr-defined]
            clair(made, "database-upgrade", "--yes")
            assert (server(made), rows(made)) == (major, before)
            if major != following:
                clair(made, "rollback", "--yes")
                assert (server(made), rows(made)) == (old, before)

    known = set(volumes(made))
    done = clair(made, "database-upgrade", "--drop-old", "--yes", "--json")

    (kept,) = volumes(made)
    assert set(json.loads(done.stdout)["done"]["deleted"]) == known - {kept}
    assert told(made, "rollback", "--yes", code=2).startswith("nothing to go back from")
