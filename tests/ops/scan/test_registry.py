"""A registry: from an image's name to a digest, with the user's login, and layers the indexer can fetch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ops.errors import UNDECIDED, USAGE, Problem
from ops.network.choose_proxy import ProxySettings
from ops.network.open_connection import Deadline, Trust
from ops.network.web import Client
from ops.registries.find_credentials import Credentials
from ops.registries.parse_reference import Platform, parse_reference
from ops.registries.registry import Registry as Source
from ops.registries.remember_layers import Layer

from .servers import Registry, Reply, basic, digest_of

AMD64 = Platform("linux", "amd64")
LOGIN = ("user", "secret:word")


def source(registry: Registry, image: str, login: Credentials | None = None, seconds: float = 20) -> Source:
    """Return what the scan sees of an image in the fake registry."""
    client = Client(Trust(), ProxySettings())
    reference = parse_reference(f"{registry.name}/{image}")
    return Source(client, reference, Deadline(seconds), credentials=lambda reference: login or Credentials())


def problem(registry: Registry, image: str, login: Credentials | None = None) -> Problem:
    """Return why an image cannot be resolved."""
    with pytest.raises(Problem) as refusal:
        source(registry, image, login).resolve(AMD64)
    return refusal.value


def test_a_tag_means_the_digest_of_the_platforms_image(registry: Registry) -> None:
    images = {f"linux/{name}": registry.push("app", name, name) for name in ("amd64", "arm64")}
    registry.push_index("app", "1", {"unknown/unknown": digest_of(b""), **images})

    image = source(registry, "app:1").resolve(Platform("linux", "arm64"))

    assert image.digest == images["linux/arm64"]
    assert image.name == f"{registry.name}/app:1"
    assert str(image.platform) == "linux/arm64"


def test_a_digest_that_is_asked_for_is_what_is_scanned(registry: Registry) -> None:
    first = registry.push("app", "1", layers=(b"first",))
    registry.push("app", "1", layers=(b"second",))

    assert source(registry, f"app:1@{first}").resolve(AMD64).digest == first


@pytest.mark.parametrize("kind", ["manifest.v2+json", "manifest.list.v2+json"])
def test_docker_formats_are_read_as_well(registry: Registry, kind: str) -> None:
    digest = registry.push("app", "1")
    prefix = "application/vnd.docker.distribution."
    if "list" in kind:
        registry.push_index("app", "1", {"linux/amd64": digest}, mediaType=prefix + kind)
    else:
        document = json.loads(registry.manifests["app", "1"][1])
        digest = registry.put("app", "1", {**document, "mediaType": prefix + kind})

    assert source(registry, "app:1").resolve(AMD64).digest == digest


def test_layers_are_located_in_order_each_asked_for_once(registry: Registry) -> None:
    registry.push("app", "1", layers=(b"one", b"two", b"one"))
    asked = source(registry, "app:1")

    layers = asked.locate(asked.resolve(AMD64).layers)

    base = f"http://{registry.name}/v2/app/blobs/"
    digests = [digest_of(layer) for layer in (b"one", b"two", b"one")]
    assert layers == [Layer(digest, base + digest, {}) for digest in digests]
    assert sum("Range" in request.headers for request in registry.requests) == 2


def test_a_layer_elsewhere_is_given_by_its_last_address_without_the_login(registry: Registry) -> None:
    registry.login = LOGIN
    registry.blob_redirect = f"http://127.0.0.1:{registry.port}"
    registry.push("app", "1")
    asked = source(registry, "app:1", Credentials(*LOGIN))

    (layer,) = asked.locate(asked.resolve(AMD64).layers)

    assert layer.uri == f"http://127.0.0.1:{registry.port}/cdn/{digest_of(b'layer')}?signature=abc"
    assert layer.headers == {}


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_private_image_is_read_with_the_users_login(registry: Registry, scheme: str) -> None:
    registry.login, registry.scheme = LOGIN, scheme
    registry.push("app", "1")
    asked = source(registry, "app:1", Credentials(*LOGIN))

    (layer,) = asked.locate(asked.resolve(AMD64).layers)

    expected = "Bearer token-0" if scheme == "Bearer" else basic(*LOGIN)
    assert layer.headers == {"Authorization": [expected]}


def test_an_identity_token_is_exchanged_for_one_of_the_registry(registry: Registry) -> None:
    registry.login, registry.refresh_token = LOGIN, "refresh"
    registry.push("app", "1")

    image = source(registry, "app:1", Credentials(identity_token="refresh")).resolve(AMD64)

    assert image.digest in dict(key[::-1] for key in registry.manifests)
    assert [request.method for request in registry.requests if request.path == "/token"] == ["POST"]


def test_an_expired_token_is_renewed(registry: Registry) -> None:
    registry.login = LOGIN
    registry.push("app", "1")
    asked = source(registry, "app:1", Credentials(*LOGIN))
    image = asked.resolve(AMD64)
    registry.tokens.append("the only good one now")

    (layer,) = asked.locate(image.layers)

    assert layer.headers == {"Authorization": ["Bearer token-2"]}


def test_a_missing_image_is_wrong_use(registry: Registry) -> None:
    refusal = problem(registry, "app:nope")

    assert refusal.sentence == f"image not found, {registry.name}/app:nope: the registry has no such tag or digest"
    assert refusal.hint == f"docker manifest inspect {registry.name}/app:nope"
    assert refusal.code == USAGE


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        pytest.param(None, "no such image, or it needs a login (HTTP 401)", id="no login"),
        pytest.param(
            Credentials("user", "wrong"), "the registry refuses the stored login (HTTP 401)", id="wrong password"
        ),
        pytest.param(
            Credentials(failure="docker-credential-x failed: locked"), "docker-credential-x failed: locked", id="helper"
        ),
        pytest.param(
            Credentials(identity_token="old"), "the registry refuses the stored login (HTTP 401)", id="old token"
        ),
    ],
)
def test_a_private_image_without_a_good_login_is_refused(
    registry: Registry, login: Credentials | None, reason: str
) -> None:
    registry.login = LOGIN
    registry.push("app", "1")

    refusal = problem(registry, "app:1", login)

    assert refusal.sentence == f"image not accessible, {registry.name}/app:1: {reason}"
    assert refusal.hint == f"docker login {registry.name}"
    assert refusal.code == USAGE
    assert "wrong" not in refusal.sentence


def test_a_platform_that_is_not_there_is_refused_with_those_there_are(registry: Registry) -> None:
    images = {f"linux/{name}": registry.push("app", name, name) for name in ("arm64", "s390x")}
    registry.push_index("app", "1", images)

    refusal = problem(registry, "app:1")

    assert refusal.sentence == f"no image for linux/amd64, {registry.name}/app:1: there is linux/arm64, linux/s390x"
    assert refusal.code == USAGE


def test_a_single_image_of_another_architecture_is_refused(registry: Registry) -> None:
    registry.push("app", "1", "arm64")

    refusal = problem(registry, "app:1")

    assert refusal.sentence == f"no image for linux/amd64, {registry.name}/app:1: there is linux/arm64"
    assert refusal.code == USAGE


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(Reply(200, b"<html></html>"), "the answer is a web page, not JSON", id="web page"),
        pytest.param(Reply(200, b"null"), "the answer is null", id="null"),
        pytest.param(Reply(200, {"schemaVersion": 2}), "the manifest is neither an image nor an index", id="neither"),
        pytest.param(Reply(500, b""), "the registry answered HTTP 500 for manifests/1", id="500"),
        pytest.param(
            Reply(302, b"", {"Location": "/v2/app/manifests/1"}), "more than 10 redirects", id="redirects in a circle"
        ),
    ],
)
def test_a_registry_that_answers_nonsense_leaves_it_undecided(registry: Registry, reply: Reply, reason: str) -> None:
    registry.fail("GET", "/v2/app/manifests/", reply)

    refusal = problem(registry, "app:1")

    assert refusal.sentence == f"image unreadable, {registry.name}/app:1: {reason}"
    assert refusal.code == UNDECIDED


def test_content_that_is_not_of_its_digest_is_not_used(registry: Registry) -> None:
    digest = registry.push("app", "1")
    registry.manifests["app", digest] = ("", b'{"schemaVersion": 2}')

    refusal = problem(registry, f"app@{digest}")

    assert refusal.sentence.endswith(f": the manifest has another digest than {digest}")
    assert refusal.code == UNDECIDED


def test_a_registry_that_limits_requests_is_asked_again_and_then_told(registry: Registry, no_waiting: None) -> None:
    registry.fail("GET", "/v2/app/manifests/", Reply(429))

    refusal = problem(registry, "app:1")

    expected = f"registry busy, {registry.name}: it limits how often it may be asked (HTTP 429)"
    assert (refusal.sentence, refusal.code) == (expected, UNDECIDED)
    assert sum(request.path.endswith("manifests/1") for request in registry.requests) == 5


def test_a_registry_that_is_down_leaves_it_undecided(registry: Registry, no_waiting: None) -> None:
    registry.close()

    refusal = problem(registry, "app:1")

    assert refusal.sentence == f"registry unreachable, {registry.name}: connection refused"
    assert refusal.code == UNDECIDED


def test_the_login_is_never_sent_to_a_token_server_without_https(registry: Registry) -> None:
    registry.fail("GET", "/v2/", Reply(401, b"", {"WWW-Authenticate": 'Bearer realm="http://evil.example/token"'}))

    refusal = problem(registry, "app:1", Credentials(*LOGIN))

    expected = "it wants the login sent to 'http://evil.example/token', which is no https address"
    assert refusal.sentence == f"image unreadable, {registry.name}/app:1: {expected}"


def test_a_login_never_shows_where_a_layer_is_printed(tmp_path: Path) -> None:
    assert "secret" not in repr(Layer("sha256:1", "http://r.local/", {"Authorization": ["secret"]}))
