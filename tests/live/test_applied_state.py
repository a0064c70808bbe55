"""After `copier update` and before anything is applied, what runs and what a restart brings back is the old release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.live.samples import FAMILIES, add_samples, clair, sample_repository, scan, wait_for_feeds, wait_until
from tests.live.support import Deployment, Engine, Images, render_deployment
from tests.support import copier_runs, facts, repositories

NEXT_RELEASE = "4.10.0"
SAMPLE = "sample/debian:12"


@dataclass(frozen=True)
class Updated:
    """A running deployment whose repository was updated to a template that knows a newer Clair."""

    deployment: Deployment
    old_release: str


def add_next_release(template: Path) -> None:
    """Make v2.0.0 of a template: it knows one release more, the newest one's facts under another number."""
    catalogue = template / "extensions" / "data" / "clair.yaml"
    entry = {**facts.release(facts.releases()[-1]), "date": "2026-06-01"}
    text = yaml.safe_dump({NEXT_RELEASE: entry}, default_flow_style=None, sort_keys=False)
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    before = catalogue.read_text(encoding="utf-8")
    catalogue.write_text(before.replace("\nrefused:", f"\n{lines}refused:"), encoding="utf-8")
    repositories.commit(template, "a newer Clair", "v2.0.0")


@pytest.fixture(scope="module")
def updated(engine: Engine, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Updated]:
    """Start a deployment of v1.0.0, load its feeds, commit it as its operator would, and update it to v2.0.0."""
    folder = tmp_path_factory.mktemp("applied")
    template = repositories.template_repository(folder / "template")
    deployment = render_deployment(template, folder / "deployment", engine, {"updater_families": FAMILIES})
    images.ensure(*deployment.facts["images"].values())
    try:
        add_samples(deployment)
        repositories.commit(deployment.root, "deployment")
        clair(deployment, "up")
        wait_for_feeds(deployment)
        old_release = deployment.facts["clair_release"]
        add_next_release(template)
        copier_runs.update(deployment.root)
        yield Updated(deployment, old_release)
    finally:
        deployment.remove()


def image_of(deployment: Deployment, service: str) -> str:
    """Return the name of the image that the container of a service runs."""
    found = deployment.engine.docker("inspect", "--format", "{{.Config.Image}}", deployment.container(service))
    return found.stdout.strip()


def health_of(deployment: Deployment, service: str) -> str:
    """Return what Docker's healthcheck says of the container of a service."""
    found = deployment.engine.docker("inspect", "--format", "{{.State.Health.Status}}", deployment.container(service))
    return found.stdout.strip()


def test_the_repository_is_of_the_new_release(updated: Updated) -> None:
    assert updated.deployment.facts["clair_release"] == NEXT_RELEASE
    assert updated.old_release != NEXT_RELEASE
    assert f"clair:{NEXT_RELEASE}" in (updated.deployment.root / "compose.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("service", ["indexer", "matcher"])
def test_a_restarted_container_is_the_old_release_and_works(updated: Updated, service: str) -> None:
    deployment = updated.deployment

    deployment.engine.docker("restart", deployment.container(service))

    wait_until(lambda: health_of(deployment, service) == "healthy", f"{service} healthy", 60)
    assert image_of(deployment, service).endswith(f":{updated.old_release}")


def test_commands_act_on_the_applied_release(updated: Updated) -> None:
    deployment = updated.deployment

    clair(deployment, "restart", "notifier")
    listed = clair(deployment, "ps").stdout
    clair(deployment, "verify")
    done = scan(deployment, f"{sample_repository(deployment)}/{SAMPLE}")

    assert f"{deployment.name}-notifier" in listed
    assert image_of(deployment, "notifier").endswith(f":{updated.old_release}")
    assert done.returncode == 1
    assert f"clair     {updated.old_release}" in done.stdout
    assert "CVE-2023-6246" in done.stdout


def test_starting_commands_refuse_the_new_release_in_one_line(updated: Updated) -> None:
    deployment = updated.deployment

    for command in ("up", "services", "database"):
        done = clair(deployment, command, check=False)

        sentence, hint = done.stderr.splitlines()
        assert done.returncode == 2, command
        assert sentence.startswith(f"release not applied, Clair {NEXT_RELEASE}: ")
        assert updated.old_release in sentence
        assert hint.startswith("HINT: ")
    assert image_of(deployment, "indexer").endswith(f":{updated.old_release}")


def test_diff_shows_what_is_not_applied(updated: Updated) -> None:
    done = clair(updated.deployment, "diff", check=False)

    assert done.returncode == 1
    assert f"clair:{updated.old_release}" in done.stdout
    assert f"clair:{NEXT_RELEASE}" in done.stdout
    for name in ("psk", "database-indexer"):
        assert (updated.deployment.root / "secrets" / name).read_text() not in done.stdout
