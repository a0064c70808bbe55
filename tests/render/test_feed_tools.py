"""The containers that export and import feeds, as they are rendered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Render
from tests.support import facts

EXTERNAL = {"database_mode": "external", "database_host": "db.example.com"}


def services(render: Render, **answers: Any) -> dict[str, Any]:
    """Return the services of a rendered compose.yaml."""
    found: dict[str, Any] = render(answers).yaml("compose.yaml")["services"]
    return found


@pytest.mark.parametrize("name", ["clairctl", "feeds-import"])
def test_a_feed_tool_is_a_hardened_one_shot_with_limits(render: Render, name: str) -> None:
    service = services(render)[name]

    assert service["profiles"] == ["tools"]
    assert service["restart"] == "no"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "65534:65534"
    assert service["deploy"]["resources"]["limits"] == {"cpus": "2", "memory": "4096M", "pids": 256}
    assert (service["environment"]["GOMAXPROCS"], service["environment"]["GOMEMLIMIT"]) == ("2", "3686MiB")


@pytest.mark.parametrize("name", ["clairctl", "feeds-import"])
def test_feeds_lie_on_a_disk_that_goes_with_the_container_and_in_no_log(render: Render, name: str) -> None:
    service = services(render)[name]

    assert service["environment"]["TMPDIR"] == "/var/tmp"
    assert {"type": "volume", "target": "/var/tmp"} in service["volumes"]
    assert service["logging"] == {"driver": "none"}


@pytest.mark.parametrize("version", facts.releases())
def test_packs_are_imported_by_a_clairctl_that_can(render: Render, version: str) -> None:
    found = services(render, clair_version=version)

    imports = facts.release(version)["import_release"] or version
    assert found["feeds-import"]["image"].endswith(f":{imports}")
    assert found["clairctl"]["image"].endswith(f":{version}")


@pytest.mark.parametrize(
    ("answers", "networks"), [({}, ["database"]), (EXTERNAL, ["egress"])], ids=["bundled", "external"]
)
def test_the_import_reaches_the_database_and_nothing_else(
    render: Render, answers: dict[str, Any], networks: list[str]
) -> None:
    assert services(render, **answers)["feeds-import"]["networks"] == networks


def test_an_export_goes_out_by_the_proxy(render: Render) -> None:
    environment = services(render, proxy_url="http://proxy.example.com:3128")["clairctl"]["environment"]

    assert environment["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert "indexer" in environment["NO_PROXY"].split(",")
    assert "HTTPS_PROXY" not in services(render)["clairctl"]["environment"]


def test_the_catalogue_says_which_feed_only_a_start_fetches(render: Render) -> None:
    catalogue = render({}).facts["feeds"]["catalogue"]

    assert [name for name, family in catalogue.items() if family.get("fetched_at_start")] == ["osv"]
