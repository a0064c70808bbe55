"""Everything works for a user who is in the group docker and not root, under umask 077, also after secrets were lost."""

from __future__ import annotations

import grp
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.live.samples import FAMILIES, add_samples, container_ids, sample_repository, wait_for_feeds, wait_until
from tests.live.support import COMMAND_SECONDS, Deployment, Engine, Images, render_deployment

UID = 12345
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SOCKET = Path("/var/run/docker.sock")
DATABASE_ROLES = ("superuser", "indexer", "matcher", "notifier", "ledger")


@dataclass(frozen=True)
class Operator:
    """A deployment and the user whose it is: nobody's root, in the group of Docker's socket, umask 077."""

    deployment: Deployment
    home: Path

    def clair(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `./clair ARGUMENTS` as that user; with `check`, a failure shows both outputs."""
        command = ["sh", "-c", 'umask 077 && exec ./clair "$@"', "clair", *arguments]
        if os.geteuid() == 0:
            groups = str(SOCKET.stat().st_gid)
            command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", f"--groups={groups}", *command]
        environment = {"PATH": SYSTEM_PATH, "HOME": str(self.home), "ALLOW_SMALL": "1", "NO_PROXY": "*", "LANG": "C"}
        if "DOCKER_HOST" in os.environ:
            environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
        done = subprocess.run(command, cwd=self.deployment.root, env=environment, capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, check=False)  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def compose_plugin() -> Path | None:
    """Return Compose where only this user has it, or None where every user does."""
    own = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "cli-plugins" / "docker-compose"
    system = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
    if any((Path(folder) / "docker/cli-plugins/docker-compose").exists() for folder in system) or not own.exists():
        return None
    return own


@pytest.fixture(scope="module")
def operator(engine: Engine, images: Images, whole_template: Path) -> Iterator[Operator]:
    """Render under umask 077, hand the repository to the user, start it as that user, load the feeds."""
    if os.geteuid() == 0 and (not SOCKET.is_socket() or stat.S_IMODE(SOCKET.stat().st_mode) & 0o060 != 0o060):
        pytest.skip("Docker's socket is not open to a group here, and another user could not be in it")
    # Not below pytest's own folder, which no other user may enter.
    workspace = Path(tempfile.mkdtemp(prefix="clairtest-user-"))
    old_umask = os.umask(0o077)
    try:
        made = render_deployment(whole_template, workspace / "deployment", engine, {"updater_families": FAMILIES})
        images.ensure(*made.facts["images"].values())
        add_samples(made)
        home = workspace / "home"
        plugin = compose_plugin()
        (home / ".docker" / "cli-plugins").mkdir(parents=True)
        if plugin:
            shutil.copy2(plugin, home / ".docker" / "cli-plugins" / "docker-compose")
    finally:
        os.umask(old_umask)
    deployment = replace(made, root=workspace / "deployment")
    if os.geteuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, UID, UID)
    operator = Operator(deployment, home)
    try:
        operator.clair("up")
        wait_for_feeds(deployment)
        yield operator
    finally:
        deployment.remove()
        shutil.rmtree(workspace, ignore_errors=True)


def test_what_was_made_is_closed_to_others(operator: Operator) -> None:
    root = operator.deployment.root

    for name in ("secrets", "state"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o700, name
    for path in (root / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o444, path
    owners = {path.stat().st_uid for name in ("secrets", "state") for path in (root / name).rglob("*")}
    assert owners == {UID if os.geteuid() == 0 else os.geteuid()}


def test_containers_can_read_what_they_mount(operator: Operator) -> None:
    applied = operator.deployment.root / "state" / "applied"

    for part in (path for path in applied.iterdir() if path.is_dir()):
        for path in (part, *part.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == 0o755 if path.is_dir() else mode & 0o444 == 0o444, path
    assert operator.clair("ps").returncode == 0


def test_the_main_job_works(operator: Operator) -> None:
    image = f"{sample_repository(operator.deployment)}/sample/debian:12"
    output = operator.deployment.root / "result.json"

    operator.clair("verify")
    printed = operator.clair("scan", image, check=False)
    written = operator.clair("scan", image, "--format", "json", "--output", "result.json", check=False)

    assert printed.returncode == written.returncode == 1
    assert "CVE-2023-6246" in printed.stdout
    assert output.stat().st_uid == (UID if os.geteuid() == 0 else os.geteuid())


def test_everyday_commands_work(operator: Operator) -> None:
    before = container_ids(operator.deployment)

    operator.clair("up")
    operator.clair("diff")
    operator.clair("check")
    operator.clair("restart", "receiver")
    logs = operator.clair("logs", "receiver").stdout

    assert container_ids(operator.deployment) == before
    assert "receiver ready" in logs


def test_deleted_secrets_are_repaired_while_the_data_remains(operator: Operator) -> None:
    deployment = operator.deployment
    count = "SELECT count(*) FROM vuln"
    before = deployment.psql("matcher", count)
    names = [f"database-{role}" for role in DATABASE_ROLES]
    old = {name: (deployment.root / "secrets" / name).read_text() for name in names}
    for name in names:
        (deployment.root / "secrets" / name).unlink()

    done = operator.clair("up")

    new = {name: (deployment.root / "secrets" / name).read_text() for name in names}
    assert all(f"created secrets/{name}" in done.stderr for name in names)
    assert not set(old.values()) & set(new.values())
    assert not any(value in done.stdout + done.stderr for value in (*old.values(), *new.values()))
    assert deployment.psql("matcher", count) == before
    for role in DATABASE_ROLES:
        user, database = (
            ("postgres", "postgres") if role == "superuser" else (role, "matcher" if role == "ledger" else role)
        )
        for secrets, code in ((new, 0), (old, 2)):
            answer = deployment.engine.docker(
                "exec", "--env", f"PGPASSWORD={secrets[f'database-{role}']}", deployment.container("clair-database"),
                "psql", "-X", "-q", "-w", "-h", "127.0.0.1", "-U", user, "-d", database, "-c", "SELECT 1", check=False,
            )  # fmt: skip
            assert answer.returncode == code, (role, answer.stderr)
    operator.clair("verify")
    image = f"{sample_repository(deployment)}/sample/debian:12"
    assert operator.clair("scan", image, check=False).returncode == 1


def test_lost_state_is_made_again(operator: Operator) -> None:
    deployment = operator.deployment
    count = "SELECT count(*) FROM vuln"
    before = deployment.psql("matcher", count)
    shutil.rmtree(deployment.root / "state")

    operator.clair("up")

    assert deployment.psql("matcher", count) == before
    # A container mounts the folder it was started with, and that one is gone.
    wait_until(lambda: operator.clair("verify", check=False).returncode == 0, "everything to work again", 60)


def test_who_is_not_in_the_group_is_told_so_in_one_line(operator: Operator) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without the group")
    assert grp.getgrgid(SOCKET.stat().st_gid)
    command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "./clair", "ps"]
    environment = {"PATH": SYSTEM_PATH, "HOME": str(operator.home)}
    done = subprocess.run(command, cwd=operator.deployment.root, env=environment, capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "docker not allowed, its socket: permission denied for this user",
        'HINT: sudo usermod -aG docker "$USER", then log in again',
    ]


def test_destroy_leaves_nothing_behind(operator: Operator) -> None:
    operator.clair("destroy", "--confirm", operator.deployment.name)

    assert container_ids(operator.deployment) == {}
    assert not (operator.deployment.root / "secrets").exists()
    assert not (operator.deployment.root / "state").exists()
