"""Image names as Docker reads them, and where plain HTTP may be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops.errors import USAGE, Problem
from ops.host.escape_text import printable
from ops.registries.parse_reference import (
    Platform,
    allows_plain_http,
    is_digest,
    is_loopback,
    parse_platform,
    parse_reference,
)

DIGEST = "sha256:" + "ab" * 32

ACCEPTED = [
    pytest.param("debian", "docker.io/library/debian:latest", id="name alone"),
    pytest.param("debian:12", "docker.io/library/debian:12", id="tag"),
    pytest.param("grafana/loki", "docker.io/grafana/loki:latest", id="user of Docker Hub"),
    pytest.param("docker.io/debian", "docker.io/library/debian:latest", id="Docker Hub by name"),
    pytest.param("index.docker.io/library/debian", "docker.io/library/debian:latest", id="Docker Hub by its old name"),
    pytest.param("quay.io/projectquay/clair:4.9.0", "quay.io/projectquay/clair:4.9.0", id="other registry"),
    pytest.param("registry:5000/a/b/c", "registry:5000/a/b/c:latest", id="port"),
    pytest.param("localhost/app", "localhost/app:latest", id="localhost is a host"),
    pytest.param("UPPER/app", "UPPER/app:latest", id="capitals make a host"),
    pytest.param("[fd00::1]:5000/app:1", "[fd00::1]:5000/app:1", id="IPv6 address"),
    pytest.param(f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", id="digest"),
    pytest.param(f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}", id="tag and digest"),
    pytest.param("a.b/c__d/e--f/g.h:T_1", "a.b/c__d/e--f/g.h:T_1", id="separators in names"),
]

REFUSED = [
    pytest.param("", "it is empty", id="empty"),
    pytest.param(" debian", "there is space around it", id="space before"),
    pytest.param("https://quay.io/a/b", "an image name has no scheme such as https://", id="URL"),
    pytest.param(
        "ab" * 32,
        "64 hexadecimal digits are the id of an image in the local Docker, which no registry knows",
        id="image id",
    ),
    pytest.param("Debian", "the repository's name must be in lower case", id="capital"),
    pytest.param("quay.io/A/b", "the repository's name must be in lower case", id="capital in a path"),
    pytest.param("debian:", "'' is no tag", id="empty tag"),
    pytest.param("debian:a b", "'a b' is no tag", id="space in a tag"),
    pytest.param("debian@sha256:12", "what follows @ is no sha256 or sha512 digest", id="short digest"),
    pytest.param("debian@md5:" + "0" * 32, "what follows @ is no sha256 or sha512 digest", id="other algorithm"),
    pytest.param("$(id)", "'library/$(id)' is no repository name", id="shell text"),
    pytest.param("a//b", "'a//b' is no repository name", id="empty part"),
    pytest.param("-a.b/c", "'-a.b' is no registry host", id="host with a hyphen first"),
    pytest.param("debian:\x1b[31m", "' [31m' is no tag", id="escape code"),
    pytest.param("r.local/" + "a" * 255, "the name is longer than 255 characters", id="too long"),
]


@pytest.mark.parametrize(("text", "full"), ACCEPTED)
def test_a_name_means_what_it_means_to_docker(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_name_docker_would_refuse_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(Problem) as refusal:
        parse_reference(text)

    assert refusal.value.sentence.endswith(f": {reason}")
    assert refusal.value.code == USAGE


@given(st.text(max_size=80))
def test_any_text_is_a_name_that_reads_the_same_again_or_a_refusal_in_one_line(text: str) -> None:
    try:
        reference = parse_reference(text)
    except Problem as refusal:
        assert refusal.sentence.isprintable()
    else:
        assert parse_reference(str(reference)) == reference
        assert str(reference).isascii()


@given(st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}(:[\w.-]{0,10})?(@sha256:[0-9a-f]{0,66})?", fullmatch=True))
def test_names_of_the_usual_form_never_lose_their_digest(text: str) -> None:
    try:
        reference = parse_reference(text)
    except Problem:
        return
    assert reference.digest == text.partition("@")[2]


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.1.1:80", True),
        ("registry.local:5000", True),
        ("registry.localdomain", False),
        ("local", False),
        ("quay.io", False),
        ("8.8.8.8", False),
        ("[fd00::1]:5000", False),
    ],
)
def test_plain_http_is_for_loopback_private_addresses_and_local_names(host: str, plain: bool) -> None:
    assert allows_plain_http(host) is plain


@pytest.mark.parametrize("host", ["localhost", "x.localhost:1", "127.0.0.9:5000", "[::1]:5000", "0.0.0.0:5000"])
def test_hosts_that_mean_the_machine_itself_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("linux/ppc64le", Platform("linux", "ppc64le")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_a_platform_is_read_whatever_its_spelling(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["amd64", "linux", "linux/", "linux/amd64/v2/x", "linux /amd64", ""])
def test_a_text_that_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="the form is linux/arm64 or linux/arm/v7"):
        parse_platform(text)


def test_a_digest_has_all_of_its_digits_in_lower_case() -> None:
    assert is_digest(DIGEST)
    assert is_digest("sha512:" + "0" * 128)
    assert not is_digest(DIGEST.upper())
    assert not is_digest(DIGEST[:-1])


@given(st.text())
def test_printable_text_holds_nothing_a_terminal_obeys(text: str) -> None:
    assert printable(text).isprintable()
