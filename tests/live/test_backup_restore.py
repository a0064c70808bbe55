"""`backup`, `restore` and `restore-test` on real PostgreSQL: every row comes back, no secret leaves, nothing is touched early."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.live.backups import CLAIR, backup, fill, folder_names, letter, no_leftovers, secrets_of, tables
from tests.live.conftest import DeploymentFactory
from tests.live.samples import (
    FAMILIES,
    add_samples,
    clair,
    findings,
    sample_repository,
    scan,
    wait_for_feeds,
    wait_until,
)
from tests.live.support import Deployment

ROWS = 2000
SAMPLE = "sample/debian:12"


@pytest.fixture(scope="module")
def filled(shared_deployment: DeploymentFactory) -> Deployment:
    """A running deployment whose feeds are loaded and which has scanned an image."""
    deployment = shared_deployment(updater_families=FAMILIES)
    add_samples(deployment)
    clair(deployment, "up")
    wait_for_feeds(deployment)
    assert scan(deployment, f"{sample_repository(deployment)}/{SAMPLE}").returncode == 1
    return deployment


def report(deployment: Deployment) -> set[object]:
    """Return what a scan of the sample finds."""
    done = scan(deployment, f"{sample_repository(deployment)}/{SAMPLE}", "--format", "json", "--timeout", "60")
    assert done.returncode == 1, done.stderr
    return set(findings(json.loads(done.stdout)))


def test_a_backup_holds_every_table_and_can_be_checked_with_sha256sum(filled: Deployment) -> None:
    done = clair(filled, "backup", "--json")

    document = json.loads(done.stdout)
    folder = filled.root / document["path"]
    checked = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert checked.returncode == 0
    for name in ("indexer", "notifier"):
        held = {
            table: [str(one["rows"]), one["digest"]] for table, one in document["databases"][name]["tables"].items()
        }
        assert held == tables(filled, name)
    assert set(document["databases"]["matcher"]["tables"]) == set(tables(filled, "matcher"))
    assert document["schema"] == filled.facts["release"]["schema"]
    assert set(document["images"]) == set(filled.facts["images"].values())
    assert (folder / "copier-answers.yml").read_bytes() == (filled.root / ".copier-answers.yml").read_bytes()


def test_no_secret_is_in_a_backup_and_nobody_else_can_read_it(filled: Deployment) -> None:
    folder = backup(filled)

    held = secrets_of(filled)
    assert {"psk", "database-superuser", "database-matcher"} <= set(held)
    files = [path for path in folder.rglob("*") if path.is_file()]
    image = filled.facts["images"]["clair-database"]
    plain = [path.read_bytes() for path in files]
    for name in CLAIR:
        # The dumps as SQL, because they are compressed.
        sql = filled.engine.docker("run", "--rm", "--network", "none", "--volume", f"{folder / name}:/dump:ro", "--user",
                                   f"{folder.stat().st_uid}:{folder.stat().st_gid}", "--entrypoint", "pg_restore", image,
                                   "--file", "-", "/dump")  # fmt: skip
        assert "COPY public." in sql.stdout
        plain.append(sql.stdout.encode())
    for name, content in held.items():
        assert not any(content in text for text in plain), f"secrets/{name} is in the backup"
    assert {oct(path.stat().st_mode & 0o077) for path in [folder, folder.parent, *folder.rglob("*")]} == {"0o0"}


def test_restored_data_is_that_of_the_backup_and_answers_as_before(filled: Deployment) -> None:
    fill(filled, "a", ROWS)
    before, held = report(filled), {name: tables(filled, name) for name in ("indexer", "notifier")}
    folder = backup(filled)
    fill(filled, "b", ROWS)
    filled.psql("indexer", "TRUNCATE manifest, layer CASCADE")
    filled.psql("matcher", "DELETE FROM vuln")

    done = clair(filled, "restore", str(folder), "--yes")

    assert letter(filled, ROWS) == "a"
    assert {name: tables(filled, name) for name in ("indexer", "notifier")} == held
    assert report(filled) == before
    assert done.stdout == ""
    told = [line.split()[0] for line in done.stderr.splitlines()]
    assert told[:3] == ["source", "destination", "overwritten"]
    wait_until(lambda: clair(filled, "ps", check=False).returncode == 0, "all healthy", 30)
    no_leftovers(filled)


def test_the_feed_ledger_is_readable_after_a_restore_also_in_tables_that_come_later(filled: Deployment) -> None:
    clair(filled, "restore", str(backup(filled)), "--yes")
    filled.psql("matcher", "SET ROLE matcher; CREATE TABLE public.later (n int); RESET ROLE; "
                           "SET ROLE ledger; SELECT n FROM public.later; SELECT count(*) FROM vuln;")  # fmt: skip
    filled.psql("matcher", "DROP TABLE public.later")

    rights = filled.psql("postgres", "SELECT has_database_privilege('indexer', 'matcher', 'CONNECT'), "
                                     "has_database_privilege('ledger', 'matcher', 'CONNECT')")  # fmt: skip
    assert rights == [["f", "t"]]


def test_without_the_matcher_its_database_stays_as_it_is(filled: Deployment) -> None:
    fill(filled, "a", ROWS)
    folder = backup(filled, "--skip-matcher")
    fill(filled, "b", ROWS)

    done = clair(filled, "restore", str(folder), "--yes")

    assert not (folder / "matcher").exists()
    assert "stays        database matcher: not in this backup" in done.stderr
    assert filled.psql("indexer", "SELECT min(letter) FROM mark") == [["a"]]
    assert filled.psql("matcher", "SELECT min(letter) FROM mark") == [["b"]]


@pytest.mark.parametrize("confirm", ["", "clair", "yes"], ids=lambda value: f"confirm={value}")
def test_without_its_name_nothing_is_touched(filled: Deployment, confirm: str) -> None:
    fill(filled, "a", ROWS)
    folder = backup(filled)
    fill(filled, "b", ROWS)

    done = filled.run("restore", str(folder), check=False, CONFIRM=confirm)

    assert done.returncode == 2
    assert done.stderr.startswith(f"nothing restored, {filled.name}: ")
    assert letter(filled, ROWS) == "b"
    no_leftovers(filled)


def test_restore_test_proves_the_newest_backup_and_leaves_nothing(filled: Deployment) -> None:
    folder = backup(filled)

    done = clair(filled, "restore-test")

    assert done.stdout.startswith(f"{folder.name} proved: ")
    no_leftovers(filled)


def test_restore_test_sees_a_row_that_is_other_than_at_the_dump(filled: Deployment) -> None:
    folder = backup(filled)
    manifest = folder / "manifest.json"
    document = json.loads(manifest.read_text(encoding="utf-8"))
    table = document["databases"]["indexer"]["tables"]["public.mark"]
    table["digest"] = str(int(table["digest"]) + 1)
    manifest.write_text(json.dumps(document), encoding="utf-8")
    sums = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "SHA256SUMS"]
    listed = subprocess.run(["sha256sum", *(str(path.relative_to(folder)) for path in sums)], cwd=folder, check=True,
                            capture_output=True, text=True).stdout  # fmt: skip
    (folder / "SHA256SUMS").write_text(listed, encoding="utf-8")

    tested = clair(filled, "restore-test", str(folder), check=False)
    restored = clair(filled, "restore", str(folder), "--yes", check=False)

    assert (tested.returncode, restored.returncode) == (1, 1)
    assert "database indexer: table public.mark has other content in its 2000 rows" in tested.stderr
    assert "database indexer: table public.mark has other content in its 2000 rows" in restored.stderr
    no_leftovers(filled)
    shutil.rmtree(folder)


def test_a_failed_hook_is_said_and_the_backup_is_kept(
    filled: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copies = tmp_path_factory.mktemp("copies")

    good = clair(filled, "backup", BACKUP_HOOK=f"cp -r --target-directory={copies}")
    bad = clair(filled, "backup", "--hook", "sh -c 'echo to standard output; exit 7'", check=False)

    name = good.stdout.strip().removeprefix("backups/")
    assert sorted(path.name for path in (copies / name).iterdir()) == sorted(
        path.name for path in (filled.root / "backups" / name).iterdir()
    )
    assert bad.returncode == 1
    kept = bad.stdout.strip()
    assert bad.stdout.count("\n") == 1
    assert f"hook failed, sh: exit code 7; the backup {kept} is whole" in bad.stderr
    assert clair(filled, "restore-test", kept).returncode == 0


def test_a_whole_deployment_comes_back_on_an_empty_volume(filled: Deployment, deployment: DeploymentFactory) -> None:
    before = report(filled)
    folder = backup(filled)
    other = deployment(updater_families=FAMILIES)
    add_samples(other)
    clair(other, "database")

    refused = clair(other, "restore", str(folder), "--yes", check=False)
    done = clair(other, "restore", str(folder), "--confirm", other.name)
    clair(other, "up")

    assert refused.returncode == 2
    assert "backup of another deployment" in refused.stderr
    assert f"note         this is a backup of another deployment, {filled.name}" in done.stderr
    assert "next: ./clair up" in done.stderr
    answered = scan(other, f"{sample_repository(other)}/{SAMPLE}", "--format", "json")
    assert set(findings(json.loads(answered.stdout))) == before
    assert clair(other, "ps").returncode == 0
    assert folder_names(other) == set()
