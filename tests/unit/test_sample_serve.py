"""The demo's server answers like a feed's web server and like a registry to pull from."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo import sample_feed, sample_image, serve

SCRIPT = Path(serve.__file__)
BASIC = {"Authorization": "Basic " + base64.b64encode(b"reader:pass:word").decode()}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data: feed and registry."""
    folder = tmp_path_factory.mktemp("data")
    sample_feed.write_feed(folder / "feed")
    sample_image.write_registry(folder / "registry")
    return folder


def serving(data: Path, credentials: serve.Credentials | None = None) -> Iterator[Ask]:
    server = serve.Server(("127.0.0.1", 0), data, credentials)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def ask(path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    yield ask
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def ask(data: Path) -> Iterator[Ask]:
    """Sends one request to a server that asks for no password."""
    yield from serving(data)


@pytest.fixture(scope="module")
def ask_basic(data: Path) -> Iterator[Ask]:
    """Sends one request to a server with a private registry, by Basic."""
    yield from serving(data, serve.Credentials("reader", "pass:word", "basic"))


@pytest.fixture(scope="module")
def ask_bearer(data: Path) -> Iterator[Ask]:
    """Sends one request to a server with a private registry, by Bearer."""
    yield from serving(data, serve.Credentials("reader", "pass:word", "bearer"))


def test_health_is_ok(ask: Ask) -> None:
    assert ask("/healthz")[::2] == (200, b"ok\n")


def test_a_file_comes_with_etag_and_last_modified(ask: Ask, data: Path) -> None:
    answer = ask("/feed/tracker/data/json")

    assert answer.status == 200
    assert answer.body == (data / "feed" / "tracker" / "data" / "json").read_bytes()
    assert answer.headers["Last-Modified"] == "Tue, 02 Jan 2024 03:04:05 GMT"
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["Etag"])
    assert answer.headers["Content-Type"] == "application/json"


def test_a_known_etag_is_answered_304_without_a_body(ask: Ask) -> None:
    etag = ask("/feed/alpine/v3.18/main.json").headers["Etag"]

    known = ask("/feed/alpine/v3.18/main.json", If_None_Match=f'"other", {etag}')
    other = ask("/feed/alpine/v3.18/main.json", If_None_Match='"other"')

    assert (known.status, known.body, known.headers["Etag"]) == (304, b"", etag)
    assert other.status == 200


@pytest.mark.parametrize(
    ("since", "status"),
    [
        pytest.param("Tue, 02 Jan 2024 03:04:05 GMT", 304, id="same"),
        pytest.param("Tue, 02 Jan 2024 03:04:04 GMT", 200, id="a second before"),
        pytest.param("yesterday", 200, id="no date"),
    ],
)
def test_if_modified_since_counts_seconds(ask: Ask, since: str, status: int) -> None:
    assert ask("/feed/tracker/data/json", If_Modified_Since=since).status == status


def test_a_change_while_serving_gives_a_new_etag_and_date(tmp_path: Path) -> None:
    sample_feed.write_feed(tmp_path / "feed")
    server = serving(tmp_path)
    ask = next(server)
    before = ask("/feed/tracker/data/json")

    sample_feed.add_debian_entry(tmp_path / "feed", sample_feed.DebianEntry("zlib", "CVE-2099-0001", "high", ""))

    stale = {"If_None_Match": before.headers["Etag"], "If_Modified_Since": before.headers["Last-Modified"]}
    after = ask("/feed/tracker/data/json", **stale)
    assert after.status == 200
    assert after.headers["Etag"] != before.headers["Etag"]
    assert after.headers["Last-Modified"] != before.headers["Last-Modified"]
    next(server, None)


def test_a_folder_lists_relative_links(ask: Ask) -> None:
    answer = ask("/feed/mirror/debian/dists/")

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'href="([^"]+)"', answer.body.decode()) == ["bookworm/", "bullseye/", "sid/", "trixie/"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/feed/alpine/v3.3/", 200),
        ("/feed/alpine/v3.19/", 200),
        ("/feed/alpine/v3.20/", 404),
        ("/feed/alpine/v4.0/", 404),
    ],
)
def test_head_tells_which_alpine_releases_there_are(ask: Ask, path: str, status: int) -> None:
    answer = ask(path, "HEAD")

    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/feed",
        "/feed/../serve.py",
        "/feed/..%2f..%2fetc/passwd",
        "/feed/.hidden",
        "/feed/alpine",
        "/feed/a%00b",
        "/v2",
    ],
)
def test_anything_else_is_not_found(ask: Ask, path: str) -> None:
    assert ask(path).status == 404


@pytest.mark.parametrize(
    ("header", "status", "first", "end"),
    [
        pytest.param("bytes=0-0", 206, 0, 1, id="first byte, as clairctl asks"),
        pytest.param("bytes=0-512", 206, 0, 513, id="head, as the debian updater asks"),
        pytest.param("bytes=10-", 206, 10, None, id="from a place on"),
        pytest.param("bytes=-5", 206, -5, None, id="the last bytes"),
        pytest.param("bytes=5-2", 200, 0, None, id="end before start is ignored"),
        pytest.param("bytes=0-1,3-4", 200, 0, None, id="several ranges are ignored"),
        pytest.param("lines=1-2", 200, 0, None, id="another unit is ignored"),
    ],
)
def test_ranges(ask: Ask, data: Path, *, header: str, status: int, first: int, end: int | None) -> None:
    content = (data / "feed" / "alpine" / "v3.18" / "main.json").read_bytes()

    answer = ask("/feed/alpine/v3.18/main.json", Range=header)

    assert (answer.status, answer.body) == (status, content[first:end])


def test_a_range_past_the_end_is_416_with_the_size(ask: Ask, data: Path) -> None:
    size = len((data / "feed" / "alpine" / "last-update").read_bytes())

    answer = ask("/feed/alpine/last-update", Range=f"bytes={size}-")

    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_registry_answers_its_version(ask: Ask) -> None:
    answer = ask("/v2/")

    assert (answer.status, answer.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


@pytest.mark.parametrize(
    ("repository", "tag", "media_type"),
    [
        pytest.param("sample/debian", "12", sample_image.MANIFEST_TYPE, id="manifest"),
        pytest.param("sample/multi", "1", sample_image.INDEX_TYPE, id="index"),
    ],
)
def test_a_manifest_is_the_same_by_tag_and_by_digest(ask: Ask, repository: str, tag: str, media_type: str) -> None:
    artifact = sample_image.SAMPLES[f"{repository}:{tag}"]("amd64")

    by_tag = ask(f"/v2/{repository}/manifests/{tag}")
    by_digest = ask(f"/v2/{repository}/manifests/{artifact.digest}")
    head = ask(f"/v2/{repository}/manifests/{tag}", "HEAD")

    assert by_tag.body == by_digest.body == artifact.manifest.data
    for answer in (by_tag, by_digest, head):
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["Docker-Content-Digest"] == artifact.digest
        assert answer.headers["Content-Length"] == str(len(artifact.manifest.data))


def test_the_manifests_behind_an_index_are_there(ask: Ask) -> None:
    for digest in sample_image.multi_architecture_index().platforms.values():
        assert ask(f"/v2/sample/multi/manifests/{digest}").headers["Content-Type"] == sample_image.MANIFEST_TYPE


def test_blobs_come_whole_in_part_and_by_head(ask: Ask) -> None:
    blob = sample_image.debian_image().blobs[1]
    path = f"/v2/sample/debian/blobs/{blob.digest}"

    assert ask(path).body == blob.data
    assert ask(path, Range="bytes=0-0")[::2] == (206, blob.data[:1])
    assert ask(path, "HEAD").headers["Content-Length"] == str(len(blob.data))
    assert ask(path).headers["Content-Type"] == "application/octet-stream"


def test_tags_are_listed(ask: Ask) -> None:
    assert ask("/v2/sample/debian/tags/list").json == {"name": "sample/debian", "tags": ["12", "12-updated"]}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/sample/debian/manifests/13", "MANIFEST_UNKNOWN"),
        ("/v2/sample/nothing/manifests/1", "MANIFEST_UNKNOWN"),
        ("/v2/sample/debian/manifests/sha256:" + "0" * 64, "MANIFEST_UNKNOWN"),
        ("/v2/sample/debian/blobs/sha256:" + "0" * 64, "BLOB_UNKNOWN"),
        ("/v2/sample/nothing/tags/list", "NAME_UNKNOWN"),
        ("/v2/../../etc/passwd/manifests/1", "NAME_INVALID"),
        ("/v2/sample/debian/blobs/sha256:..", "NAME_INVALID"),
    ],
)
def test_what_is_not_there_is_named_by_a_registry_error(ask: Ask, path: str, code: str) -> None:
    answer = ask(path)

    assert (answer.status, answer.json["errors"][0]["code"]) == (404, code)


def test_a_layer_is_no_manifest(ask: Ask) -> None:
    layer = sample_image.debian_image().blobs[1].digest

    assert ask(f"/v2/sample/debian/manifests/{layer}").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writing_is_refused(ask: Ask, method: str) -> None:
    answer = ask("/v2/sample/debian/manifests/12", method)

    assert (answer.status, answer.headers["Allow"], answer.json["errors"][0]["code"]) == (
        405,
        "GET, HEAD",
        "UNSUPPORTED",
    )


def test_basic_asks_for_a_password_at_the_registry_only(ask_basic: Ask) -> None:
    refused = ask_basic("/v2/sample/debian/manifests/12")

    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="sample-registry"')
    assert ask_basic("/v2/sample/debian/manifests/12", **BASIC).status == 200
    assert ask_basic("/healthz").status == ask_basic("/feed/alpine/last-update").status == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"reader:wrong").decode(),
        BASIC["Authorization"].replace("Basic", "Bearer"),
    ],
    ids=["none", "empty", "no base64", "wrong password", "wrong scheme"],
)
def test_basic_refuses(ask_basic: Ask, header: str) -> None:
    assert ask_basic("/v2/", Authorization=header).status == 401


def test_bearer_names_the_token_service_and_accepts_its_token(ask_bearer: Ask) -> None:
    refused = ask_bearer("/v2/sample/debian/manifests/12", **BASIC)
    challenge = refused.headers["WWW-Authenticate"]
    match = re.fullmatch(
        r'Bearer realm="http://127\.0\.0\.1:\d+(/token)",service="sample-registry",scope="repository:sample/debian:pull"',
        challenge,
    )
    assert refused.status == 401
    assert match

    token = ask_bearer(f"{match.group(1)}?service=sample-registry&scope=repository:sample/debian:pull", **BASIC).json

    header = f"Bearer {token['token']}"
    assert ask_bearer("/v2/sample/debian/manifests/12", Authorization=header).status == 200


def test_the_token_service_refuses_strangers(ask_bearer: Ask) -> None:
    assert ask_bearer("/token?service=sample-registry").status == 401
    assert ask_bearer("/token?service=another", **BASIC).status == 400
    assert ask_bearer("/v2/", Authorization="Bearer made-up").status == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_server_with_code_0(data: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-I", str(SCRIPT), "--data", str(data), "--address", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    port = int(line.rsplit(":", 1)[1])
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)  # a kept connection must not hold it up
    idle.request("GET", "/feed/alpine/last-update")
    assert idle.getresponse().read()

    process.send_signal(number)

    assert process.wait(timeout=3) == 0
    log = process.stderr.read()
    assert re.fullmatch(r"\S+Z 127\.0\.0\.1 GET /feed/alpine/last-update 200 21\n", log)
    idle.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "/nowhere"], "cannot serve, /nowhere: no such folder"),
        (["--data", ".", "--auth", "reader"], "cannot serve, 0.0.0.0:5000: --auth must be USER:FILE, not 'reader'"),
        (
            ["--data", ".", "--auth", "reader:/nowhere"],
            "cannot serve, 0.0.0.0:5000: password unreadable, /nowhere: No such file or directory",
        ),
    ],
    ids=["folder", "auth", "password file"],
)
def test_a_wrong_argument_is_one_line_and_code_2(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )

    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence + "\n")
