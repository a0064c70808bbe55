"""`make demo`: the whole job in about a minute, from rendering to a report with findings, then everything is removed.

Renders this checkout's defaults into a temporary folder, adds one container that serves a sample feed and sample images
(`serve.py`), starts it all with the rendered `./clair up`, scans a sample image with `./clair scan` and compares the
report with what the sample feed must lead to. Removes containers, volumes, networks and the folder in every case.

The sample image is named by the container's own address: the one name under which both this machine and the indexer
reach it by plain HTTP, which Clair uses for private addresses only.

The report goes to standard output, progress to standard error.
Exit codes: 0 the report has the expected findings; 1 it has others; 2 this machine or an option is not fit;
3 undecided; 130 and 143 interrupted by SIGINT and SIGTERM.
Environment: KEEP=1 keeps everything and says where; DATA="key=value ..." are further answers, as for `make new`;
DOCKER replaces `docker`; TMPDIR is where the folder is made.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import ipaddress
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from demo import sample_feed, sample_image

ROOT = Path(__file__).resolve().parent.parent
SERVE = Path(__file__).resolve().parent / "serve.py"

SAMPLE = "sample/debian:12"
REPOSITORY = "repository"  # what is rendered, inside the demo's own temporary folder
SERVICE = "demo"
NETWORK = "egress"  # the one that indexer and matcher are both in
PORT = 5000
STAND_IN_LABEL = "clair-template.stand-in"  # tests/doubles/images/build.py puts it on every image it makes

FEED_SECONDS = 180.0  # for the updaters; about 15 s are needed, at ten requests a second
POLL_SECONDS = 1.0
REACH_SECONDS = 10.0
INTERRUPT_SECONDS = 10.0

NO = 1
USAGE = 2
UNDECIDED = 3


class DemoError(Exception):
    """Why the demo ended early: one sentence, and the exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class Interrupted(Exception):
    """SIGINT or SIGTERM arrived; the exit code is 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Progress:
    """Prints plain lines with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print one line on standard error."""
        print(f"[{self.seconds():5.1f} s] {text}", file=sys.stderr, flush=True)


def docker_program() -> list[str]:
    """Return the words that call Docker, as DOCKER replaces them."""
    return shlex.split(os.environ.get("DOCKER", "")) or ["docker"]


def run(
    command: Sequence[str],
    folder: Path | None = None,
    capture: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its result; with `capture` its output as text, else it goes to stderr.

    It runs in a session of its own: on Ctrl-C it and all its children are told to end before anything is removed.
    Raises DemoError (2) if the program is missing.
    """
    output = subprocess.PIPE if capture else sys.stderr
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE if capture else None,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise DemoError(f"program missing, {command[0]}: {error.strerror}", USAGE) from error
    try:
        stdout, stderr = process.communicate()
    except BaseException:
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=INTERRUPT_SECONDS)
                break
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def docker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGS` and return its result, whatever it is."""
    return run([*docker_program(), *args], capture=True)


def check_docker() -> None:
    """Raise DemoError if there is no Docker engine to work with."""
    done = docker("version", "--format", "{{.Server.Version}}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise DemoError(f"docker not usable, docker version: {lines[-1]}", USAGE)


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports of the loopback address."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def answers(name: str, chosen: str = "") -> dict[str, Any]:
    """Return the answers that differ from the defaults: a name and ports of its own, families with a sample.

    `chosen` are further ones, `key=value`, split like a shell line. Raises DemoError (2) if they cannot be read.
    """
    try:
        items = [item.partition("=") for item in shlex.split(chosen)]
    except ValueError as error:
        raise DemoError(f"DATA unreadable, {chosen}: {error}", USAGE) from error
    if wrong := [key for key, separator, _ in items if not separator]:
        raise DemoError(f'DATA unreadable, {wrong[0]}: no key=value, as in DATA="clair_version=4.8.0"', USAGE)
    edge_port, operations_port = free_ports(2)
    return {
        "deployment_name": name,
        "edge_port": edge_port,
        "operations_port": operations_port,
        "updater_families": ["alpine", "debian"],
        **{key: value for key, _, value in items},
    }


def render(folder: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Render this checkout into `folder` and return its deployment.json; the folder above is used, too.

    Raises DemoError (2) with the template's sentence if it refuses an answer.
    """
    # Takes a second to load: here an interrupt of that second is handled like any other.
    from copier import run_copy
    from copier.errors import CopierError, DirtyLocalWarning

    # Copier clones this checkout to a temporary folder, which an interrupt can make it forget.
    tempfile.tempdir = str(folder.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DirtyLocalWarning)
        try:
            run_copy(
                str(ROOT),
                folder,
                data=dict(data),
                defaults=True,
                unsafe=True,
                quiet=True,
                vcs_ref="HEAD" if (ROOT / ".git").exists() else None,
            )
        except (CopierError, ValueError) as error:
            raise DemoError(str(error), USAGE) from error
        finally:
            tempfile.tempdir = None
    facts: dict[str, Any] = json.loads((folder / "ops" / "deployment.json").read_text(encoding="utf-8"))
    if not facts["release"]["drop_ins"]:
        raise DemoError(
            f"release not fit, {facts['clair_release']}: the demo needs drop-in files, 4.7.0 or newer", USAGE
        )
    return facts


def override(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return compose.override.yaml: the sample server, which indexer and matcher wait for.

    They must: both ask for their feed at their start, and if that fails not again for hours.
    """
    health = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}/healthz', timeout=3)"
    server = {
        "image": facts["images"]["receiver"],
        "container_name": f"{facts['deployment_name']}-{SERVICE}",
        "command": ["python3", "/srv/serve.py", "--data", "/srv", "--port", str(PORT)],
        "user": "65534:65534",
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": "10s",
        "tmpfs": ["/tmp:mode=1777,size=16m"],  # noqa: S108 - a mount, not a file
        "environment": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        "volumes": [{"type": "bind", "source": f"./{SERVICE}", "target": "/srv", "read_only": True}],
        "networks": [NETWORK],
        "healthcheck": {
            "test": ["CMD", "python3", "-c", health],
            "interval": "1s",
            "timeout": "5s",
            "retries": 6,
            "start_period": "30s",
        },
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
        "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "128M", "pids": 128}}},
    }
    waiting = {one: {"depends_on": {SERVICE: {"condition": "service_healthy"}}} for one in ("indexer", "matcher")}
    return {"services": {SERVICE: server, **waiting}}


def add_samples(folder: Path, facts: Mapping[str, Any]) -> dict[str, sample_image.Artifact]:
    """Write feed, images, server, drop-ins and override into the rendered repository; return the images."""
    served = folder / SERVICE
    sample_feed.write_feed(served / "feed")
    images = sample_image.write_registry(served / "registry", facts["architecture"])
    shutil.copyfile(SERVE, served / "serve.py")
    # The container's user is nobody, and the umask may be 077.
    for path in (served, *served.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    url = f"http://{SERVICE}:{PORT}/feed"
    settings = {
        "indexer": sample_feed.indexer_settings(url),
        "matcher": sample_feed.matcher_settings(url, facts["clair_release"]),
    }
    for service, content in settings.items():
        drop_ins = folder / "config" / service / "config.yaml.d"
        drop_ins.mkdir(exist_ok=True)
        (drop_ins / "demo.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "compose.override.yaml").write_text(yaml.safe_dump(override(facts), sort_keys=False), encoding="utf-8")
    return images


def describe_images(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per image: whether it came from a registry or was made on this machine."""
    template = f'{{{{index .Config.Labels "{STAND_IN_LABEL}"}}}}|{{{{join .RepoDigests " "}}}}'
    for reference in sorted(set(facts["images"].values())):
        done = docker("image", "inspect", "--format", template, reference)
        stand_in, _, digests = done.stdout.strip().partition("|")
        if done.returncode != 0:
            yield f"{reference}: not on this machine"
        elif stand_in and stand_in != "<no value>":
            yield f"{reference}: stand-in ({stand_in})"
        elif digests:
            yield f"{reference}: from its registry"
        else:
            yield f"{reference}: made or loaded on this machine"


def start_server(name: str, folder: Path) -> None:
    """Start the sample server before anything else: `./clair up` starts the services that the template knows.

    Raises DemoError (3) with Compose's last line.
    """
    compose = shlex.split(os.environ.get("COMPOSE", "")) or [*docker_program(), "compose"]
    files = ["--file", str(folder / "compose.yaml"), "--file", str(folder / "compose.override.yaml")]
    project = ["--project-name", name, "--project-directory", str(folder), *files]
    done = run([*compose, *project, "up", "--detach", "--wait", "--no-deps", SERVICE], folder, capture=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise DemoError(f"sample server not started, {name}-{SERVICE}: {lines[-1].strip()}", UNDECIDED)


def start(folder: Path) -> None:
    """Bring the deployment up; raises DemoError if that fails, after the command's own lines."""
    done = run(["./clair", "up"], folder, environment={"ALLOW_SMALL": "1"})
    if done.returncode != 0:
        code = done.returncode if done.returncode in (USAGE, UNDECIDED) else UNDECIDED
        raise DemoError(f"deployment not started, ./clair up: exit code {done.returncode}", code)


def server_address(name: str) -> str:
    """Return the sample server's `address:port`, once this machine reaches it.

    Raises DemoError (2) if Clair would not use plain HTTP for the address, or if it cannot be reached from here.
    """
    container = f"{name}-{SERVICE}"
    done = docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
    if done.returncode != 0:
        raise DemoError(f"sample server missing, {container}: {done.stderr.strip()}", UNDECIDED)
    found = [one["IPAddress"] for one in json.loads(done.stdout).values() if one["IPAddress"]]
    if not found or not ipaddress.ip_address(found[0]).is_private:
        raise DemoError(
            f"sample server unusable, {container}: no private IPv4 address, Clair would ask by HTTPS", USAGE
        )
    limit = time.monotonic() + REACH_SECONDS
    while True:
        connection = http.client.HTTPConnection(found[0], PORT, timeout=2)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return f"{found[0]}:{PORT}"
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > limit:
                reason = "containers are reached by their address only from the engine's own Linux machine"
                raise DemoError(f"sample server unreachable, {found[0]}:{PORT}: {error}; {reason}", USAGE) from error
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)


def scan(folder: Path, reference: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `./clair scan` on an image and return its result."""
    host = reference.partition(":")[0]
    proxies = {name: ",".join(filter(None, (os.environ.get(name, ""), host))) for name in ("NO_PROXY", "no_proxy")}
    return run(["./clair", "scan", reference, *options], folder, capture=True, environment=proxies)


def wait_for_decision(folder: Path, reference: str, progress: Progress) -> dict[str, Any]:
    """Scan until the answer is decided, which it is once the feed is there; return the report as JSON.

    Exit code 1, findings, is the answer that is hoped for. Raises DemoError: 2 as soon as the command says that it is
    used wrongly, 3 if nothing is decided within FEED_SECONDS.
    """
    limit = time.monotonic() + FEED_SECONDS
    shown = ""
    while True:
        done = scan(folder, reference, "--format", "json")
        lines = done.stderr.strip().splitlines() or ["no message"]
        if done.returncode in (0, NO):
            report: dict[str, Any] = json.loads(done.stdout)
            return report
        if done.returncode != UNDECIDED or time.monotonic() > limit:
            code = USAGE if done.returncode == USAGE else UNDECIDED
            raise DemoError(f"scan not decided, {reference}: {lines[0]}", code)
        if lines[0] != shown:
            shown = lines[0]
            progress.say(f"  not yet: {shown}")
        time.sleep(POLL_SECONDS)


def compare(report: Mapping[str, Any], release: str) -> list[str]:
    """Return one line per difference between a report and what the sample feed must lead to."""
    expected = sample_feed.expected_findings(SAMPLE, release=release)
    found = {
        sample_feed.Finding(one["package"], one["id"], one["severity"], one["fixed"] or "")
        for one in report["findings"]
    }
    missing = [f"missing: {' '.join(one)}" for one in sorted(expected - found)]
    return missing + [f"not expected: {' '.join(one)}" for one in sorted(found - expected)]


def remove(name: str, workspace: Path, progress: Progress) -> bool:
    """Remove every container, volume and network of the project `name`, and its folder; false if something stays.

    By label and not by the Compose file, which may be what is broken. Twice, because an engine may still be working on
    a call that was just interrupted.
    """
    label = f"label=com.docker.compose.project={name}"
    kinds = {
        "containers": (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
        "volumes": (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
        "networks": (("network", "ls", "--quiet"), ("network", "rm")),
    }
    left: list[str] = []
    for attempt in range(3):
        left = []
        for kind, (listing, removing) in kinds.items():
            found = docker(*listing, "--filter", label).stdout.split()
            if found and docker(*removing, *found).returncode != 0:
                left.append(kind)
        if not left and attempt:
            break
    shutil.rmtree(workspace, ignore_errors=True)
    if workspace.exists():
        left.append(str(workspace))
    if left:
        progress.say(f"not all removed, {name}: {', '.join(left)}")
    return not left


def show(name: str, workspace: Path, reference: str, progress: Progress) -> None:
    """Say where everything is that KEEP=1 keeps, and how to remove it."""
    folder = workspace / REPOSITORY
    progress.say(f"kept: {name} in {folder}")
    progress.say(f"  scan again: cd {folder} && ./clair scan {reference or SAMPLE}")
    progress.say(f"  remove:     cd {folder} && ./clair destroy --confirm {name} && rm -r {workspace}")


def demonstrate(name: str, folder: Path, data: Mapping[str, Any], progress: Progress) -> str:
    """Do the whole job and return the reference of the image; raises DemoError if it does not come out as it must."""
    progress.say(f"rendering the defaults into {folder}")
    facts = render(folder, data)
    images = add_samples(folder, facts)
    progress.say(f"starting the sample server, {name}-{SERVICE}")
    start_server(name, folder)
    progress.say(f"starting Clair {facts['clair_release']} as {name}: ./clair up")
    start(folder)
    progress.say("images used:")
    for line in describe_images(facts):
        progress.say(f"  {line}")
    reference = f"{server_address(name)}/{SAMPLE}"
    progress.say(f"waiting for the sample feed, then scanning {reference} ({images[SAMPLE].digest})")
    report = wait_for_decision(folder, reference, progress)
    progress.say(f"./clair scan {reference}")
    table = scan(folder, reference)
    print(table.stdout, end="", flush=True)
    print(table.stderr, end="", file=sys.stderr, flush=True)
    differences = compare(report, facts["clair_release"])
    if differences:
        raise DemoError(f"report not as expected, {reference}: {'; '.join(differences)}", NO)
    if table.returncode != NO:
        raise DemoError(f"verdict not as expected, {reference}: exit code {table.returncode} instead of 1", NO)
    progress.say(f"the {len(report['findings'])} findings are the expected ones; exit code 1 of scan means: findings")
    return reference


def ignore_interrupts() -> None:
    """From here on everything is removed, which must not be cut short by a second Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _frame: object) -> None:
    ignore_interrupts()
    raise Interrupted(number)


def main(argv: list[str]) -> int:
    """Run the demo and remove it; print how long it took."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.run",
        description="show the whole job, then remove it",
        epilog='environment: KEEP=1 keeps everything; DATA="key=value ..." are further answers',
    )
    parser.parse_args(argv)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    progress = Progress()
    name = f"clair-demo-{secrets.token_hex(3)}"
    code, reference, workspace = UNDECIDED, "", None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        check_docker()
        data = answers(name, os.environ.get("DATA", ""))
        workspace = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        reference = demonstrate(name, workspace / REPOSITORY, data, progress)
        code = 0
    except DemoError as error:
        print(error, file=sys.stderr, flush=True)
        code = error.code
    except Interrupted as error:
        progress.say(f"interrupted by {error}")
        code = error.code
    finally:
        ignore_interrupts()
        if workspace and keep:
            show(name, workspace, reference, progress)
        elif workspace:
            progress.say("removing containers, volumes, networks and the folder")
            code = code if remove(name, workspace, progress) else code or UNDECIDED
    progress.say(f"done in {progress.seconds():.0f} s, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
