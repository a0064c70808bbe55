"""What the tests of `upgrade` and `rollback` share: another release over a running deployment, data, rows, and a kill at a step."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.live.samples import add_samples, request, sample_repository, scan, token, wait_until
from tests.live.support import Deployment
from tests.support import copier_runs

__all__ = [
    "CLAIR",
    "DATABASES",
    "GONE_SECONDS",
    "KEYS",
    "NEW",
    "OLD",
    "STATE",
    "image_of",
    "images_of",
    "journal",
    "killed_at",
    "killing_program",
    "no_leftovers",
    "render_release",
    "rows",
    "sample_findings",
    "status",
    "wait_for_findings",
]

OLD, NEW = "4.8.0", "4.9.0"
CLAIR = ("indexer", "matcher", "notifier")
DATABASES = CLAIR
STATE = "/indexer/api/v1/index_state"
GONE_SECONDS = 60.0
SAMPLE = "sample/debian:12"
# What the answers file holds of a running deployment that a test does not change.
KEYS = ("deployment_name", "edge_port", "operations_port")
# Written by the matcher whenever it starts: when it looked for feeds last, which changes no finding.
_LOOKED = ("updater_status",)
_PATCH = """
import os, signal, sys, threading
root, command, step, delay = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
os.chdir(root)
sys.path.insert(0, root)
from ops.state import track_change
write = track_change._write
def write_and_die(path, deployment, change):
    write(path, deployment, change)
    if change.step == step:
        die = lambda: os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(delay, die).start() if delay else die()
track_change._write = write_and_die
from ops.__main__ import main
code = main([command, "--yes"])
os._exit(code)
"""


def render_release(deployment: Deployment, template: Path, release: str, **answers: Any) -> None:
    """Render another release over a deployment, as an update does, with the samples' drop-ins and override."""
    recorded = yaml.safe_load((deployment.root / ".copier-answers.yml").read_text(encoding="utf-8"))
    known = {name: value for name, value in recorded.items() if not name.startswith("_")}
    copier_runs.copy(template, deployment.root, {**known, "clair_version": release, **answers}, overwrite=True)
    add_samples(deployment)
    merge_samples(deployment)


def merge_samples(deployment: Deployment) -> None:
    """Put the samples' settings into the main files where a release ignores drop-ins."""
    if deployment.facts["release"]["drop_ins"]:
        return
    for service in ("indexer", "matcher"):
        folder = deployment.root / "config" / service
        drop_in = folder / "config.yaml.d" / "demo.yaml"
        documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (folder / "config.yaml", drop_in)]
        (folder / "config.yaml").write_text(json.dumps(_merged(*documents)), encoding="utf-8")
        drop_in.unlink()


def _merged(base: Any, more: Any) -> Any:
    if isinstance(base, dict) and isinstance(more, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in more.items()}}
    return more


def override(deployment: Deployment, service: str, **settings: Any) -> None:
    """Give the containers of a service that are started from now on these settings of Compose."""
    path = deployment.root / "compose.override.yaml"
    model = yaml.safe_load(path.read_text(encoding="utf-8"))
    model["services"].setdefault(service, {}).update(settings)
    path.write_text(yaml.safe_dump(model, sort_keys=False), encoding="utf-8")


def killing_program() -> str:
    """Return the Python program that runs a command and is killed at a step: its arguments are root, command, step, delay."""
    return _PATCH


def killed_at(deployment: Deployment, command: str, step: str, delay_seconds: float = 0.0) -> int:
    """Run a command and kill it as soon as its journal stands at `step`, or later; return its exit code (-9: killed)."""
    call = [sys.executable, "-c", _PATCH, str(deployment.root), command, step, str(delay_seconds)]
    # Not of this process's group: an own session, as a lost terminal or the out-of-memory killer leaves it.
    done = subprocess.run(
        call,
        env={**os.environ, "ALLOW_SMALL": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        start_new_session=True,
    )
    return done.returncode


def journal(deployment: Deployment) -> dict[str, Any] | None:
    """Return the journal of an unfinished change."""
    path = deployment.root / "state" / "journal.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def rows(deployment: Deployment) -> dict[str, str]:
    """Return number and digest of the rows of every table of the three databases."""
    found = {}
    for database in DATABASES:
        names = deployment.psql(
            database, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        for (name,) in names:
            if name in _LOOKED:
                continue
            digest = "count(*) || ' ' || coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint::numeric), 0)"
            found[f"{database}.{name}"] = deployment.psql(database, f'SELECT {digest} FROM "{name}" t')[0][0]
    return found


def image_of(deployment: Deployment, service: str) -> str:
    """Return the release of the image that the container of a service runs."""
    found = deployment.engine.docker("inspect", "--format", "{{.Config.Image}}", deployment.container(service))
    return found.stdout.strip().rpartition(":")[2]


def images_of(deployment: Deployment) -> set[str]:
    """Return the releases that the Clair containers run."""
    return {image_of(deployment, service) for service in CLAIR}


def status(deployment: Deployment, method: str, path: str = STATE) -> tuple[int, dict[str, str]]:
    """Return status and headers of a request through the edge, (0, {}) if there is no answer: it has just been restarted."""
    headers = {"Authorization": f"Bearer {token(deployment)}"}
    try:
        code, received, _ = request(deployment.edge_url, method, path, headers)
    except (OSError, http.client.HTTPException):
        return 0, {}
    return code, received


def wait_for_findings(deployment: Deployment) -> None:
    """Wait until the sample is scanned with a verdict: the feeds' names differ between releases."""
    image = f"{sample_repository(deployment)}/{SAMPLE}"
    wait_until(lambda: scan(deployment, image).returncode == 1, f"a verdict of {deployment.name}", 120)


def sample_findings(deployment: Deployment) -> list[tuple[str, str, str]]:
    """Scan a sample and return what was found."""
    done = scan(deployment, f"{sample_repository(deployment)}/{SAMPLE}", "--format", "json")
    document = json.loads(done.stdout)
    return sorted((one["package"], one["id"], one["severity"]) for one in document["findings"])


def no_leftovers(deployment: Deployment) -> None:
    """Fail if a change has left a database, a journal, or an edge closed to writes."""
    names = {name for (name,) in deployment.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")}
    assert names == {"postgres", *DATABASES}
    assert journal(deployment) is None
    assert not (deployment.root / "state" / "applied.old").exists()
    assert status(deployment, "POST", "/indexer/api/v1/index_report")[0] == 400
