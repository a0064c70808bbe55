"""Make the local image `quay.io/projectquay/clair:<release>` that holds the double: `python -m tests.doubles.clair.build 4.9.0`.

The image looks like the original to whoever starts it (paths, user, volume, environment, port), and says in its label
`clair-template.stand-in` and in its first log line that it is a double. It is made again when the double or what it reads changed.
Environment: DOCKER replaces `docker`. Needs the images that tests/doubles/images makes, so mmdebstrap the first time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .releases import RELEASES, Release

IMAGE = "quay.io/projectquay/clair"
LABEL = "clair-template.stand-in"
DIGEST_LABEL = "clair-template.stand-in-digest"
NATURE = "a test double of Clair in Python, it answers like the recordings of the original"
BASE = "clair-template/clair-double-base"
_HERE = Path(__file__).resolve().parent
_PROJECT = _HERE.parents[2]
_KEYS = _PROJECT / "extensions" / "data" / "clair-config-keys.json"
_RECORDINGS = _HERE.parent / "recordings"
_HOST_ONLY = {"build.py", "__pycache__"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
HOST_ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())

_BASE_DOCKERFILE = """
FROM {debian}
RUN apt-get update --quiet=2 \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \\
        bash python3 python3-yaml python3-zstandard > /dev/null \\
 && rm --recursive --force /var/lib/apt/lists/* /var/cache/apt/*.bin \\
 && sed --in-place 's/^nobody:.*/nobody:x:65534:65534:nobody:\\/:\\/sbin\\/nologin/' /etc/passwd \\
 && sed --in-place 's/^nogroup:/nobody:/' /etc/group \\
 && install --directory --mode 1777 /tmp /var/tmp && mkdir --parents /config /var/run/certs
"""

_DOCKERFILE = """
FROM {base}
COPY clair /usr/lib/clair-double/clair_double
COPY --chmod=0755 programs/ {folder}/
RUN python3 -m compileall -q /usr/lib/clair-double
ENV CLAIR_CONF=/config/config.yaml CLAIR_MODE=combo SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:/var/run/certs \\
    CLAIR_DOUBLE_RELEASE={release}
LABEL {label}="{nature}" {digest_label}={digest}
VOLUME /config
EXPOSE 6060
WORKDIR /run
USER nobody:nobody
ENTRYPOINT {entrypoint}
"""

_PROGRAM = """#!/usr/bin/python3 -ISs
import os, sys
sys.path[:0] = ["/usr/lib/clair-double", "/usr/lib/python3/dist-packages"]
from clair_double.{module} import main
code = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""

# The init of the originals up to 4.6.1: starts its argument, hands signals on, reaps, returns the exit code.
_INIT = """#!/bin/bash
[ "$1" = -- ] && shift
"$@" &
child=$!
for signal in INT TERM HUP QUIT USR1 USR2; do trap "kill -$signal $child" $signal; done
wait "$child"; code=$?
while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
exit "$code"
"""


class BuildError(Exception):
    """The image could not be made; the text is one sentence."""


def build(release: str, architecture: str = HOST_ARCHITECTURE, name: str = "") -> str:
    """Make the image of a release unless it is there and current; return its name, which is Clair's unless another is asked for.

    An image of another architecture than this machine's is the same one with the other architecture written on it: enough for
    whatever only looks at images. Raises BuildError.
    """
    name = name or f"{IMAGE}:{release.removeprefix('v')}"
    facts = RELEASES.get(release.removeprefix("v"))
    if facts is None:
        raise BuildError(f"there is no double of Clair {release}")
    digest = _digest(facts, architecture)
    with _one_at_a_time(), tempfile.TemporaryDirectory() as folder:
        if _label(name, DIGEST_LABEL) == digest:
            return name
        base = _ensure_base()
        context = Path(folder)
        _fill(context, facts)
        flags = [] if architecture == HOST_ARCHITECTURE else ["--platform", f"linux/{architecture}"]
        entrypoint = f'["{_folder(facts)}/clair"]'
        if not facts.since("4.7.0"):
            entrypoint = f'["/usr/local/bin/catatonit", "--", "{_folder(facts)}/clair"]'
        dockerfile = _DOCKERFILE.format(
            base=base, folder=_folder(facts), release=facts.name, label=LABEL, nature=NATURE, digest_label=DIGEST_LABEL,
            digest=digest, entrypoint=entrypoint,
        )  # fmt: skip
        if not facts.since("4.7.0"):
            dockerfile = dockerfile.replace("RUN python3", "COPY init /usr/local/bin/catatonit\nRUN python3")
        # The legacy builder has no COPY --chmod; the files carry their mode.
        (context / "Dockerfile").write_text(dockerfile.replace("--chmod=0755 ", ""), encoding="utf-8")
        if flags:
            _import_for(architecture, context, name)
        else:
            _docker("build", "--quiet", "--tag", name, str(context))
    return name


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two test runs on one machine from building the same image."""
    with (Path(tempfile.gettempdir()) / f"clair-double-build-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(release: Release) -> str:
    return "/usr/bin" if release.since("4.8.0") else "/bin"


def _fill(context: Path, release: Release) -> None:
    package = context / "clair"
    shutil.copytree(_HERE, package, ignore=shutil.ignore_patterns(*_HOST_ONLY))
    shutil.copy(_KEYS, package / "clair-config-keys.json")
    shutil.copytree(_RECORDINGS, package / "recordings")
    programs = context / "programs"
    programs.mkdir()
    for program, module in (("clair", "server"), ("clairctl", "clairctl")):
        path = programs / program
        path.write_text(_PROGRAM.format(module=module), encoding="utf-8")
        path.chmod(0o755)
    init = context / "init"
    init.write_text(_INIT, encoding="utf-8")
    init.chmod(0o755)
    for path in package.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _import_for(architecture: str, context: Path, name: str) -> None:
    """Build for this machine, then write the other architecture on it by export and import."""
    local = f"clair-template/build:clair-{architecture}"
    _docker("build", "--quiet", "--tag", local, str(context))
    container = _docker("create", local).strip()
    try:
        dockerfile = (context / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
        changes = [
            word
            for line in dockerfile.splitlines()
            if line.split(" ")[0] in ("ENV", "LABEL", "VOLUME", "EXPOSE", "WORKDIR", "USER", "ENTRYPOINT")
            for word in ("--change", line)
        ]
        with subprocess.Popen([*_command(), "export", container], stdout=subprocess.PIPE) as export:
            subprocess.run(
                [*_command(), "import", "--platform", f"linux/{architecture}", *changes, "-", name],
                stdin=export.stdout, stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise BuildError(f"docker import of {name} failed with exit code {error.returncode}") from error
    finally:
        _docker("rm", container)
        _docker("rmi", "--no-prune", local)


def _ensure_base() -> str:
    from tests.doubles.images import build as images

    recipe = hashlib.sha256(_BASE_DOCKERFILE.encode()).hexdigest()[:12]
    name = f"{BASE}:{recipe}"
    if _label(name, LABEL) is not None:
        return name
    debian = images.ensure_base("trixie")
    dockerfile = (
        _BASE_DOCKERFILE.format(debian=debian) + f'LABEL {LABEL}="Debian with Python, for the double of Clair"\n'
    )
    proxies = [
        word
        for key in ("http_proxy", "https_proxy", "no_proxy")
        if os.environ.get(key)
        for word in ("--build-arg", f"{key}={os.environ[key]}")
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        _docker("build", "--quiet", "--network", "host", *proxies, "--tag", name, folder)
    return name


def _digest(release: Release, architecture: str) -> str:
    digest = hashlib.sha256(f"{release} {architecture} {_BASE_DOCKERFILE} {_DOCKERFILE} {_PROGRAM} {_INIT}".encode())
    for path in sorted([*_HERE.glob("*.py"), *_RECORDINGS.glob("*.json"), _KEYS]):
        if path.name not in _HOST_ONLY:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _label(image: str, label: str) -> str | None:
    template = '{{range $name, $value := .Config.Labels}}{{printf "%s=%s\\n" $name $value}}{{end}}'
    done = subprocess.run([*_command(), "image", "inspect", "--format", template, image], capture_output=True, text=True,
                          check=False)  # fmt: skip
    match = re.search(rf"(?m)^{re.escape(label)}=(.*)$", done.stdout)
    return match.group(1) if match else None


def _command() -> list[str]:
    return shlex.split(os.environ.get("DOCKER") or "docker")


def _docker(*arguments: str) -> str:
    done = subprocess.run([*_command(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise BuildError(f"docker {arguments[0]} failed with exit code {done.returncode}: {tail}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Build the releases named, or all."""
    try:
        for release in arguments or list(RELEASES):
            print(build(release), flush=True)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
