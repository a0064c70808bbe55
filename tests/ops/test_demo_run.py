"""The demo around the deployment: its answers, its Compose override, its verdict, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import deployment, engine, outcome, run, sample_feed

PROJECT = Path(run.__file__).resolve().parent.parent
FACTS: dict[str, Any] = {"deployment_name": "clair-demo-1", "images": {"receiver": "registry.example/python:3.13"}}
MODEL: dict[str, Any] = {
    "services": {name: {"deploy": {"resources": {"limits": {"cpus": "2"}}}} for name in ("indexer", "traefik")}
}

# Answers like a Docker with one container, volume and network of every project, and writes down what it is asked.
FAKE_DOCKER = """#!/bin/sh
echo "$*" >> "$LOG"
case "$*" in
  *--filter*)
    kind=$1
    grep -q "^$kind rm\\|^rm .*c1" "$LOG" && [ "$kind" != ps ] && exit 0
    [ "$kind" = ps ] && grep -q "^rm " "$LOG" && exit 0
    echo "$(printf %.1s "$kind")1" ;;
  info*) echo 2 ;;
esac
"""


@pytest.fixture
def docker_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a Docker that is none was asked."""
    script, log = tmp_path / "docker", tmp_path / "log"
    script.write_text(FAKE_DOCKER)
    script.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(script))
    monkeypatch.setenv("LOG", str(log))
    return log


def report(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return a scan's JSON with the expected findings, some of them changed or (None) left out."""
    findings = []
    for one in sorted(sample_feed.expected_findings(run.SAMPLE)):
        finding = {"package": one.package, "id": one.id, "severity": one.severity, "fixed": one.fixed or None}
        findings.append(finding | changes.get(one.package, {}))
    return {"findings": findings}


def test_answers_change_the_name_the_ports_and_the_families_only() -> None:
    answers = deployment.answers("clair-demo-1")

    assert set(answers) == {"deployment_name", "edge_port", "operations_port", "updater_families"}
    assert answers["edge_port"] != answers["operations_port"]


def test_further_answers_are_split_like_a_shell_line() -> None:
    answers = deployment.answers("clair-demo-1", "clair_version=4.8.0 edge_hostname='a b'")

    assert (answers["clair_version"], answers["edge_hostname"]) == ("4.8.0", "a b")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("clair_version", 'DATA unreadable, clair_version: no key=value, as in DATA="clair_version=4.8.0"'),
        ("a='b", "DATA unreadable, a='b: No closing quotation"),
    ],
)
def test_unreadable_answers_are_wrong_use(data: str, sentence: str) -> None:
    with pytest.raises(outcome.DemoError) as caught:
        deployment.answers("clair-demo-1", data)

    assert (str(caught.value), caught.value.code) == (sentence, 2)


def test_indexer_and_matcher_wait_for_the_sample_server() -> None:
    services = deployment.override(FACTS, MODEL, cpus=2)["services"]

    for name in ("indexer", "matcher"):
        assert services[name] == {"depends_on": {"demo": {"condition": "service_healthy"}}}


def test_limits_above_the_engines_cpus_are_lowered_to_them() -> None:
    services = deployment.override(FACTS, MODEL, cpus=1)["services"]

    for name in ("indexer", "traefik"):
        assert services[name]["deploy"] == {"resources": {"limits": {"cpus": "1"}}}
    assert "depends_on" in services["indexer"]


def test_the_sample_server_is_hardened_like_the_other_services_and_publishes_no_port() -> None:
    server = deployment.override(FACTS, MODEL, cpus=2)["services"]["demo"]

    assert (server["read_only"], server["cap_drop"], server["user"]) == (True, ["ALL"], "65534:65534")
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in server


def test_samples_are_readable_for_the_container_under_any_umask(tmp_path: Path) -> None:
    for service in ("indexer", "matcher"):
        (tmp_path / "config" / service).mkdir(parents=True)
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(MODEL))
    before = os.umask(0o077)
    try:
        deployment.add_samples(tmp_path, {**FACTS, "architecture": "amd64", "clair_release": "4.9.0"}, cpus=2)
    finally:
        os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "demo").rglob("*")}
    assert modes == {0o644, 0o755}


def test_the_expected_report_has_no_difference() -> None:
    assert run.compare(report(), "4.9.0") == []


def test_another_severity_is_a_difference() -> None:
    differences = run.compare(report(liblzma5={"severity": "High"}), "4.9.0")

    assert differences == [
        "missing: liblzma5 CVE-2025-31115 Unknown 5.4.1-1",
        "not expected: liblzma5 CVE-2025-31115 High 5.4.1-1",
    ]


def test_removing_takes_what_carries_the_projects_label_and_the_folder(docker_log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clair-demo-1-x"
    (folder / "state").mkdir(parents=True)

    assert engine.remove("clair-demo-1", folder, outcome.Progress())

    asked = docker_log.read_text().splitlines()
    label = "--filter label=com.docker.compose.project=clair-demo-1"
    assert asked[:6] == [
        f"ps --all --quiet {label}",
        "rm --force --volumes p1",
        f"volume ls --quiet {label}",
        "volume rm --force v1",
        f"network ls --quiet {label}",
        "network rm n1",
    ]
    assert not folder.exists()


def test_an_interrupt_ends_a_running_command_with_all_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sh -c 'echo $$ > {pid_file}; sleep 60'; true"

    def interrupt(*_: object) -> None:
        raise outcome.Interrupted(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(outcome.Interrupted):
            engine.run(["sh", "-c", script], capture=True)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert gone(int(pid_file.read_text()))


def gone(pid: int) -> bool:
    """True once there is no such process, or only its corpse."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def demo(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo.run"],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_docker_nothing_is_made_and_one_line_says_why(tmp_path: Path) -> None:
    done = demo(DOCKER="/nowhere/docker", TMPDIR=str(tmp_path))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "program missing, /nowhere/docker: No such file or directory"
    assert not list(tmp_path.iterdir())


def test_without_a_running_engine_dockers_own_line_is_shown(tmp_path: Path) -> None:
    script = tmp_path / "docker"
    script.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    script.chmod(0o755)

    done = demo(DOCKER=str(script))

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "docker not usable, docker info: Cannot connect to the Docker daemon"


def test_a_refused_answer_is_one_line_and_the_folder_is_removed(docker_log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()

    done = demo(DATA="clair_version=4.6.1", TMPDIR=str(folder))

    assert done.returncode == 2
    assert "release not fit, 4.6.1: the demo needs drop-in files, 4.7.0 or newer" in done.stderr.splitlines()
    assert not list(folder.iterdir())
    assert "up" not in docker_log.read_text()
