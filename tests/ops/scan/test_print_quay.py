"""The command `quay`: the block for Quay's configuration, and who may see the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ops import settings
from ops.lifecycle import print_quay

from extensions.catalogue import Catalogue

from .conftest import Run, facts, write_deployment


@pytest.fixture
def quay(run: Run, deployment: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `./clair quay`; keyword arguments change the deployment's edge."""
    monkeypatch.delenv("SHOW_KEY", raising=False)
    monkeypatch.setattr(print_quay, "load_deployment", lambda: settings.load_deployment(deployment))

    def call(*arguments: str, enabled: bool = True, **edge: Any) -> Any:
        changes = {f"edge__{name}": value for name, value in edge.items()}
        write_deployment(deployment, facts(catalogue, quay_enabled=enabled, **changes))
        return run("quay", *arguments)

    return call


EDGES = [
    pytest.param({}, "http://127.0.0.1:6060", id="loopback"),
    pytest.param({"address": "0.0.0.0"}, "http://127.0.0.1:6060", id="every address"),
    pytest.param({"address": "::"}, "http://[::1]:6060", id="every IPv6 address"),
    pytest.param({"address": "192.0.2.1", "port": 80}, "http://192.0.2.1:80", id="one address"),
    pytest.param(
        {"tls": "files", "hostname": "clair.example.com", "port": 8443},
        "https://clair.example.com:8443",
        id="own certificate",
    ),
    pytest.param({"tls": "acme", "hostname": "clair.example.com", "port": 443}, "https://clair.example.com", id="ACME"),
]


@pytest.mark.parametrize(("edge", "endpoint"), EDGES)
def test_the_block_is_yaml_with_this_deployments_address(quay: Run, edge: dict[str, Any], endpoint: str) -> None:
    outcome = quay(**edge)

    assert (outcome.code, outcome.err) == (0, "")
    assert yaml.safe_load(outcome.out) == {
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": endpoint,
        "SECURITY_SCANNER_V4_PSK": None,
    }
    assert "secrets/psk" in outcome.out


def test_the_key_is_printed_only_when_asked_for(quay: Run, deployment: Path) -> None:
    key = (deployment / "secrets" / "psk").read_text().strip() if (deployment / "secrets" / "psk").exists() else ""

    assert key not in quay().out
    assert yaml.safe_load(quay("--show-key").out)["SECURITY_SCANNER_V4_PSK"] == key


def test_a_loopback_address_comes_with_a_warning(quay: Run) -> None:
    assert "# Quay must reach this address" in quay().out
    assert "# Quay must reach this address" not in quay(address="192.0.2.1").out


def test_a_deployment_not_made_for_quay_says_how_to_change_that(quay: Run) -> None:
    outcome = quay(enabled=False)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "quay not enabled, quay_enabled: this deployment was rendered without it, so its edge refuses Quay's DELETE and "
        "the issuer quay\nHINT: copier update --trust --defaults -d quay_enabled=true && ./clair up\n"
    )
