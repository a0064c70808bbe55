"""What holds for every text: a rule answers instead of raising, in one line, and lets nothing through that could change a file's meaning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.catalogue import Catalogue, load_catalogue
from extensions.rules import RULES
from tests.support import facts
from tests.support.answers import complete
from tests.support.places import DATA

CATALOGUE = load_catalogue(DATA)

# A good value of each text question, with the answers it needs.
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "deployment_name": ("clair", {}),
    "clair_version": ("4.9.0", {}),
    "architecture": ("amd64", {}),
    "image_mirror": ("reg.example.com:5000/mirror", {}),
    "notifier_target": ("https://hooks.example.com:8443/clair", {"notifier_delivery": "webhook"}),
    "database_host": ("2001:db8::1", {"database_mode": "external"}),
    "edge_hostname": ("clair.example.com", {"edge_tls": "files"}),
    "edge_acme_email": ("ops@example.com", {"edge_tls": "acme"}),
    "edge_acme_server": ("https://ca.example.com:9000/directory", {"edge_tls": "acme"}),
    "edge_address": ("2001:db8::1", {}),
    "proxy_url": ("http://[2001:db8::1]:3128", {}),
    "tracing_endpoint": ("https://collector.example.com:4318/v1", {}),
    "auth_issuers": ("clairctl", {}),
    "proxy_exceptions": ("2001:db8::/32", {}),
}
LISTS = ("auth_issuers", "proxy_exceptions")
# Characters that mean something in YAML, a Makefile, SQL, a shell, Jinja, a connection string or a Traefik rule, at any place of a value.
UNSAFE = set(" \t\r\n\"'`$\\{}()<>;|&*!,#")

inserted = st.text(max_size=8) | st.sampled_from(
    [
        "\n",
        "\r\n",
        " ",
        "\t",
        "'",
        '"',
        "`",
        "$(id)",
        "${x}",
        "{{ x }}",
        "{% x %}",
        "# x",
        ": x",
        " user=x",
        "\\",
        "\x00",
        "é",
        "ж",
        "%0a",
    ]
)
any_value = st.one_of(
    st.text(),
    st.from_regex(r"\A\d{1,3}(\.\d{1,3}){0,3}(-rc\d)?\Z"),
    st.sampled_from([good for good, _ in GOOD.values()]),
)


def verdict(question: str, value: Any, others: dict[str, Any], catalogue: Catalogue = CATALOGUE) -> str | None:
    """Return what the question's rule says."""
    return RULES[question]([value] if question in LISTS else value, complete(catalogue, others), catalogue)


def is_one_line(reason: str | None) -> bool:
    """True for no reason, or for one printable line that ends as a sentence."""
    return reason is None or (reason.isprintable() and reason.endswith("."))


@pytest.mark.parametrize("question", GOOD)
@given(value=any_value)
def test_text_rule_answers_any_text_in_one_line(question: str, value: str) -> None:
    reason = verdict(question, value, GOOD[question][1])

    assert is_one_line(reason)


@pytest.mark.parametrize("question", sorted(name for name, spec in facts.questions().items() if spec["type"] == "int"))
@given(value=st.integers())
def test_number_rule_answers_any_number_in_one_line(question: str, value: int) -> None:
    reason = RULES[question](value, complete(CATALOGUE, {}), CATALOGUE)

    assert is_one_line(reason)


@pytest.mark.parametrize("question", GOOD)
@given(position=st.integers(0, 40), text=inserted)
def test_accepted_text_holds_nothing_that_a_file_could_read_differently(
    question: str, position: int, text: str
) -> None:
    good, others = GOOD[question]
    value = good[:position] + text + good[position:]

    accepted = verdict(question, value, others) is None

    assert not accepted or (value.isascii() and not UNSAFE & set(value))


def test_every_text_question_is_covered() -> None:
    free_text = {
        name for name, spec in facts.questions().items() if spec["type"] in ("str", "yaml") and "choices" not in spec
    }

    assert free_text <= set(GOOD)
