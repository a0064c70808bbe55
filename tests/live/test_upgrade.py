"""`upgrade` with real PostgreSQL: it goes through, fails, is killed; after each the old or the new release answers, whole.

One deployment for the module, in this order: every test begins with the old release running and leaves it so.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.live.conftest import DeploymentFactory
from tests.live.samples import FAMILIES, add_samples, clair, no_traceback, wait_for_feeds, wait_until
from tests.live.support import Deployment
from tests.live.upgrades import (
    NEW,
    OLD,
    images_of,
    journal,
    killed_at,
    no_leftovers,
    override,
    render_release,
    rows,
    sample_findings,
    status,
)

FORWARD = (
    "freeze", "backup", "keep", "apply", "admin-pre", "roll-clair-database", "roll-indexer", "roll-matcher",
    "roll-notifier", "roll-receiver", "roll-traefik", "admin-post", "verify", "thaw",
)  # fmt: skip
REPORT = "/indexer/api/v1/index_report"
READS = ("/indexer/api/v1/index_state", "/notifier/api/v1/notification/00000000-0000-0000-0000-000000000000")
BACK = ("close", "load", "stop", "swap", "start", "check", "open")


@pytest.fixture(scope="module")
def running(shared_deployment: DeploymentFactory, whole_template: Path, images: object) -> Deployment:
    """A deployment of the old release with feeds and an indexed image; the new release is rendered, not applied."""
    deployment = shared_deployment(updater_families=FAMILIES, clair_version=OLD)
    add_samples(deployment)
    clair(deployment, "up")
    wait_for_feeds(deployment)
    assert len(sample_findings(deployment)) == 11
    render_release(deployment, whole_template, NEW)
    images.ensure(*deployment.facts["images"].values())  # type: ignore[attr-defined]
    return deployment


@pytest.fixture
def old(running: Deployment, whole_template: Path) -> Iterator[Deployment]:
    """The deployment with the old release running and the new one rendered."""
    assert images_of(running) == {OLD}
    yield running
    render_release(running, whole_template, NEW)
    if journal(running) or images_of(running) != {OLD}:
        # A test failed: the next one begins where it would have.
        clair(running, "rollback", "--yes")


def told(deployment: Deployment, *arguments: str, code: int, **environment: str) -> str:
    """Run a command that fails; return its sentence, the last line before the hint."""
    done = clair(deployment, *arguments, check=False, **environment)
    no_traceback(done)
    assert done.returncode == code, done.stderr
    sentence, hint = done.stderr.splitlines()[-2:]
    assert hint.startswith("HINT: ")
    return str(sentence)


def test_plan_changes_nothing(old: Deployment) -> None:
    before = sorted(path.name for path in (old.root / "state").iterdir())

    plan = clair(old, "upgrade", "--plan").stdout

    assert f"Clair {OLD} to {NEW}" in plan
    assert "indexer: 7 to 8" in plan
    assert "clairctl admin pre v4.7.3, with the indexer's config" in plan
    assert sorted(path.name for path in (old.root / "state").iterdir()) == before


def test_up_refuses_in_one_line_and_upgrade_asks(old: Deployment) -> None:
    assert told(old, "up", code=2).startswith(f"release not applied, Clair {NEW}: ")
    assert told(old, "upgrade", code=2) == "not confirmed, upgrade: no terminal to ask at"
    assert journal(old) is None


def test_an_image_that_cannot_be_had_stops_it_before_anything_is_touched(old: Deployment, whole_template: Path) -> None:
    render_release(old, whole_template, NEW, image_mirror="127.0.0.1:1/m")

    sentence = told(old, "upgrade", "--yes", code=3)

    assert sentence.startswith("image not available, 127.0.0.1:1/m/")
    assert images_of(old) == {OLD}
    assert journal(old) is None
    render_release(old, whole_template, NEW, image_mirror="")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the small disk")
def test_a_disk_that_is_too_small_refuses_before_anything_is_touched(old: Deployment) -> None:
    backups = old.root / "backups"
    backups.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k,mode=0755", "tmpfs", backups], check=True)
    try:
        sentence = told(old, "upgrade", "--yes", code=1)
    finally:
        subprocess.run(["umount", "-l", backups], check=True)

    assert re.search("^disk too small, backups/, the dump: .* free, .* needed$", sentence)
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_a_disk_that_fills_up_during_the_backup_leaves_all_as_it_was(old: Deployment) -> None:
    # A small file system where pg_dump writes; the applied file is what runs.
    override = old.root / "state" / "applied" / "compose.override.yaml"
    kept = override.read_bytes()
    added = yaml.safe_load(kept)
    added["services"]["database-client"] = {"tmpfs": ["/tmp:mode=1777,size=64m", "/backup/matcher:mode=1777,size=8k"]}
    override.write_text(yaml.safe_dump(added), encoding="utf-8")
    try:
        sentence = told(old, "upgrade", "--yes", code=2)
    finally:
        override.write_bytes(kept)

    assert "backup failed, backups/: no space left on the disk" in sentence
    assert sentence.endswith(f"Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_an_admin_step_that_fails_leads_back(old: Deployment) -> None:
    before = rows(old)
    old.psql("indexer", "ALTER TABLE manifest_layer OWNER TO postgres; GRANT SELECT ON manifest_layer TO indexer")
    try:
        sentence = told(old, "upgrade", "--yes", code=1)
    finally:
        old.psql("indexer", "ALTER TABLE manifest_layer OWNER TO indexer")

    assert "admin step failed, clairctl admin pre v4.7.3" in sentence
    assert sentence.endswith(f"Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    assert rows(old) == before
    no_leftovers(old)


def test_a_migration_that_fails_leads_back_to_every_row(old: Deployment) -> None:
    before = rows(old)
    # The migration makes an index on this table, which its owner alone may.
    old.psql("matcher", "ALTER TABLE uo_enrich OWNER TO postgres; GRANT ALL ON uo_enrich TO matcher")
    try:
        sentence = told(old, "upgrade", "--yes", code=1)
    finally:
        old.psql("matcher", "ALTER TABLE uo_enrich OWNER TO matcher")

    assert "migration 15 failed" in sentence
    assert sentence.endswith(f"Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    assert rows(old) == before
    no_leftovers(old)


def test_a_release_that_never_becomes_ready_leads_back(old: Deployment) -> None:
    override(old, "notifier", entrypoint=["sleep", "600"])

    sentence = told(old, "upgrade", "--yes", "--timeout", "8", code=3)

    assert "notifier: not healthy within" in sentence
    assert sentence.endswith(f"Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_ctrl_c_leads_back_while_reads_are_answered_and_writes_refused(old: Deployment) -> None:
    process = subprocess.Popen(
        ["./clair", "upgrade", "--yes"], cwd=old.root, env={**os.environ, "ALLOW_SMALL": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: (journal(old) or {}).get("step") == "roll-indexer", "the indexer's turn", 60)

    post, headers = status(old, "POST", REPORT)
    delete, _ = status(old, "DELETE", f"{REPORT}/sha256:{'0' * 64}")
    get, _ = status(old, "GET", READS[1])
    busy = told(old, "upgrade", "--yes", code=3)
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=120)[1]

    assert (post, headers["retry-after"], delete, get) == (503, "60", 503, 200)
    assert busy.startswith("deployment busy, state/lock: held by `upgrade`")
    assert output.splitlines()[-2].endswith(f"interrupted; Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_ctrl_c_leads_back_although_it_ended_the_reader_of_the_words(old: Deployment) -> None:
    process = subprocess.Popen(
        ["bash", "-c", "./clair upgrade --yes 2>&1 | tee log > /dev/null; exit ${PIPESTATUS[0]}"], cwd=old.root,
        env={**os.environ, "ALLOW_SMALL": "1"}, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: (journal(old) or {}).get("step") == "roll-indexer", "the indexer's turn", 60)

    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: journal(old) is None, "the way back", 120)

    process.wait(60)
    (old.root / "log").unlink()
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_sigterm_leads_back_as_ctrl_c_does(old: Deployment) -> None:
    process = subprocess.Popen(
        ["./clair", "upgrade", "--yes"], cwd=old.root, env={**os.environ, "ALLOW_SMALL": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: (journal(old) or {}).get("step") == "roll-matcher", "the matcher's turn", 60)

    process.terminate()
    output = process.communicate(timeout=120)[1]

    assert process.returncode == 130
    assert output.splitlines()[-2].endswith(f"interrupted; Clair {OLD} answers as before")
    assert images_of(old) == {OLD}
    no_leftovers(old)


def test_upgrade_after_down_starts_the_database_that_it_reads(old: Deployment) -> None:
    clair(old, "down")

    plan = told(old, "upgrade", "--plan", code=3)
    done = json.loads(clair(old, "upgrade", "--yes", "--json").stdout)["done"]

    assert plan.startswith(f"no plan, {old.name}: its database does not run")
    assert images_of(old) == {NEW}
    assert {name: done[name] for name in ("operation", "from", "to")} == {
        "operation": "upgrade",
        "from": OLD,
        "to": NEW,
    }
    assert (old.root / done["backup"] / "manifest.json").is_file()
    assert set(done["services_seconds"]) == set(old.facts["services"])
    clair(old, "rollback", "--yes")
    assert images_of(old) == {OLD}


def test_a_database_restarted_in_the_middle_ends_old_or_new(old: Deployment) -> None:
    def restart() -> None:
        wait_until(lambda: (journal(old) or {}).get("step") == "roll-matcher", "the matcher's turn", 60)
        old.engine.docker("restart", "--time", "5", old.container("clair-database"))

    thread = threading.Thread(target=restart)
    thread.start()
    done = clair(old, "upgrade", "--yes", check=False)
    thread.join()

    no_traceback(done)
    assert images_of(old) == ({NEW} if done.returncode == 0 else {OLD}), done.stderr
    if done.returncode == 0:
        clair(old, "rollback", "--yes")
    wait_until(lambda: status(old, "GET")[0] == 200, "an answer", 30)
    no_leftovers(old)


@pytest.mark.parametrize(("step", "delay_seconds"), [("backup", 0.5), ("apply", 0), ("thaw", 0)])
def test_rollback_after_a_kill_brings_back_the_old_release(old: Deployment, step: str, delay_seconds: float) -> None:
    before = rows(old)
    assert killed_at(old, "upgrade", step, delay_seconds) == -signal.SIGKILL
    assert told(old, "up", code=2).startswith("change not finished, upgrade of ")

    clair(old, "rollback", "--yes")

    assert images_of(old) == {OLD}
    assert rows(old) == before
    no_leftovers(old)


def test_containers_that_restart_in_the_middle_are_the_old_release_and_work(old: Deployment) -> None:
    before = rows(old)
    assert killed_at(old, "upgrade", "roll-indexer") == -signal.SIGKILL

    old.engine.docker("restart", *(old.container(service) for service in ("matcher", "notifier", "traefik")))

    assert images_of(old) == {OLD}
    wait_until(lambda: all(status(old, "GET", path)[0] == 200 for path in READS), "answers through the edge", 30)
    assert status(old, "POST", REPORT)[0] == 503
    clair(old, "rollback", "--yes")
    assert images_of(old) == {OLD}
    assert rows(old) == before
    no_leftovers(old)


def test_upgrade_goes_on_after_a_kill_at_every_step_and_so_does_rollback(old: Deployment) -> None:
    before = rows(old)
    findings = sample_findings(old)

    ends = [killed_at(old, "upgrade", step) for step in FORWARD]
    clair(old, "upgrade", "--yes")

    assert set(ends) == {-signal.SIGKILL}
    assert images_of(old) == {NEW}
    assert sample_findings(old) == findings
    no_leftovers(old)

    ends = [killed_at(old, "rollback", step) for step in BACK]
    clair(old, "rollback", "--yes")
    assert set(ends) == {-signal.SIGKILL}
    assert images_of(old) == {OLD}
    assert rows(old) == before
    no_leftovers(old)


def test_after_a_rollback_there_is_nothing_to_go_back_from(old: Deployment) -> None:
    assert told(old, "rollback", "--yes", code=2).startswith("nothing to go back from, ")


def test_conflict_markers_stop_up_and_upgrade(old: Deployment) -> None:
    path = old.root / "config" / "indexer" / "config.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"<<<<<<< before updating\n{text}=======\n{text}>>>>>>> after updating\n", encoding="utf-8")

    for command in ("up", "upgrade"):
        assert clair(old, command, check=False).returncode in (1, 2)
    assert journal(old) is None
    path.write_text(text, encoding="utf-8")


def test_an_older_release_than_the_applied_one_is_refused(old: Deployment, whole_template: Path) -> None:
    render_release(old, whole_template, "4.7.4")

    for command in ("up", "upgrade"):
        sentence = told(old, command, code=2)
        assert sentence.startswith("release not applied, Clair 4.7.4: ")
        assert sentence.endswith("migrations only go up")
    assert images_of(old) == {OLD}
