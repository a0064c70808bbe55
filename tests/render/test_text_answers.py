"""Whatever text the rules accept means the same after it was rendered: read back from YAML, JSON and connection strings, it is itself.

What they do not accept is tested in tests/unit/test_rules_total.py: nothing with a space, a quote, a newline, $, #, { or the like passes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions.catalogue import load_catalogue
from extensions.rules import RULES
from tests.conftest import Render
from tests.support import answers as answer_files
from tests.support.answers import complete
from tests.support.direct_render import rendered
from tests.support.places import DATA, ROOT

CATALOGUE = load_catalogue(DATA)
FILES = (
    *("compose.yaml", ".env", "ops/deployment.json", "traefik/traefik.yaml", "traefik/dynamic/edge.yaml"),
    *(
        "config/indexer/config.yaml",
        "config/matcher/config.yaml",
        "config/notifier/config.yaml",
        "Makefile",
        "database/setup.sql",
    ),
)

# Words that YAML reads as something else than text unless they are quoted.
WORDS = st.sampled_from(
    [
        "null",
        "true",
        "no",
        "yes",
        "on",
        "off",
        "y",
        "1",
        "0",
        "007",
        "0x1f",
        "0o17",
        "1e3",
        "1-2",
        "2024-01-01",
        "1_000",
        "nan",
        "inf",
    ]
)
LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
HOST = WORDS | st.lists(LABEL, min_size=1, max_size=3).map(".".join)
ADDRESS = st.ip_addresses().filter(lambda ip: not ip.is_loopback and not ip.is_multicast).map(str)
PATH = st.from_regex(r"\A(/[A-Za-z0-9._~%-]{0,12}){0,3}\Z")
PORT = st.integers(1, 65535)

texts = st.fixed_dictionaries(
    {
        "deployment_name": WORDS | st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,39}\Z"),
        "image_mirror": st.builds("{}.example:{}/{}".format, LABEL, PORT, LABEL),
        "notifier_delivery": st.just("webhook"),
        "notifier_target": st.builds("https://{}:{}{}".format, HOST, PORT, PATH),
        "database_mode": st.just("external"),
        "database_host": HOST | ADDRESS,
        "edge_tls": st.just("acme"),
        "edge_port": st.just(443),
        "edge_address": ADDRESS,
        "edge_hostname": HOST,
        "edge_acme_email": st.builds("{}@{}.example".format, st.from_regex(r"\A[A-Za-z0-9._+-]{1,20}\Z"), LABEL),
        "edge_acme_server": st.builds("https://{}{}".format, HOST, PATH),
        "auth_issuers": st.lists(WORDS | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z"), max_size=3),
        "proxy_url": st.builds("http://{}:{}{}".format, HOST, PORT, PATH),
        "proxy_exceptions": st.lists(HOST | ADDRESS, max_size=3),
        "tracing_endpoint": st.builds("http://{}:{}{}".format, HOST, PORT, PATH),
    }
)


def parsed(text: str) -> Any:
    """Return parsed YAML; by libyaml, because this is done often."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def is_accepted(answers: dict[str, Any]) -> bool:
    """True if no rule refuses any of these answers."""
    values = complete(CATALOGUE, answers)
    return not any(rule(values[name], values, CATALOGUE) for name, rule in RULES.items())


@given(answers=texts.filter(is_accepted))
def test_accepted_text_is_read_back_as_itself(answers: dict[str, Any]) -> None:
    files = rendered(ROOT, CATALOGUE, answers, FILES)

    compose = parsed(files["compose.yaml"])
    matcher = parsed(files["config/matcher/config.yaml"])
    notifier = parsed(files["config/notifier/config.yaml"])["notifier"]
    edge = parsed(files["traefik/dynamic/edge.yaml"])["http"]["routers"]["edge-index"]
    acme = parsed(files["traefik/traefik.yaml"])["certificatesResolvers"]["acme"]["acme"]
    facts = json.loads(files["ops/deployment.json"])
    words = dict(word.split("=", 1) for word in matcher["matcher"]["connstring"].split(" "))
    indexer = compose["services"]["indexer"]
    issuers = matcher["auth"]["psk"]["iss"]
    read_back = {
        "deployment_name": compose["name"],
        "image_mirror": indexer["image"].split("/projectquay/")[0],
        "notifier_target": notifier["webhook"]["target"],
        "database_host": words["host"],
        "edge_address": compose["services"]["traefik"]["ports"][0]["host_ip"],
        "edge_hostname": edge["tls"]["domains"][0]["main"],
        "edge_acme_email": acme["email"],
        "edge_acme_server": acme["caServer"],
        "proxy_url": indexer["environment"]["HTTPS_PROXY"],
    }
    assert read_back == {name: answers[name] for name in read_back}
    assert [issuer for issuer in answers["auth_issuers"] if issuer not in issuers] == []
    assert set(answers["proxy_exceptions"]) <= set(indexer["environment"]["NO_PROXY"].split(","))
    assert matcher["trace"]["otlp"]["http"]["endpoint"] in answers["tracing_endpoint"]
    assert set(words) <= {"host", "port", "dbname", "user", "sslmode", "pool_max_conns"}
    assert (facts["deployment_name"], facts["edge"]["hostname"]) == (
        answers["deployment_name"],
        answers["edge_hostname"],
    )
    assert files[".env"].splitlines()[-1] == f"COMPOSE_PROJECT_NAME={answers['deployment_name']}"


@settings(max_examples=15)
@given(answers=texts.filter(is_accepted))
def test_no_text_answer_reaches_sql_and_only_the_name_a_makefile_s_comment(answers: dict[str, Any]) -> None:
    plain = {"deployment_name": "clair", "database_mode": "external", "database_host": "db.example.com"}

    files = rendered(ROOT, CATALOGUE, answers, ("Makefile", "database/setup.sql"))
    usual = rendered(ROOT, CATALOGUE, plain, ("Makefile", "database/setup.sql"))

    assert files["database/setup.sql"] == usual["database/setup.sql"]
    assert files["Makefile"] == usual["Makefile"].replace("CONFIRM=clair", f"CONFIRM={answers['deployment_name']}")


@pytest.mark.parametrize("name", ["defaults", "everything"])
def test_templates_render_alone_as_copier_renders_them(template: Path, render: Render, name: str) -> None:
    files = [path for path in render(name).files() if (ROOT / "template" / f"{path}.jinja").exists()]

    direct = rendered(template, CATALOGUE, answer_files.named(name), tuple(files))

    assert files
    assert direct == {path: render(name).text(path) for path in files}
