"""The demo's feed and images for a live deployment: what a scan must find is known, and loads in seconds.

The feed comes from a container of the deployment itself (demo/deployment.py), which also serves the sample images.
"""

from __future__ import annotations

import base64
import http.client
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from demo import deployment as demo_deployment
from demo import sample_feed, sample_image
from demo.engine import engine_cpus
from tests.live.registry import REGISTRY_PASSWORD, REGISTRY_USER, Registry
from tests.live.support import Deployment

__all__ = [
    "FAMILIES",
    "FEEDS",
    "SCORES",
    "add_samples",
    "clair",
    "container_ids",
    "expected_findings",
    "findings",
    "no_traceback",
    "psk",
    "push_samples",
    "request",
    "sample_repository",
    "scan",
    "start_samples",
    "token",
    "wait_for_feeds",
    "wait_until",
]

FAMILIES = ["alpine", "debian"]
FEEDS = ("alpine-main-v3.18-updater", "alpine-community-v3.18-updater", "debian/updater")
SCORES = "clair.cvss"
FEED_SECONDS = 120.0
POLL_SECONDS = 0.3


def wait_until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """Return what `condition` returns as soon as that is true; fails with `what` after `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)


def add_samples(deployment: Deployment) -> None:
    """Put feed, sample images, drop-ins and a compose.override.yaml into the rendered repository."""
    demo_deployment.add_samples(deployment.root, deployment.facts, engine_cpus())


def start_samples(deployment: Deployment) -> None:
    """Start the sample server alone, for commands that start a part of the deployment."""
    demo_deployment.start_server(deployment.name, deployment.root)


def sample_repository(deployment: Deployment) -> str:
    """Return the `address:port` of the sample server, which is a registry of the sample images as well."""
    return demo_deployment.server_address(deployment.name)


def clair(deployment: Deployment, *arguments: str, check: bool = True, **environment: str) -> Any:
    """Run `./clair ARGUMENTS`; a small machine is no reason to fail here, and nothing goes through a proxy."""
    direct = {name: "*" for name in ("NO_PROXY", "no_proxy")}
    return deployment.run(*arguments, check=check, **{"ALLOW_SMALL": "1", **direct, **environment})


def scan(deployment: Deployment, reference: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `./clair scan`, whatever its exit code; a traceback is a failure of every test."""
    done: subprocess.CompletedProcess[str] = clair(deployment, "scan", reference, *options, check=False, **environment)
    no_traceback(done)
    return done


def no_traceback(done: subprocess.CompletedProcess[str]) -> None:
    """Fail if a command showed a stack trace or said that it does not know what happened."""
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown, shown
    assert "internal error" not in shown, shown


def findings(document: Mapping[str, Any]) -> set[sample_feed.Finding]:
    """Return the findings of a json result in the form in which the sample feed states what must be found."""
    return {
        sample_feed.Finding(one["package"], one["id"], one["severity"], one["fixed"] or "")
        for one in document["findings"]
    }


def expected_findings(
    document: Mapping[str, Any], reference: str, release: str, architecture: str = ""
) -> frozenset[sample_feed.Finding]:
    """Return what a json result must hold: the real Clair has the sample feed's scores, the double reads none."""
    return sample_feed.expected_findings(
        reference, architecture, release, scored=bool(document["report"]["enrichments"])
    )


def wait_for_feeds(deployment: Deployment, seconds: float = FEED_SECONDS) -> None:
    """Wait until the sample feeds are in the bundled database, and the scores were tried: the double has none."""
    names = ", ".join(f"'{name}'" for name in FEEDS)
    statement = (
        f"SELECT count(DISTINCT updater_name) FROM updater_status LEFT JOIN update_operation ON updater = updater_name "
        f"WHERE (updater IN ({names}) AND last_run_succeeded) OR updater_name = '{SCORES}'"
    )
    wanted = [[str(len(FEEDS) + 1)]]
    wait_until(lambda: deployment.psql("matcher", statement) == wanted, f"feeds of {deployment.name}", seconds)


def push_samples(registry: Registry, *references: str) -> dict[str, str]:
    """Push sample images to a registry; return their digests by `repository:tag`."""
    headers = {}
    if registry.password_needed:
        credentials = f"{REGISTRY_USER}:{REGISTRY_PASSWORD}"
        headers["Authorization"] = "Basic " + _base64(credentials)
    digests = {}
    for reference in references:
        repository, tag = reference.split(":")
        artifact = sample_image.SAMPLES[reference]("amd64")
        digests[reference] = sample_image.push(
            artifact, f"http://{registry.host_address}", repository, tag, headers=headers
        )
    return digests


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def container_ids(deployment: Deployment) -> dict[str, str]:
    """Return the id of every container of the deployment by its name."""
    listing = deployment.engine.docker(
        "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}",
        "--filter", f"label=com.docker.compose.project={deployment.name}",
    )  # fmt: skip
    return dict(line.split() for line in listing.stdout.splitlines())


def psk(deployment: Deployment) -> bytes:
    """Return the deployment's key as its signers use it."""
    return base64.b64decode((deployment.root / "secrets" / "psk").read_text(encoding="utf-8").strip())


def token(deployment: Deployment, issuer: str = "clairctl", **claims: Any) -> str:
    """Return a token signed by PyJWT, which shares no code with ops: `exp` in five minutes, no `iat`, no `nbf`."""
    return jwt.encode({"iss": issuer, "exp": int(time.time()) + 300, **claims}, psk(deployment), algorithm="HS256")


def request(
    url: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send one plain HTTP request as it stands; return status, headers in lower case, body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content
