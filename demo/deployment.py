"""The demo's deployment: the rendered defaults and, beside them, a server of the sample feed and the sample images.

Reads this checkout; writes a rendered repository, with drop-ins and a compose.override.yaml as an operator would add
them. What a container may read is made readable for everybody, whatever the umask.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import math
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from demo import sample_feed, sample_image
from demo.engine import compose_program, docker, run
from demo.outcome import UNDECIDED, USAGE, DemoError

ROOT = Path(__file__).resolve().parent.parent
SERVE = Path(__file__).resolve().parent / "serve.py"

SERVICE = "demo"
NETWORK = "egress"  # the one that indexer and matcher are both in
PORT = 5000
REACH_SECONDS = 10.0
POLL_SECONDS = 0.5


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports of the loopback address."""
    with ExitStack() as stack:
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


def override(facts: Mapping[str, Any], model: Mapping[str, Any], cpus: float) -> dict[str, Any]:
    """Return compose.override.yaml: the sample server, which indexer and matcher wait for, and limits that fit.

    They must wait: both ask for their feed at their start, and if that fails not again for hours. `model` is the
    rendered compose.yaml: Docker refuses a limit above the engine's `cpus`, and here the size shall only warn.
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
    services: dict[str, Any] = {SERVICE: server}
    for name in ("indexer", "matcher"):
        services[name] = {"depends_on": {SERVICE: {"condition": "service_healthy"}}}
    for name, service in model["services"].items():
        if float(service["deploy"]["resources"]["limits"]["cpus"]) > cpus:
            limits = {"deploy": {"resources": {"limits": {"cpus": f"{cpus:g}"}}}}
            services[name] = services.get(name, {}) | limits
    return {"services": services}


def add_samples(folder: Path, facts: Mapping[str, Any], cpus: float = math.inf) -> dict[str, sample_image.Artifact]:
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
    model = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(override(facts, model, cpus), sort_keys=False)
    (folder / "compose.override.yaml").write_text(text, encoding="utf-8")
    return images


def start_server(name: str, folder: Path) -> None:
    """Start the sample server before anything else: `./clair up` starts the services that the template knows.

    Raises DemoError (3) with Compose's last line.
    """
    files = ["--file", str(folder / "compose.yaml"), "--file", str(folder / "compose.override.yaml")]
    project = ["--project-name", name, "--project-directory", str(folder), *files]
    done = run([*compose_program(), *project, "up", "--detach", "--wait", "--no-deps", SERVICE], folder, capture=True)
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
