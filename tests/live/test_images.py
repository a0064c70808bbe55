"""What the template expects of the images that it names; holds for the published ones and for their stand-ins."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.doubles.images.build import recipes
from tests.live.registry import Registry
from tests.live.support import Engine, Images
from tests.support.places import DATA

COMPONENTS = yaml.safe_load((DATA / "components.yaml").read_text(encoding="utf-8"))
POSTGRES_OF_MAJOR = {
    major: f"{COMPONENTS['postgres']['image']}:{facts['tag']}"
    for major, facts in COMPONENTS["postgres"]["majors"].items()
}
POSTGRES = POSTGRES_OF_MAJOR[COMPONENTS["postgres"]["default_major"]]
TRAEFIK = f"{COMPONENTS['traefik']['image']}:{COMPONENTS['traefik']['tag']}"
RECEIVER = f"{COMPONENTS['receiver']['image']}:{COMPONENTS['receiver']['tag']}"
START_SECONDS = 30.0

# How the template starts PostgreSQL, without its volume.
HARDENED = (
    "--user", "999:999", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--tmpfs", "/tmp", "--tmpfs", "/var/run/postgresql:mode=3777,uid=999,gid=999",
)  # fmt: skip

Start = Callable[..., str]


@pytest.fixture(params=POSTGRES_OF_MAJOR, ids="major={}".format)
def postgres(images: Images, request: pytest.FixtureRequest) -> str:
    """Return the image of each PostgreSQL that a deployment may have."""
    reference = POSTGRES_OF_MAJOR[request.param]
    images.ensure(reference)
    return reference


@pytest.fixture
def start_postgres(engine: Engine, postgres: str) -> Iterator[Start]:
    """Return a function that starts PostgreSQL with `docker run` flags and returns its container, ready."""
    started: list[str] = []

    def start(*flags: str) -> str:
        name = f"clairtest-{secrets.token_hex(4)}"
        started.append(name)
        engine.docker("run", "--detach", "--name", name, *flags, postgres)
        limit = time.monotonic() + START_SECONDS
        # Over TCP: the server of the first start listens on its socket only.
        while engine.docker("exec", name, "pg_isready", "--quiet", "--host", "127.0.0.1", check=False).returncode:
            if time.monotonic() > limit:
                said = engine.docker("logs", name)
                raise AssertionError(f"PostgreSQL is not ready:\n{said.stdout}{said.stderr}")
            time.sleep(0.1)
        return name

    yield start
    for name in started:
        engine.docker("rm", "--force", "--volumes", name)


def read_url(url: str, **headers: str) -> bytes:
    accepted = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(url, headers={"Accept": accepted, **headers})
    with urllib.request.urlopen(request, timeout=20) as answer:
        content: bytes = answer.read()
    return content


def test_every_component_has_a_stand_in() -> None:
    made = {recipe.reference for recipe in recipes()}

    assert {*POSTGRES_OF_MAJOR.values(), TRAEFIK, RECEIVER} <= made


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        pytest.param((), "superuser password is not specified", id="no-password"),
        pytest.param(
            ("--env", "POSTGRES_PASSWORD=a", "--env", "POSTGRES_PASSWORD_FILE=/etc/passwd"),
            "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set",
            id="two-passwords",
        ),
    ],
)
def test_postgres_refuses_to_initialise(engine: Engine, postgres: str, flags: tuple[str, ...], sentence: str) -> None:
    done = engine.docker("run", "--rm", "--network", "none", *flags, postgres, check=False)

    assert done.returncode == 1
    assert sentence in done.stderr


def test_postgres_starts_hardened_and_asks_for_the_password_of_its_file(
    engine: Engine, start_postgres: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("database")
    folder.chmod(0o755)
    (folder / "password").write_text("it's $(a) pass word")

    container = start_postgres(
        *HARDENED, "--volume", f"{folder}:/run/database:ro", "--env", "POSTGRES_PASSWORD_FILE=/run/database/password",
        "--env", "POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256 --auth-local=peer --data-checksums",
    )  # fmt: skip

    right, wrong = (
        engine.docker("exec", "--env", f"PGPASSWORD={password}", container, "psql", "--host", "127.0.0.1", "--username",
                      "postgres", "--tuples-only", "--no-align", "--command", "SHOW data_checksums", check=False)
        for password in ("it's $(a) pass word", "another")
    )  # fmt: skip
    assert (right.returncode, right.stdout) == (0, "on\n")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "password authentication failed" in wrong.stderr


def test_postgres_started_as_root_becomes_postgres(engine: Engine, start_postgres: Start) -> None:
    container = start_postgres("--env", "POSTGRES_PASSWORD=secret", "--env", "POSTGRES_DB=one more")

    owner = engine.docker("exec", container, "stat", "--format", "%u:%g", "/proc/1").stdout
    database = engine.docker("exec", "--user", "postgres", container, "psql", "--dbname", "one more", "--tuples-only",
                             "--no-align", "--command", 'CREATE EXTENSION "uuid-ossp"',
                             "--command", "SELECT length(uuid_generate_v4()::text)").stdout  # fmt: skip

    assert owner == "999:999\n"
    assert database == "CREATE EXTENSION\n36\n"


def test_traefik_takes_flags_alone_and_has_no_bash(engine: Engine, images: Images) -> None:
    version = engine.docker("run", "--rm", TRAEFIK, "version").stdout
    flags = engine.docker("run", "--rm", TRAEFIK, "--help").stdout
    bash = engine.docker("run", "--rm", TRAEFIK, "bash", "-c", "true", check=False)

    assert COMPONENTS["traefik"]["tag"].removeprefix("v") in version
    assert "Traefik" in flags
    assert bash.returncode != 0


def test_receiver_image_has_what_the_receiver_imports(engine: Engine, images: Images) -> None:
    done = engine.docker("run", "--rm", "--user", "65534:65534", "--read-only", "--cap-drop", "ALL", RECEIVER,
                         "python3", "-c", "import http.server, smtplib, sqlite3, ssl, tomllib")  # fmt: skip

    assert done.stderr == ""


def test_registry_serves_what_was_pushed(registry: Registry) -> None:
    digests = registry.push_index("team/sample", {"amd64": [{"etc/a": b"1"}], "arm64": [{"etc/a": b"2"}]}, tag="1")

    index = json.loads(read_url(f"http://{registry.host_address}/v2/team/sample/manifests/1"))

    seen = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    assert seen == {architecture: digests[architecture] for architecture in ("amd64", "arm64")}


def test_private_registry_refuses_who_has_no_password(private_registry: Registry) -> None:
    address = private_registry.host_address
    digest = private_registry.push("team/sample", [{"etc/a": b"1"}], tag="1")
    url = f"http://{address}/v2/team/sample/manifests/{digest}"
    config = json.loads((private_registry.docker_config(address) / "config.json").read_text())

    with pytest.raises(urllib.error.HTTPError, match="401"):
        read_url(url)
    known = read_url(url, Authorization=f"Basic {config['auths'][address]['auth']}")

    assert f"sha256:{hashlib.sha256(known).hexdigest()}" == digest
