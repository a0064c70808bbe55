"""The config of each Clair service: only what it reads, only what its release knows, what the answers ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Render
from tests.support import answers as answer_files
from tests.support import clair_config
from tests.support.projects import Project


@pytest.fixture(params=answer_files.names())
def project(request: pytest.FixtureRequest, render: Render) -> Project:
    """Each answer file's project in turn."""
    return render(request.param)


def test_every_config_holds_only_what_its_service_and_release_read(project: Project) -> None:
    complaints = [line for service in project.clair_services for line in clair_config.complaints(project, service)]

    assert complaints == []


def test_planted_mistakes_are_found(rendered_default: Project, tmp_path: Any) -> None:
    bad = rendered_default.text("config/matcher/config.yaml").replace("matcher:", "indexer: {}\nmatcher:\n  run: ''", 1)
    bad = bad.replace("user=matcher", "user=matcher password=x").replace("iss:", "key: c2VjcmV0\n    iss:")
    (tmp_path / "config" / "matcher").mkdir(parents=True)
    (tmp_path / "config" / "matcher" / "config.yaml").write_text(bad, encoding="utf-8")
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "deployment.json").write_text(json.dumps(rendered_default.facts), encoding="utf-8")

    complaints = clair_config.complaints(Project(tmp_path), "matcher")

    assert [line.split(":")[1].split(" ")[1] for line in complaints] == ["matcher.run", "indexer", "holds", "holds"]


def test_services_share_address_issuers_and_metrics(project: Project) -> None:
    configs = [project.config(name) for name in project.clair_services]

    for config in configs:
        assert config["http_listen_addr"] == ":6060"
        assert config["introspection_addr"] == ":8089"
        assert config["metrics"] == {"name": "prometheus"}
        assert config["auth"] == {"psk": {"iss": project.facts["auth"]["issuers"]}}
        assert config.get("trace") == configs[0].get("trace")


def test_each_service_has_its_own_role_and_database(project: Project) -> None:
    database = project.facts["database"]

    for name in project.clair_services:
        words = dict(word.split("=", 1) for word in project.config(name)[name]["connstring"].split())
        assert words.pop("pool_max_conns", "1").isdigit()
        assert words == {
            "host": database["host"],
            "port": str(database["port"]),
            "dbname": name,
            "user": name,
            "sslmode": database["sslmode"],
        }


def test_services_reach_one_another_by_full_urls(project: Project) -> None:
    addresses = [project.config("matcher")["matcher"]["indexer_addr"]]
    if "notifier" in project.clair_services:
        notifier = project.config("notifier")["notifier"]
        addresses += [notifier["indexer_addr"], notifier["matcher_addr"]]

    assert addresses in (
        ["http://indexer:6060/"],
        ["http://indexer:6060/", "http://indexer:6060/", "http://matcher:6060/"],
    )


def test_notifier_has_exactly_one_delivery(project: Project) -> None:
    delivery = project.facts["notifier_delivery"]
    section = {"bundled": "webhook", "none": None}.get(delivery, delivery)

    configured = [name for name in project.clair_services if name == "notifier"]

    assert bool(configured) == (delivery != "none")
    if configured:
        notifier = project.config("notifier")["notifier"]
        assert {"webhook", "amqp", "stomp"} & set(notifier) == {section}
        assert notifier[section]["callback"].endswith("/notifier/api/v1/notification/")


def test_no_feed_runs_offline_and_the_indexer_has_its_mapping_files(render: Render) -> None:
    project = render("offline")
    scanner = project.config("indexer")["indexer"]["scanner"]

    files = {
        scanner["repo"]["rhel-repository-scanner"]["repo2cpe_mapping_file"],
        scanner["package"]["rhel_containerscanner"]["name2repos_mapping_file"],
    }

    assert project.config("matcher")["matcher"]["disable_updaters"] is True
    assert "airgap" not in project.config("indexer")["indexer"]  # it would block registries with public addresses
    assert files == {"/config/repository-to-cpe.json", "/config/container-name-repos-map.json"}
    for file in files:
        assert json.loads(project.text(file.replace("/config", "config/indexer"))) == {"data": {}}


def test_connected_indexer_has_no_mapping_files(rendered_default: Project) -> None:
    assert "scanner" not in rendered_default.config("indexer")["indexer"]
    assert sorted(path.name for path in (rendered_default.folder / "config" / "indexer").iterdir()) == ["config.yaml"]


def test_webhook_target_is_the_operator_s(render: Render) -> None:
    webhook = render("webhook").config("notifier")["notifier"]["webhook"]

    assert webhook["target"] == "https://hooks.example.com/clair"


def test_amqp_and_stomp_brokers_are_named_as_clair_takes_them(render: Render) -> None:
    amqp = render("amqp").config("notifier")["notifier"]["amqp"]
    stomp = render("stomp").config("notifier")["notifier"]["stomp"]

    assert amqp["uris"] == ["amqps://broker.example.com:5671/vhost"]
    assert stomp["uris"] == ["broker.example.com:61613"]


def test_quay_is_an_issuer_where_it_is_enabled(render: Render, rendered_default: Project) -> None:
    assert "quay" in render("quay").facts["auth"]["issuers"]
    assert "quay" not in rendered_default.facts["auth"]["issuers"]


def test_traces_go_to_the_collector(render: Render) -> None:
    trace = render("tracing").config("matcher")["trace"]

    assert trace["name"] == "otlp"
    assert trace["otlp"]["http"]["endpoint"] == "collector.example.com:4318"


def test_configs_of_two_services_differ_only_in_their_own_sections(rendered_default: Project) -> None:
    indexer, matcher = rendered_default.config("indexer"), rendered_default.config("matcher")

    shared = set(indexer) & set(matcher)

    assert {key for key in shared if indexer[key] != matcher[key]} == set()
    assert set(indexer) ^ set(matcher) == {"indexer", "matcher", "updaters"}
