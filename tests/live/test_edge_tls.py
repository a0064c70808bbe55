"""TLS at the edge with the operator's own certificate, and an edge on an IPv6 address."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    container_ids,
    sample_repository,
    scan,
    token,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

NAME = "clair.test"


def make_certificate(folder: Path) -> None:
    """Put a new self-signed certificate for NAME, and its key, into a folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.unlink(missing_ok=True)
    key.unlink(missing_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
               "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
               "-out", str(certificate), "-keyout", str(key)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    for path in (certificate, key):
        path.chmod(0o444)


@pytest.fixture(scope="module")
def secured(shared_deployment: DeploymentFactory) -> Deployment:
    """A running deployment with TLS at the edge, and its feeds."""
    deployment = shared_deployment(updater_families=FAMILIES, edge_tls="files", edge_hostname=NAME)
    add_samples(deployment)
    make_certificate(deployment.root / "secrets")
    clair(deployment, "up")
    wait_for_feeds(deployment)
    return deployment


def own_fingerprint(deployment: Deployment) -> str:
    """Return the sha256 of the certificate in secrets/."""
    text = (deployment.root / "secrets" / "tls.crt").read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


def served_fingerprint(deployment: Deployment) -> str:
    """Return the sha256 of the certificate that the edge shows to a client that asks for NAME; "" if it is not there."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", deployment.edge_port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as secure,
        ):
            return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def get(deployment: Deployment, path: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    """Ask the edge by TLS and by its name, with a token."""
    with (
        socket.create_connection(("127.0.0.1", deployment.edge_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secure,
    ):
        connection = http.client.HTTPConnection(NAME)
        connection.sock = secure
        connection.request("GET", path, headers={"Authorization": f"Bearer {token(deployment)}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def trusting(deployment: Deployment) -> ssl.SSLContext:
    """Return settings that trust the deployment's certificate alone, by its name."""
    return ssl.create_default_context(cafile=str(deployment.root / "secrets" / "tls.crt"))


def test_clients_that_trust_the_certificate_are_answered(secured: Deployment) -> None:
    status, body = get(secured, "/indexer/api/v1/index_state", trusting(secured))

    assert status == 200
    assert json.loads(body)["state"]
    assert served_fingerprint(secured) == own_fingerprint(secured)


def test_clients_that_do_not_are_not(secured: Deployment) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        get(secured, "/indexer/api/v1/index_state", ssl.create_default_context())


def test_old_tls_is_refused(secured: Deployment) -> None:
    context = trusting(secured)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert get(secured, "/indexer/api/v1/index_state", context)[0] == 200

    protocols = ["-tls1", "-tls1_1"]
    for protocol in protocols:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.edge_port}", "-servername", NAME, protocol,
                   "-cipher", "ALL:@SECLEVEL=0"]  # fmt: skip
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
        assert "BEGIN CERTIFICATE" not in done.stdout, protocol


@pytest.mark.parametrize("path", ["/indexer/api/v1/index_state?a=b", "/", "/matcher/api/v1/internal/update_operation"])
def test_plain_http_is_only_redirected(secured: Deployment, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", secured.edge_port, timeout=10)
    headers = {"Host": NAME, "Authorization": f"Bearer {token(secured)}"}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert answer.status in (301, 308)
    assert answer.headers["Location"] == f"https://{NAME}:{secured.edge_port}{path}"


def test_commands_go_through_the_secured_edge(secured: Deployment) -> None:
    verified = clair(secured, "verify", "--json")
    done = scan(secured, f"{sample_repository(secured)}/sample/debian:12", "--format", "json")

    names = {check["name"] for check in json.loads(verified.stdout)["checks"] if check["result"] == "ok"}
    assert {"indexer answers", "matcher answers", "notifier answers"} <= names
    assert any("certificate" in name for name in names)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["findings"]) == 11


def test_a_new_certificate_is_applied_by_up(secured: Deployment) -> None:
    before, old = container_ids(secured), own_fingerprint(secured)
    make_certificate(secured.root / "secrets")
    assert own_fingerprint(secured) != old

    shown = clair(secured, "diff", check=False)
    clair(secured, "up")

    key = (secured.root / "secrets" / "tls.key").read_text(encoding="ascii").splitlines()[1]
    after = container_ids(secured)
    assert shown.returncode == 1
    assert key not in shown.stdout
    assert {name for name in before if after[name] != before[name]} <= {f"{secured.name}-traefik"}
    wait_until(lambda: served_fingerprint(secured) == own_fingerprint(secured), "the new certificate", 30)
    # Traefik asks its services whether they are ready before it passes anything on.
    wait_until(lambda: get(secured, "/indexer/api/v1/index_state", trusting(secured))[0] == 200, "an answer", 30)


def test_a_key_of_another_certificate_is_refused_before_anything_changes(secured: Deployment) -> None:
    before, served = container_ids(secured), served_fingerprint(secured)
    folder = secured.root / "secrets"
    kept = (folder / "tls.crt").read_bytes()
    make_certificate(secured.root / "other")
    (folder / "tls.crt").unlink()
    (folder / "tls.crt").write_bytes((secured.root / "other" / "tls.crt").read_bytes())

    done = clair(secured, "up", check=False)

    (folder / "tls.crt").write_bytes(kept)
    assert done.returncode in (1, 2)
    assert "tls" in done.stderr
    assert "Traceback" not in done.stderr
    assert container_ids(secured) == before
    assert served_fingerprint(secured) == served


def has_ipv6() -> bool:
    """Return whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_edge_on_an_ipv6_address(deployment: DeploymentFactory) -> None:
    made = deployment(updater_families=["alpine"], enrichment_enabled=False, edge_address="::1")

    clair(made, "traefik")

    def status() -> int:
        connection = http.client.HTTPConnection("::1", made.edge_port, timeout=5)
        try:
            connection.request("GET", "/nowhere")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    assert wait_until(status, "an answer on ::1", 20) == 404
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", made.edge_port), timeout=2):
        pass
