"""The Compose file as Docker Compose reads it: hardening, ports, images, networks, volumes, names, of every answer file."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import yaml

from tests.conftest import Render
from tests.support import answers as answer_files
from tests.support import compose
from tests.support.projects import Project

ANSWER_FILES = answer_files.names()
# Long-running services in the order of a request's data, one-shots behind them, each with its keys in one order: a missing key is visible.
SERVICE_ORDER = ["clair-database", "indexer", "matcher", "notifier", "receiver", "traefik"]
KEY_ORDER = [
    *("<<", "image", "container_name", "command", "entrypoint", "working_dir", "user", "restart"),
    *(
        "stop_signal",
        "stop_grace_period",
        "shm_size",
        "tmpfs",
        "depends_on",
        "environment",
        "volumes",
        "ports",
        "networks",
        "healthcheck",
        "logging",
        "deploy",
    ),
]


def everything(project: Project) -> dict[str, dict[str, Any]]:
    """Return every service of Compose's model."""
    found: dict[str, dict[str, Any]] = compose.model(project.folder)["services"]
    return found


def services(project: Project) -> dict[str, dict[str, Any]]:
    """Return the long-running services of Compose's model."""
    return {name: service for name, service in everything(project).items() if "profiles" not in service}


def one_shots(project: Project) -> dict[str, dict[str, Any]]:
    """Return the services that are only run on request."""
    return {name: service for name, service in everything(project).items() if "profiles" in service}


@pytest.fixture(params=ANSWER_FILES)
def project(request: pytest.FixtureRequest, render: Render) -> Project:
    """Each answer file's project in turn."""
    return render(request.param)


def test_compose_accepts_the_file_without_a_word(project: Project) -> None:
    assert compose.model(project.folder)["name"] == project.facts["deployment_name"]  # model() fails on any complaint


def test_no_variable_is_needed_from_outside(project: Project) -> None:
    assert "${" not in project.text("compose.yaml")


def test_every_service_is_hardened(project: Project) -> None:
    for name, service in everything(project).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] not in ("0", "0:0", "root"), name
        assert not {"privileged", "pid", "ipc", "devices", "network_mode"} & set(service), name


def test_every_service_has_limits_and_rotated_logs(project: Project) -> None:
    for name, service in everything(project).items():
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, name
        assert int(limits["memory"]) >= 100 * 2**20, name
        assert limits["pids"] > 0, name
        rotated = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
        assert service["logging"] == rotated or (service["logging"] == {"driver": "none"} and "profiles" in service), (
            name
        )


def test_long_running_services_restart_and_are_checked(project: Project) -> None:
    for name, service in services(project).items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["stop_grace_period"], name


def test_one_shots_start_only_on_request(project: Project) -> None:
    for name, service in one_shots(project).items():
        assert service["profiles"] == ["tools"], name
        assert service["restart"] == "no", name
        assert "ports" not in service, name


def test_only_the_edge_and_the_operations_port_are_published(project: Project) -> None:
    edge = project.facts["edge"]

    published = [
        (name, port["host_ip"], int(port["published"]), port["target"])
        for name, service in services(project).items()
        for port in service.get("ports", [])
    ]

    assert published == [
        ("traefik", edge["address"], edge["port"], 6060),
        ("traefik", "127.0.0.1", edge["operations_port"], 6061),
    ]


def test_every_image_is_pinned_and_is_one_that_images_lists(project: Project) -> None:
    used = {service["image"] for service in everything(project).values()}

    assert all(re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image) for image in used), used
    assert used == set(project.facts["images"].values())


def test_no_engine_socket_and_no_folder_of_the_host_but_the_applied_state(project: Project) -> None:
    mounts = [mount for service in everything(project).values() for mount in service.get("volumes", [])]

    binds = {mount["source"]: mount.get("read_only") for mount in mounts if mount["type"] == "bind"}

    applied = f"{project.folder}/state/applied/"
    assert all(source.startswith(applied) for source in binds), binds
    assert set(binds.values()) == {True}
    assert "docker.sock" not in project.text("compose.yaml")


def test_container_names_only_where_there_is_one_replica(project: Project) -> None:
    for name, service in services(project).items():
        replicas = project.facts["services"][name]["replicas"]
        named = f"{project.facts['deployment_name']}-{name.removeprefix('clair-')}"
        assert service.get("container_name") == (named if replicas == 1 else None)
        assert service["deploy"].get("replicas", 1) == replicas


def test_model_has_the_services_that_the_commands_know(project: Project) -> None:
    assert set(services(project)) == set(project.facts["services"])


def test_only_the_edge_network_and_the_way_out_are_open(project: Project) -> None:
    networks = compose.model(project.folder)["networks"]

    assert {name for name, network in networks.items() if not network.get("internal")} - {"delivery"} == {
        "edge",
        "egress",
    }


def test_each_service_is_in_the_networks_it_needs(project: Project) -> None:
    members = {name: set(service["networks"]) for name, service in services(project).items()}
    bundled = "clair-database" in members

    assert members["traefik"] == {"edge", "clair"}
    assert {name for name in members if "database" in members[name]} == (
        {"clair-database", *project.clair_services} if bundled else set()
    )
    assert members.get("clair-database", {"database"}) == {"database"}
    assert members.get("receiver", {"notifications", "delivery"}) == {"notifications", "delivery"}
    assert "egress" in members["indexer"]
    assert ("egress" in members["matcher"]) == (not bundled or not project.facts["feeds"]["offline"])


def test_services_wait_for_what_they_need(project: Project) -> None:
    healthy = {"condition": "service_healthy", "required": True}
    needed = {
        "indexer": {"clair-database"},
        "matcher": {"clair-database"},
        "notifier": {"clair-database", "receiver"},
    }

    for name, service in services(project).items():
        expected = needed.get(name, set()) & set(project.facts["services"])
        assert service.get("depends_on", {}) == dict.fromkeys(sorted(expected), healthy), name


def test_password_reaches_clair_by_a_file_only(project: Project) -> None:
    for name in project.clair_services:
        environment = services(project)[name]["environment"]
        assert environment["PGPASSFILE"] == "/config/pgpass"
        assert not [key for key in environment if "PASSWORD" in key]


def test_proxy_is_given_to_those_that_go_out_and_never_without_exceptions(project: Project) -> None:
    proxy = project.facts["proxy"]

    told = {name for name, service in services(project).items() if "HTTPS_PROXY" in (service.get("environment") or {})}

    assert told == set(proxy["services"])
    for name in told:
        environment = services(project)[name]["environment"]
        assert environment["HTTP_PROXY"] == environment["HTTPS_PROXY"] == proxy["url"]
        assert environment["NO_PROXY"].split(",") == proxy["exceptions"]


def test_services_and_their_keys_stand_in_one_order(project: Project) -> None:
    parsed = yaml.compose(project.text("compose.yaml"))
    entries = {key.value: value for key, value in parsed.value}["services"]

    names = [key.value for key, _ in entries.value]
    running = [name for name in SERVICE_ORDER if name in names]
    assert names[: len(running)] == running
    assert set(names[len(running) :]) == set(one_shots(project))
    for name, service in entries.value:
        keys = [key.value for key, _ in service.value]
        assert keys == sorted(keys, key=KEY_ORDER.index), name.value


def test_every_volume_says_what_its_loss_costs(project: Project) -> None:
    lines = project.text("compose.yaml").split("\nvolumes:\n")[1].split("\nnetworks:")[0].splitlines()
    comments = [before for before, line in itertools.pairwise(lines) if re.fullmatch(r"  [a-z-]+:.*", line)]

    assert comments
    assert all("Lost: " in comment for comment in comments)


def test_healthcheck_asks_readyz_with_builtins_of_bash(rendered_default: Project) -> None:
    program, flag, script = services(rendered_default)["indexer"]["healthcheck"]["test"][1:]

    assert (program, flag) == ("bash", "-c")
    assert "/dev/tcp/127.0.0.1/8089" in script
    assert "GET /readyz" in script
    assert not {"curl", "wget", "grep", "cat"} & set(re.findall(r"[a-z]+", script))


def test_postgresql_is_told_settings_that_fit(rendered_default: Project) -> None:
    command = services(rendered_default)["clair-database"]["command"]

    options = dict(item.split("=") for flag, item in zip(command[1::2], command[2::2], strict=True) if flag == "-c")

    assert {"max_connections", "shared_buffers", "effective_cache_size", "work_mem"} <= set(options)


def test_database_password_is_a_file(rendered_default: Project) -> None:
    environment = services(rendered_default)["clair-database"]["environment"]

    assert environment["POSTGRES_PASSWORD_FILE"] == "/run/database/superuser-password"
    assert "scram-sha-256" in environment["POSTGRES_INITDB_ARGS"]


@pytest.mark.parametrize(("major", "target"), [("17", "/var/lib/postgresql/data"), ("18", "/var/lib/postgresql")])
def test_data_volume_stands_where_the_major_keeps_its_data(render: Render, major: str, target: str) -> None:
    database = services(render({"architecture": "amd64", "database_version": major}))["clair-database"]

    mounted = {mount["target"] for mount in database["volumes"] if mount["type"] == "volume"}

    assert mounted == {target}
    assert ("PGDATA" in database["environment"]) == (major != "18")


def test_acme_keeps_its_certificate_in_a_volume(render: Render) -> None:
    volumes = services(render("acme"))["traefik"]["volumes"]

    assert {(mount["source"], mount["target"]) for mount in volumes if mount["type"] == "volume"} == {("acme", "/tmp")}
