"""Which proxy a request takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ops.errors import Problem
from ops.network.choose_proxy import Proxy, ProxySettings, deployment_proxies, environment_proxies, proxy_for
from ops.settings import Deployment

PROXY = Proxy("proxy.example", 3128)


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "exempt"),
    [
        pytest.param("", "quay.io", 443, False, id="none"),
        pytest.param("quay.io", "quay.io", 443, True, id="the name"),
        pytest.param("quay.io", "cdn.quay.io", 443, True, id="its subdomain"),
        pytest.param("quay.io", "notquay.io", 443, False, id="another name that ends so"),
        pytest.param(".quay.io", "quay.io", 443, False, id="subdomains only, the name"),
        pytest.param(".quay.io", "cdn.quay.io", 443, True, id="subdomains only, a subdomain"),
        pytest.param("*.quay.io", "cdn.quay.io", 443, True, id="with a star"),
        pytest.param("QUAY.io", "quay.IO", 443, True, id="whatever the case"),
        pytest.param("quay.io:5000", "quay.io", 443, False, id="another port"),
        pytest.param("quay.io:443", "quay.io", 443, True, id="the port"),
        pytest.param("10.0.0.0/8", "10.1.2.3", 443, True, id="in a network"),
        pytest.param("10.0.0.0/8", "11.1.2.3", 443, False, id="outside of a network"),
        pytest.param("10.1.2.3", "10.1.2.3", 80, True, id="the address"),
        pytest.param("fd00::/8", "fd00::1", 443, True, id="in an IPv6 network"),
        pytest.param("[fd00::1]:443", "fd00::1", 443, True, id="an IPv6 address with its port"),
        pytest.param("a.example, *", "quay.io", 443, True, id="everything"),
        pytest.param("", "localhost", 443, True, id="this machine by name"),
        pytest.param("", "127.0.0.1", 443, True, id="this machine by address"),
    ],
)
def test_exceptions_mean_what_they_mean_to_clair(exceptions: str, host: str, port: int, exempt: bool) -> None:
    settings = environment_proxies({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": exceptions})

    assert (proxy_for("https", host, port, settings) is None) is exempt


def test_each_scheme_has_its_own_proxy() -> None:
    settings = environment_proxies({"https_proxy": "proxy.example:3128"})

    assert settings == ProxySettings(https=PROXY)
    assert proxy_for("http", "quay.io", 80, settings) is None


def deployment(root: Path, url: str = "") -> Deployment:
    (root / "secrets").mkdir(parents=True)
    return Deployment(json.loads(json.dumps({"proxy": {"url": url, "exceptions": ["registry"]}})), root)


def test_the_deployments_proxy_goes_before_the_environments(tmp_path: Path) -> None:
    found = deployment_proxies(deployment(tmp_path, "http://proxy.example:3128"), {"HTTPS_PROXY": "http://other:1"})

    assert found == ProxySettings(PROXY, PROXY, ("registry",))


def test_a_proxy_with_a_password_comes_from_its_secret(tmp_path: Path) -> None:
    asked = deployment(tmp_path, "http://proxy.example:3128")
    (tmp_path / "secrets" / "proxy-url").write_text("http://us%40er:p%3Aw@proxy.example:8080\n")

    assert deployment_proxies(asked, {}).https == Proxy("proxy.example", 8080, "us@er:p:w")


def test_a_proxy_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(Problem) as refusal:
        environment_proxies({"HTTPS_PROXY": "socks5://user:hidden@proxy.example"})

    assert refusal.value.sentence == "proxy unusable, HTTPS_PROXY: not a URL of the form http://HOST:PORT"
    assert "hidden" not in refusal.value.hint
