"""state/applied: what containers mount, assembled from rendered files, secrets and the operator's files."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ops.errors import Problem
from ops.host.write_files import read_tree
from ops.state.apply_state import apply_state, digest, drop_old_parts, overlay, swap_in
from ops.state.build_parts import PARTS, build_parts, pgpass, top_files
from ops.state.create_secrets import create_missing

from tests.ops.lifecycle.conftest import Clair


@pytest.fixture
def ready(clair: Clair) -> Clair:
    """A project with its secrets."""
    create_missing(clair.deployment)
    return clair


def prepared(clair: Clair) -> Clair:
    """Give a project all its secrets, certificates included."""
    create_missing(clair.deployment)
    for name in ("tls.crt", "tls.key"):
        if clair.deployment.facts["edge"]["tls"] == "files":
            clair.write(f"secrets/{name}", f"{name}\n")
    return clair


def test_each_service_gets_its_own_part(ready: Clair) -> None:
    apply_state(ready.deployment)

    applied = ready.folder / "state/applied"
    folders = sorted(path.name for path in applied.iterdir() if path.is_dir())
    files = sorted(path.name for path in applied.iterdir() if path.is_file())
    assert folders == sorted(PARTS)
    assert files == ["compose.yaml", "copier-answers.yml", "deployment.json", "env", "overlay.json"]
    assert sorted(read_tree(applied / "indexer")) == ["config.yaml", "config.yaml.d/zz-psk.yaml", "pgpass"]
    receiver = sorted(read_tree(applied / "receiver"))
    assert receiver[0] == "psk"
    assert "receiver/__main__.py" in receiver
    assert all(name.startswith("receiver/") and name.endswith(".py") for name in receiver[1:])
    assert sorted(read_tree(applied / "tools")) == ["ca-bundle.pem", "config.yaml", "pgpass"]
    assert sorted(read_tree(applied / "database")) == ["superuser-password"]


def test_a_service_sees_no_password_but_its_own(ready: Clair) -> None:
    apply_state(ready.deployment)

    secrets = {
        name: ready.deployment.secret(f"database-{name}") for name in ("indexer", "matcher", "notifier", "ledger")
    }
    for service in ("indexer", "matcher", "notifier", "traefik", "receiver"):
        seen = b"".join(read_tree(ready.folder / "state/applied" / service).values()).decode()
        assert {name for name, value in secrets.items() if value in seen} == ({service} & set(secrets))


def test_the_key_is_a_drop_in_that_is_read_last(ready: Clair) -> None:
    ready.write("config/indexer/config.yaml.d/50-own.yaml", "log_level: debug\n")

    part = build_parts(ready.deployment, ["indexer"])["indexer"]

    names = sorted(name for name in part if name.startswith("config.yaml.d/"))
    assert names == ["config.yaml.d/50-own.yaml", "config.yaml.d/zz-psk.yaml"]
    assert yaml.safe_load(part["config.yaml.d/zz-psk.yaml"]) == {
        "auth": {"psk": {"key": ready.deployment.secret("psk")}}
    }
    assert part["config.yaml"] == (ready.folder / "config/indexer/config.yaml").read_bytes()


def test_releases_without_drop_ins_get_the_key_in_the_main_file(clair_of: Callable[[str], Clair]) -> None:
    clair = prepared(clair_of("oldest-release"))

    part = build_parts(clair.deployment, ["matcher"])["matcher"]

    rendered = yaml.safe_load((clair.folder / "config/matcher/config.yaml").read_text())
    rendered["auth"]["psk"]["key"] = clair.deployment.secret("psk")
    assert yaml.safe_load(part["config.yaml"]) == rendered
    assert not [name for name in part if name.startswith("config.yaml.d")]


def test_the_mapping_files_of_an_offline_indexer_stand_beside_its_config(clair_of: Callable[[str], Clair]) -> None:
    clair = prepared(clair_of("offline"))

    part = build_parts(clair.deployment, ["indexer"])["indexer"]

    assert {"repository-to-cpe.json", "container-name-repos-map.json"} <= set(part)


def test_the_certificate_goes_to_the_edge_only(clair_of: Callable[[str], Clair]) -> None:
    clair = prepared(clair_of("tls-files"))

    parts = build_parts(clair.deployment)

    assert [name for name, tree in parts.items() if "tls.key" in tree] == ["traefik"]


@pytest.mark.parametrize(
    ("answers", "url", "settings"),
    [
        (
            "webhook",
            "https://hooks.example/?token=hunter2",
            {"webhook": {"target": "https://hooks.example/?token=hunter2"}},
        ),
        ("amqp", "amqps://user:hunter2@mq.example/v", {"amqp": {"uris": ["amqps://user:hunter2@mq.example/v"]}}),
        (
            "stomp",
            "stomp://user:hunter2%40@mq.example:61613",
            {"stomp": {"uris": ["mq.example:61613"], "user": {"login": "user", "passcode": "hunter2@"}}},
        ),
    ],
    ids=["webhook", "amqp", "stomp"],
)
def test_a_delivery_url_with_a_password_reaches_the_notifier_as_a_secret(
    clair_of: Callable[[str], Clair], answers: str, url: str, settings: dict[str, object]
) -> None:
    clair = prepared(clair_of(answers))
    clair.write("secrets/notifier-target", f"{url}\n")

    parts = build_parts(clair.deployment)

    assert json.loads(parts["notifier"]["config.yaml.d/zz-psk.yaml"])["notifier"] == settings
    assert b"hunter2" not in b"".join(content for name in ("indexer", "matcher") for content in parts[name].values())


def test_a_proxy_url_with_a_password_reaches_the_containers_by_the_overlay(clair_of: Callable[[str], Clair]) -> None:
    clair = prepared(clair_of("proxy-mirror"))
    clair.write("secrets/proxy-url", "http://user:pa$$word@proxy.example:3128\n")

    services = overlay(clair.deployment, {})["services"]

    names = [name for name, service in services.items() if "environment" in service]
    assert names == [*clair.deployment.facts["proxy"]["services"], "clairctl"]
    environment = services[names[0]]["environment"]
    # Compose turns $$ into $.
    assert environment["HTTPS_PROXY"] == environment["HTTP_PROXY"] == "http://user:pa$$$$word@proxy.example:3128"
    assert "indexer" in environment["NO_PROXY"].split(",")


def test_the_tools_config_has_both_databases_the_key_and_the_operators_feeds(ready: Clair) -> None:
    ready.write(
        "config/matcher/config.yaml.d/feeds.yaml", "updaters: {config: {alpine: {url: http://mirror.example/}}}\n"
    )

    tools = json.loads(build_parts(ready.deployment, ["tools"])["tools"]["config.yaml"])

    assert tools["indexer"]["connstring"].startswith("host=clair-database ")
    assert tools["matcher"]["indexer_addr"] == "http://indexer:6060/"
    assert tools["auth"]["psk"]["key"] == ready.deployment.secret("psk")
    assert "clairctl" in tools["auth"]["psk"]["iss"]
    assert tools["updaters"]["config"]["alpine"] == {"url": "http://mirror.example/"}


def test_ca_files_reach_the_services_and_the_tools(ready: Clair) -> None:
    ready.write("config/ca/own.crt", "PEM one")
    ready.write("config/ca/.gitkeep", "")

    parts = build_parts(ready.deployment)

    assert parts["ca"] == {"own.crt": b"PEM one"}
    assert parts["tools"]["ca-bundle.pem"] == b"PEM one\n"


def test_a_second_run_touches_nothing(ready: Clair) -> None:
    apply_state(ready.deployment)
    before = {path: path.stat().st_ino for path in (ready.folder / "state/applied").rglob("*")}

    assert apply_state(ready.deployment) == []

    assert before == {path: path.stat().st_ino for path in (ready.folder / "state/applied").rglob("*")}


def test_a_change_swaps_only_its_part_and_keeps_the_old_folder_for_running_containers(ready: Clair) -> None:
    apply_state(ready.deployment)
    applied = ready.folder / "state/applied"
    inodes = {part: (applied / part).stat().st_ino for part in PARTS}
    before = read_tree(applied / "matcher")
    labels = json.loads((applied / "overlay.json").read_text())["services"]

    ready.write("config/matcher/config.yaml.d/own.yaml", "log_level: debug\n")
    changed = apply_state(ready.deployment)

    assert changed == ["matcher", "overlay.json"]
    assert {part for part in PARTS if (applied / part).stat().st_ino != inodes[part]} == {"matcher"}
    kept = list((ready.folder / "state/applied.old").iterdir())
    assert [read_tree(path) for path in kept] == [before]
    assert kept[0].stat().st_ino == inodes["matcher"]
    new_labels = json.loads((applied / "overlay.json").read_text())["services"]
    assert {name for name in labels if labels[name] != new_labels[name]} == {"matcher"}


@pytest.mark.parametrize("lost", [True, False], ids=["state lost", "change undone"])
def test_containers_whose_folder_is_gone_are_recreated_although_the_content_is_the_same(
    ready: Clair, lost: bool
) -> None:
    """A container keeps the folder it was started with: with the same content in another one it would mount nothing."""
    apply_state(ready.deployment)
    applied = ready.folder / "state/applied"
    labels = json.loads((applied / "overlay.json").read_text())["services"]
    # As the mount of a running container does.
    held = [os.open(applied / part, os.O_RDONLY) for part in PARTS]

    if lost:
        shutil.rmtree(ready.folder / "state")
    else:
        own = ready.write("config/matcher/config.yaml.d/own.yaml", "log_level: debug\n")
        apply_state(ready.deployment)
        own.unlink()
    apply_state(ready.deployment)

    new_labels = json.loads((applied / "overlay.json").read_text())["services"]
    for descriptor in held:
        os.close(descriptor)
    assert {name for name in labels if labels[name] != new_labels[name]} == (set(labels) if lost else {"matcher"})


def test_old_folders_go_once_their_containers_are_recreated(ready: Clair) -> None:
    apply_state(ready.deployment)
    ready.write("config/matcher/config.yaml.d/own.yaml", "log_level: debug\n")
    apply_state(ready.deployment)

    drop_old_parts(ready.deployment)

    assert sorted(path.name for path in (ready.folder / "state").iterdir()) == ["applied"]


def test_a_new_superuser_password_recreates_no_container(ready: Clair) -> None:
    apply_state(ready.deployment)
    ready.write("secrets/database-superuser", "new")

    assert apply_state(ready.deployment) == ["database"]


def test_only_the_parts_asked_for_are_applied(ready: Clair) -> None:
    apply_state(ready.deployment, ["database", "tools"])

    folders = sorted(path.name for path in (ready.folder / "state/applied").iterdir() if path.is_dir())
    assert folders == ["database", "tools"]


def test_an_override_is_applied_and_taken_away_again(ready: Clair) -> None:
    override = ready.write("compose.override.yaml", "services: {}\n")
    apply_state(ready.deployment)
    assert (ready.folder / "state/applied/compose.override.yaml").read_text() == "services: {}\n"

    override.unlink()

    assert apply_state(ready.deployment) == ["compose.override.yaml"]
    assert not (ready.folder / "state/applied/compose.override.yaml").exists()


@pytest.mark.parametrize("moment", ["part moved away", "part half written", "before deployment.json"])
def test_a_run_that_was_cut_short_is_finished_by_the_next(ready: Clair, moment: str) -> None:
    deployment, state = ready.deployment, ready.folder / "state"
    apply_state(deployment)
    expected = {part: read_tree(state / "applied" / part) for part in PARTS}
    if moment == "part moved away":
        (state / "applied.old").mkdir()
        (state / "applied/indexer").rename(state / "applied.old/indexer.1")
    elif moment == "part half written":
        ready.write("state/applied.new/indexer/config.yaml", "half")
    else:
        (state / "applied/deployment.json").unlink()

    apply_state(deployment)

    assert {part: read_tree(state / "applied" / part) for part in PARTS} == expected
    assert (state / "applied/deployment.json").read_bytes() == (ready.folder / "ops/deployment.json").read_bytes()
    assert not (state / "applied.new").exists()


@pytest.mark.parametrize("umask", [0o022, 0o077], ids="umask={:03o}".format)
def test_containers_can_read_everything_whatever_the_umask(clair: Clair, umask: int) -> None:
    clair.umask = umask
    clair.write("config/indexer/config.yaml.d/own.yaml", "log_level: debug\n").chmod(0o600)
    clair.docker.containers()
    clair("up", "--timeout", "1")

    state = clair.folder / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for path in (state / "applied").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o444), path


def test_a_missing_secret_changes_nothing(ready: Clair) -> None:
    apply_state(ready.deployment)
    before = read_tree(ready.folder / "state")
    (ready.folder / "secrets/database-matcher").unlink()
    ready.write("config/indexer/config.yaml.d/own.yaml", "log_level: debug\n")

    with pytest.raises(Problem) as caught:
        apply_state(ready.deployment)

    assert caught.value.sentence == "secret missing, secrets/database-matcher: no such file"
    assert read_tree(ready.folder / "state") == before


def test_a_missing_rendered_file_names_the_way_back(ready: Clair) -> None:
    (ready.folder / "compose.yaml").unlink()

    with pytest.raises(Problem) as caught:
        top_files(ready.deployment)

    assert (caught.value.sentence, caught.value.hint) == (
        "file missing, compose.yaml: No such file or directory",
        "git checkout -- compose.yaml",
    )


def test_a_password_file_escapes_what_libpq_would_split(ready: Clair) -> None:
    ready.write("secrets/database-indexer", "a:b\\c")

    assert pgpass(ready.deployment, ["indexer"]) == b"*:*:*:indexer:a\\:b\\\\c\n"


def test_a_digest_tells_names_contents_and_parts_apart() -> None:
    trees = [
        [{"a": b"x"}],
        [{"b": b"x"}],
        [{"a": b"y"}],
        [{"a": b"x"}, {}],
        [{}, {"a": b"x"}],
        [{"a": b"x", "b": b""}],
        [{"a": b"xb"}],
    ]

    assert len({digest(tree) for tree in trees}) == len(trees)


def test_swap_in_takes_any_parts_so_that_a_rollback_can_bring_back_old_ones(ready: Clair, tmp_path: Path) -> None:
    parts, top = build_parts(ready.deployment), top_files(ready.deployment)
    swap_in(ready.deployment, parts, top)
    ready.write("config/matcher/config.yaml.d/own.yaml", "log_level: debug\n")
    apply_state(ready.deployment)

    changed = swap_in(ready.deployment, parts, top)

    assert changed == ["matcher", "overlay.json"]
    assert read_tree(ready.folder / "state/applied/matcher") == parts["matcher"]
