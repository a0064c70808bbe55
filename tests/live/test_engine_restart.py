"""The Docker engine is restarted between an update and its upgrade, and in the middle of an upgrade: the old release comes back."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.private_engine import PrivateEngine, missing_for_private_engine
from tests.live.samples import wait_until
from tests.live.support import Deployment, Engine, Images, render_deployment
from tests.live.upgrades import CLAIR, NEW, OLD, image_of, journal, killing_program
from tests.support import copier_runs

pytestmark = pytest.mark.skipif(bool(missing_for_private_engine()), reason=missing_for_private_engine())

_READS = """
import sys
sys.path.insert(0, ".")
from ops.network.open_connection import Deadline, NoAnswer
from ops.clair.reach_edge import deployment_edge
from ops.settings import load_deployment
from ops.verify.verify_edge import PROBES
edge, wrong = deployment_edge(load_deployment()), 0
for path, wanted in PROBES.values():
    try:
        wrong += edge.request("GET", path, Deadline(5)).status not in wanted
    except NoAnswer:
        wrong += 1
sys.exit(wrong)
"""


@pytest.fixture
def private(images: Images, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateEngine]:
    """Return an engine of its own, to which every docker call of the test goes."""
    # A socket's path is short, and pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="clair-engine-") as folder:
        engine = PrivateEngine(Path(folder), f"clairtest-{secrets.token_hex(3)}")
        try:
            engine.start()
            yield engine
        finally:
            monkeypatch.undo()
            engine.remove()


def test_old_release_comes_back_after_the_engine_is_restarted(
    *,
    private: PrivateEngine, engine: Engine, images: Images, whole_template: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answers = {"clair_version": OLD, "feeds_offline": True}
    deployment = render_deployment(whole_template, tmp_path / "deployment", engine, answers)
    needed = [image for name, image in deployment.facts["images"].items() if name != "registry"]
    images.ensure(*needed, needed[0].replace(OLD, NEW))
    private.take([*needed, needed[0].replace(OLD, NEW)])
    monkeypatch.setenv("DOCKER_HOST", private.host)
    monkeypatch.setenv("ALLOW_SMALL", "1")
    inside(private, deployment, "up")

    copier_runs.copy(
        whole_template,
        deployment.root,
        {
            "deployment_name": deployment.name,
            "edge_port": deployment.edge_port,
            "operations_port": deployment.operations_port,
            **answers,
            "clair_version": NEW,
        },
        overwrite=True,
    )
    private.stop()
    private.start()

    works_again(private, deployment)
    assert inside(private, deployment, "up", check=False).returncode == 2

    # The indexer runs the new release already; the others, and the files of the others, are the old one's.
    program = [sys.executable, "-c", killing_program(), str(deployment.root), "upgrade", "roll-matcher", "0"]
    subprocess.run([*private.inside, *program], check=False, capture_output=True, timeout=200)
    assert (journal(deployment) or {}).get("step") == "roll-matcher"
    private.stop()
    private.start()
    wait_until(lambda: reads(private, deployment), "every service answers after the restart in the middle", 120)
    assert [image_of(deployment, service) for service in CLAIR] == [NEW, OLD, OLD]
    inside(private, deployment, "rollback", "--yes")

    works_again(private, deployment)


def inside(
    private: PrivateEngine, deployment: Deployment, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `./clair ARGUMENTS` where the private engine publishes its ports."""
    done = subprocess.run(
        [*private.inside, "./clair", *arguments],
        check=False, cwd=deployment.root, capture_output=True, text=True, timeout=300, env=dict(os.environ),
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def reads(private: PrivateEngine, deployment: Deployment) -> bool:
    """Return whether every service answers a read through the edge."""
    program = [*private.inside, sys.executable, "-c", _READS]
    return subprocess.run(program, check=False, cwd=deployment.root, capture_output=True, timeout=60).returncode == 0


def works_again(private: PrivateEngine, deployment: Deployment) -> None:
    """Wait until every service answers, and check that all of them are the old release."""
    wait_until(lambda: reads(private, deployment), "every service answers again", 120)
    assert {image_of(deployment, service) for service in CLAIR} == {OLD}
