"""The first day of an operator: each step alone, everything, the everyday commands, and the end.

The tests of a deployment run in the order in which they stand here; each leaves it running.
"""

from __future__ import annotations

import json
import stat

import pytest
import yaml

from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    SCORES,
    add_samples,
    clair,
    container_ids,
    start_samples,
    wait_for_feeds,
)
from tests.live.support import Deployment

SECRETS = {"psk", *(f"database-{role}" for role in ("superuser", "indexer", "matcher", "notifier", "ledger"))}
SIX = ("database", "indexer", "matcher", "notifier", "receiver", "traefik")


def names(deployment: Deployment) -> set[str]:
    """Return the containers there are, without the deployment's name and without the sample server."""
    return {name.removeprefix(f"{deployment.name}-") for name in container_ids(deployment)} - {"demo"}


def states(deployment: Deployment) -> dict[str, str]:
    """Return the health of each service, as `ps` tells it."""
    done = clair(deployment, "ps", "--json", check=False)
    return {one["service"]: one["health"] for one in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def running(shared_deployment: DeploymentFactory) -> Deployment:
    """A deployment of the defaults on which nothing was done yet."""
    deployment = shared_deployment(updater_families=FAMILIES)
    add_samples(deployment)
    return deployment


def test_secrets_are_made_once_and_never_shown(running: Deployment) -> None:
    first = clair(running, "secrets")
    folder = running.root / "secrets"
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    second = clair(running, "secrets")

    assert set(first.stdout.split()) == {f"secrets/{name}" for name in SECRETS}
    assert set(contents) == SECRETS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    assert second.stdout == ""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert not any(content.decode() in first.stdout + first.stderr for content in contents.values())


def test_check_starts_nothing(running: Deployment) -> None:
    clair(running, "check")

    assert container_ids(running) == {}
    assert not (running.root / "state" / "applied").exists()


def test_each_step_starts_its_part(running: Deployment) -> None:
    clair(running, "database")
    after_database = names(running)
    roles = {row[0] for row in running.psql("postgres", "SELECT rolname FROM pg_roles WHERE rolcanlogin")}
    clair(running, "traefik")
    after_traefik = names(running)
    start_samples(running)
    clair(running, "services")

    assert after_database == {"database"}
    assert roles == {"postgres", "indexer", "matcher", "notifier", "ledger"}
    assert after_traefik == {"database", "traefik"}
    assert names(running) == set(SIX)
    assert set(states(running).values()) == {"healthy"}


def test_up_after_the_steps_and_again_changes_nothing(running: Deployment) -> None:
    before = container_ids(running)
    first = clair(running, "up")
    second = clair(running, "up")

    after = container_ids(running)
    assert {name: after[name] for name in before} == before
    assert set(after) == set(before)
    assert "starting" not in first.stderr + second.stderr
    assert clair(running, "diff").stdout == ""


def test_verify_passes_once_the_feeds_are_there(running: Deployment) -> None:
    wait_for_feeds(running)

    done = clair(running, "verify", "--json")

    results = {check["name"]: check["result"] for check in json.loads(done.stdout)["checks"]}
    # No verdict needs the scores, which the double does not load.
    assert results.pop(f"feed {SCORES}") in ("ok", "warning")
    assert results.pop("last backup") == "warning"
    assert set(results.values()) == {"ok"}
    assert {"feed alpine", "feed debian", "edge refuses the internal API"} <= set(results)


def test_ps_and_logs_speak_of_every_container(running: Deployment) -> None:
    table = clair(running, "ps").stdout
    everything = clair(running, "logs").stdout.splitlines()
    one = clair(running, "logs", f"{running.name}-indexer").stdout.splitlines()
    unknown = clair(running, "logs", "indexr", check=False)

    assert all(f"{running.name}-{name}" in table for name in SIX)
    assert 0 < len(everything) <= 200
    assert one
    assert all(line.startswith(f"{running.name}-indexer | ") for line in one)
    assert unknown.returncode == 2
    assert "service unknown, indexr" in unknown.stderr


def test_make_is_the_same_with_its_own_exit_code(running: Deployment) -> None:
    passed = running.make("ps")
    failed = running.make("logs", "SERVICE=$(shell id)", check=False)

    assert running.name in passed.stdout
    assert failed.returncode == 2
    assert "service unknown, $(shell id)" in failed.stderr


def test_images_lists_what_runs(running: Deployment) -> None:
    listed = set(clair(running, "images").stdout.split())

    ids = container_ids(running)
    used = {
        running.engine.docker("inspect", "--format", "{{.Config.Image}}", ids[f"{running.name}-{name}"]).stdout.strip()
        for name in SIX
    }
    assert used <= listed
    assert all(reference.rpartition(":")[2] for reference in listed)


def test_quay_is_refused_where_it_was_not_asked_for(running: Deployment) -> None:
    done = clair(running, "quay", check=False)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "quay_enabled" in done.stderr


def test_an_edited_drop_in_is_shown_and_recreates_its_service_alone(running: Deployment) -> None:
    before = container_ids(running)
    drop_in = running.root / "config" / "indexer" / "config.yaml.d" / "level.yaml"
    drop_in.write_text(yaml.safe_dump({"log_level": "debug"}), encoding="utf-8")

    shown = clair(running, "diff", check=False)
    clair(running, "up")

    after = container_ids(running)
    assert shown.returncode == 1
    assert "indexer/config.yaml.d/level.yaml" in shown.stdout
    assert "+log_level: debug" in shown.stdout
    assert {name for name in before if after[name] != before[name]} == {f"{running.name}-indexer"}
    assert clair(running, "diff").returncode == 0


def test_restart_of_one_service_leaves_the_others(running: Deployment) -> None:
    def started() -> dict[str, str]:
        ids = container_ids(running)
        return {
            name: running.engine.docker("inspect", "--format", "{{.State.StartedAt}}", ids[f"{running.name}-{name}"]).stdout
            for name in SIX
        }  # fmt: skip

    before = started()

    clair(running, "restart", "receiver")

    after = started()
    assert {name for name in SIX if after[name] != before[name]} == {"receiver"}
    assert states(running)["receiver"] == "healthy"


def test_down_and_up_keep_the_data(running: Deployment) -> None:
    count = "SELECT count(*) FROM update_operation"
    before = int(running.psql("matcher", count)[0][0])

    down = clair(running, "down")
    left = container_ids(running)
    gone = clair(running, "ps", check=False)
    # The sample server went as well; `up` starts it with the services that wait for it.
    clair(running, "up")

    assert f"removed {len(SIX) + 1} containers; all data stays" in down.stderr
    assert left == {}
    assert gone.returncode == 1
    assert before > 0
    assert int(running.psql("matcher", count)[0][0]) >= before
    assert names(running) == set(SIX)


def test_destroy_needs_the_name_and_then_removes_everything(running: Deployment) -> None:
    volumes = ("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={running.name}")
    before = container_ids(running)

    refusals = [clair(running, "destroy", *options, check=False) for options in ((), ("--confirm", "clair"))]
    untouched = container_ids(running)
    gone = clair(running, "destroy", "--confirm", running.name)

    assert [refusal.returncode for refusal in refusals] == [2, 2]
    assert untouched == before
    assert f"container {running.name}-database" in gone.stdout
    assert container_ids(running) == {}
    assert running.engine.docker(*volumes).stdout == ""
    assert not (running.root / "secrets").exists()
    assert not (running.root / "state").exists()
    assert (running.root / "config" / "indexer" / "config.yaml.d" / "level.yaml").exists()


def test_services_alone_start_what_they_need(running: Deployment) -> None:
    """After `destroy` the repository is as on its first day: no secret, no state, no container."""
    start_samples(running)

    done = clair(running, "services")

    assert "created secrets/psk" in done.stderr
    assert names(running) == set(SIX) - {"traefik"}
    assert states(running).keys() >= {"clair-database", "indexer", "matcher", "notifier", "receiver"}
    assert set(states(running).values()) == {"healthy"}
