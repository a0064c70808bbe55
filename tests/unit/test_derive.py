"""What `derive` makes of answers: the values that templates print and commands read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.catalogue import Catalogue, load_catalogue
from extensions.derive import derive
from tests.support import answers as answer_files
from tests.support import facts
from tests.support.answers import complete
from tests.support.places import DATA

CATALOGUE = load_catalogue(DATA)
RELEASES = facts.releases()
SIZES = facts.parsed("sizes.yaml")["sizes"]
CLAIR_SERVICES = ("indexer", "matcher", "notifier")

POSTGRES_UNITS = {"MB": 1, "GB": 1024}


def derived(catalogue: Catalogue = CATALOGUE, **answers: Any) -> dict[str, Any]:
    """Return what is derived from these answers and the defaults."""
    return derive(complete(catalogue, answers), catalogue)


def mebibytes(setting: str) -> int:
    """Return a PostgreSQL memory setting such as 2GB in MiB."""
    number, unit = re.fullmatch(r"(\d+)(MB|GB)", setting).groups()  # type: ignore[union-attr]
    return int(number) * POSTGRES_UNITS[unit]


@given(
    version=st.sampled_from(RELEASES),
    size=st.sampled_from(sorted(SIZES)),
    replicas=st.tuples(*[st.integers(1, 16)] * 3),
)
def test_connections_cover_the_pools_of_all_replicas_and_the_tools(
    version: str, size: str, replicas: tuple[int, ...]
) -> None:
    counts = {f"{name}_replicas": count for name, count in zip(CLAIR_SERVICES, replicas, strict=True)}

    values = derived(clair_version=version, deployment_size=size, **counts)

    pools = sum(values["services"][name]["pool"] * values["services"][name]["replicas"] for name in CLAIR_SERVICES)
    assert pools + 10 <= values["database"]["max_connections"]


@pytest.mark.parametrize("version", RELEASES)
def test_pool_is_set_where_the_release_reads_it_and_else_its_fixed_size(version: str) -> None:
    pool = facts.release(version)["pool"]
    service = derived(clair_version=version)["services"]["matcher"]
    words = derived(clair_version=version)["database"]["connection_strings"]["matcher"].split()

    told = [word for word in words if word.startswith("pool_max_conns=")]

    assert told == ([f"pool_max_conns={service['pool']}"] if "setting" in pool else [])
    assert service["pool"] == pool.get("fixed", SIZES["small"]["services"]["matcher"]["pool"])


@pytest.mark.parametrize("size", SIZES)
def test_limits_of_one_replica_of_everything_fit_the_host(size: str) -> None:
    services, host = derived(deployment_size=size)["services"], SIZES[size]["host"]

    memory = sum(service["memory"] for service in services.values())

    assert len(services) == 6
    assert memory <= host["memory_gib"] * 1024 * 0.95  # the host itself needs some
    assert max(service["cpus"] for service in services.values()) <= host["cpus"]


@pytest.mark.parametrize("size", SIZES)
def test_postgresql_settings_fit_its_memory(size: str) -> None:
    memory, settings = SIZES[size]["services"]["clair-database"]["memory"], SIZES[size]["postgres"]

    assert mebibytes(settings["shared_buffers"]) <= memory * 0.4
    assert mebibytes(settings["effective_cache_size"]) <= memory
    assert mebibytes(settings["shared_buffers"]) + 3 * mebibytes(settings["maintenance_work_mem"]) <= memory


def test_further_replicas_need_a_larger_host() -> None:
    memory = SIZES["small"]["services"]["matcher"]["memory"]

    size = derived(matcher_replicas=3)["size"]

    assert size == {"name": "small", "memory_gib": 8 + 2 * memory // 1024, "cpus": 2}


@pytest.mark.parametrize(
    ("version", "sets"),
    [
        ("4.5.0", ["alpine", "aws", "clair.cvss", "debian", "oracle", "rhcc", "rhel", "suse", "ubuntu"]),
        ("4.6.1", ["alpine", "aws", "clair.cvss", "debian", "oracle", "rhcc", "rhel", "suse", "ubuntu"]),
        ("4.7.0", ["alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "rhcc", "rhel", "suse", "ubuntu"]),
        ("4.8.0", ["alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "rhcc", "rhel-vex", "suse", "ubuntu"]),
        ("4.9.0", ["alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "rhel-vex", "suse", "ubuntu"]),
    ],
)
def test_default_families_are_the_release_s_own_set_names(version: str, sets: list[str]) -> None:
    assert derived(clair_version=version)["feeds"]["sets"] == sets


def test_enrichment_is_a_set_of_its_own() -> None:
    assert derived(updater_families=["debian"], enrichment_enabled=False)["feeds"]["sets"] == ["debian"]
    assert derived(updater_families=["debian"], enrichment_enabled=True)["feeds"]["sets"] == ["clair.cvss", "debian"]


def test_one_replica_is_reached_by_its_service_and_more_by_their_container_names() -> None:
    upstreams = derived(deployment_name="scan", matcher_replicas=3)["upstreams"]

    assert upstreams == {
        "indexer": ["http://indexer:6060"],
        "matcher": ["http://scan-matcher-1:6060", "http://scan-matcher-2:6060", "http://scan-matcher-3:6060"],
        "notifier": ["http://notifier:6060"],
    }


def test_classic_container_names_while_there_is_one_replica() -> None:
    services = derived(indexer_replicas=2)["services"]

    assert {name: service["container_name"] for name, service in services.items()} == {
        "clair-database": "clair-database",
        "indexer": None,
        "matcher": "clair-matcher",
        "notifier": "clair-notifier",
        "receiver": "clair-receiver",
        "traefik": "clair-traefik",
    }


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ({}, set()),
        ({"notifier_delivery": "none"}, {"notifier", "receiver"}),
        ({"notifier_delivery": "webhook", "notifier_target": "https://hooks.example.com"}, {"receiver"}),
        ({"database_mode": "external", "database_host": "db"}, {"clair-database"}),
    ],
    ids=["bundled", "none", "webhook", "external"],
)
def test_services_that_the_answers_leave_out(answers: dict[str, Any], missing: set[str]) -> None:
    everything = set(derived()["services"])

    assert set(derived(**answers)["services"]) == everything - missing


@pytest.mark.parametrize("mirror", ["reg.example.com/m", "reg.example.com/m/"])
def test_mirror_keeps_the_repository_s_path(mirror: str) -> None:
    images = derived(image_mirror=mirror, clair_version="4.9.0")["images"]

    assert images["clair"] == "reg.example.com/m/projectquay/clair:4.9.0"
    assert images["clair-database"].startswith("reg.example.com/m/library/postgres:17.")


def test_images_without_a_mirror_name_their_registry() -> None:
    images = derived()["images"]

    assert {image.split("/")[0] for image in images.values()} == {"quay.io", "docker.io"}


@pytest.mark.parametrize("major", facts.parsed("components.yaml")["postgres"]["majors"])
def test_postgresql_major_brings_its_tag_and_its_data_folder(major: str) -> None:
    entry = facts.parsed("components.yaml")["postgres"]["majors"][major]

    values = derived(database_version=major)

    assert values["images"]["clair-database"].endswith(f"postgres:{entry['tag']}")
    assert values["database"]["data"] == entry["data"]


def test_needed_issuers_come_with_the_operator_s_own() -> None:
    assert derived(auth_issuers=[])["issuers"] == ["clairctl", "clair-notifier"]
    assert derived(auth_issuers=["robot"], quay_enabled=True)["issuers"] == [
        "clairctl",
        "clair-notifier",
        "robot",
        "quay",
    ]


@pytest.mark.parametrize(
    ("answers", "url"),
    [
        ({}, "http://127.0.0.1:6060"),
        ({"edge_address": "0.0.0.0", "edge_port": 80}, "http://127.0.0.1"),
        ({"edge_address": "::", "edge_port": 7070}, "http://[::1]:7070"),
        ({"edge_address": "2001:db8::1"}, "http://[2001:db8::1]:6060"),
        ({"edge_tls": "files", "edge_hostname": "clair.example.com"}, "https://clair.example.com:6060"),
        ({"edge_tls": "files", "edge_hostname": "clair.example.com", "edge_port": 443}, "https://clair.example.com"),
    ],
)
def test_edge_is_reached_by(answers: dict[str, Any], url: str) -> None:
    assert derived(**answers)["edge"]["url"] == url


def test_services_replicas_and_the_external_database_are_exempt_from_the_proxy() -> None:
    values = derived(
        proxy_url="http://proxy:3128",
        proxy_exceptions=["10.0.0.0/8"],
        matcher_replicas=2,
        database_mode="external",
        database_host="db.example.com",
    )

    services = {"indexer", "matcher", "notifier", "receiver", "traefik", "clair-matcher-1", "clair-matcher-2"}
    exceptions = values["proxy"]["exceptions"]
    assert {"localhost", "127.0.0.1", "::1", *services, "db.example.com", "10.0.0.0/8"} <= set(exceptions)
    assert len(exceptions) == len(set(exceptions))


@pytest.mark.parametrize(
    ("answers", "services"),
    [
        ({}, ["indexer", "matcher", "receiver"]),
        ({"feeds_offline": True}, ["indexer", "receiver"]),
        ({"notifier_delivery": "webhook", "notifier_target": "https://hooks"}, ["indexer", "matcher", "notifier"]),
        ({"edge_tls": "acme", "edge_hostname": "clair.example.com"}, ["indexer", "matcher", "receiver", "traefik"]),
    ],
    ids=["default", "offline", "webhook", "acme"],
)
def test_proxy_is_for_the_services_that_go_out(answers: dict[str, Any], services: list[str]) -> None:
    assert derived(proxy_url="http://proxy:3128", **answers)["proxy"]["services"] == services
    assert derived(**answers)["proxy"]["services"] == []


@pytest.mark.parametrize(
    ("endpoint", "client"),
    [
        ("http://collector:4320", {"endpoint": "collector:4320", "insecure": True}),
        ("https://collector/otlp/", {"endpoint": "collector:4318", "insecure": False, "url_path": "/otlp"}),
        ("http://[2001:db8::1]", {"endpoint": "[2001:db8::1]:4318", "insecure": True}),
    ],
)
def test_trace_endpoint_is_split_as_clair_takes_it(endpoint: str, client: dict[str, Any]) -> None:
    trace = derived(tracing_endpoint=endpoint)["trace"]

    assert trace["name"] == "otlp"
    assert trace["otlp"] == {"http": client}


def test_stomp_target_is_host_and_port() -> None:
    values = derived(notifier_delivery="stomp", notifier_target="stomp://broker.example.com:61613")

    assert values["notifier"]["target"] == "broker.example.com:61613"


def test_callback_is_inside_for_the_bundled_receiver_and_the_edge_for_others() -> None:
    outside = derived(notifier_delivery="webhook", notifier_target="https://hooks.example.com", edge_port=7070)

    assert derived()["notifier"]["callback"] == "http://notifier:6060/notifier/api/v1/notification/"
    assert outside["notifier"]["callback"] == "http://127.0.0.1:7070/notifier/api/v1/notification/"


@pytest.mark.parametrize("quay", [False, True])
@pytest.mark.parametrize("delivery", ["bundled", "none"])
def test_only_quay_gets_deletes_and_nobody_a_notifier_that_is_not_there(quay: bool, delivery: str) -> None:
    routes = derived(quay_enabled=quay, notifier_delivery=delivery)["edge"]["routes"]

    deletes = {name for name, route in routes.items() if "DELETE" in route["rule"]}
    expected = {"index-report-delete"} | ({"notification-delete"} if delivery != "none" else set())
    assert deletes == (expected if quay else set())
    assert any(route["service"] == "notifier" for route in routes.values()) == (delivery != "none")


@pytest.mark.parametrize("name", answer_files.names())
def test_derived_values_are_json(name: str) -> None:
    values = derived(**answer_files.named(name))

    assert json.loads(json.dumps(values)) == values


def test_commands_get_the_allowed_keys_of_the_services_there_are() -> None:
    commands = derived(notifier_delivery="none", clair_version="4.7.0")["commands"]

    assert set(commands["release"]["keys"]) == {"indexer", "matcher"}
    assert "indexer.connstring" in commands["release"]["keys"]["indexer"]
    assert not any(key.startswith("matcher") for key in commands["release"]["keys"]["indexer"])
