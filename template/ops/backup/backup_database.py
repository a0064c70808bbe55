"""Dumps the databases into one folder under `backups/`, reads it back, and keeps as many as `backup_keep` says (`backup`).

Writes `backups/.NAME.new`, renamed to `backups/NAME` when everything in it was verified and is on the disk; an end of any
kind before that leaves nothing but the older backups. Services go on; each database is consistent in itself.
Exit codes: 0 done; 1 the hook failed, the backup is there; 2 configuration, or too little disk; 3 the database or Docker
does not answer, or another command is running. Environment: SKIP_MATCHER=1, WITH_SECRETS=1, PASSPHRASE_FILE, RECIPIENT,
BACKUP_HOOK (a command, split like a shell line; the backup's path is appended), JSON=1, TIMEOUT in seconds (7200).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..clair.run_clairctl import size
from ..errors import USAGE, Problem
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_files import make_folder, sync_folder, write_file
from ..settings import Deployment, load_deployment
from ..state.build_parts import CLAIR_SERVICES
from ..state.copy_state import copy_state
from ..state.track_change import refuse_unfinished
from .database_admin import database_container
from .dump_databases import Dumped, dump_databases, folder_bytes, image_identities
from .keep_backups import dated_ahead, prune, remove_leftovers
from .measure_tables import to_json
from .read_backup import FORMAT, MANIFEST, SUMS, Backup, backups_folder, file_sums
from .run_hook import hook_words, run_hook
from .seal_secrets import Seal, choose_seal, seal_secrets, try_seal

TIMEOUT_SECONDS = 7200.0


def make_backup(
    deployment: Deployment,
    progress: Progress,
    timeout_seconds: float,
    *,
    reason: str,
    skip_matcher: bool = False,
    with_secrets: Optional[Seal] = None,
) -> Backup:
    """Make a backup of the applied deployment and return it; then delete what `backup_keep` no longer keeps.

    The lock must be held. `reason` is such as `upgrade`. Raises Problem as `require_server`, `dump_databases` and
    `seal_secrets` do, and (2) if the disk is full; nothing is left then.
    """
    require_server(deployment)
    folder = backups_folder(deployment)
    make_folder(folder, 0o700)
    remove_leftovers(deployment)
    began = time.monotonic()
    now = _free_second(deployment)
    name = f"{deployment.name}-{now:%Y%m%dT%H%M%SZ}"
    new = folder / f".{name}.new"
    databases = [one for one in CLAIR_SERVICES if one in deployment.facts["services"]]
    skipped = ["matcher"] if skip_matcher else []
    wanted = [one for one in databases if one not in skipped]
    try:
        make_folder(new, 0o700)
        dumped = dump_databases(deployment, wanted, new, timeout_seconds, progress)
        sealed = ""
        if with_secrets is not None:
            seal_secrets(deployment, with_secrets, new)
            sealed = with_secrets.program
        copy_state(deployment, new)
        facts: Dict[str, Any] = {
            "format": FORMAT,
            "name": name,
            "deployment_name": deployment.name,
            "made_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "reason": reason,
            "skipped": skipped,
            "secrets": sealed or None,
        }
        manifest = {**facts, **_facts(deployment, dumped, new)}
        write_file(new / MANIFEST, _json(manifest), 0o600)
        _write_sums(new, progress)
        _sync(new)
        new.rename(folder / name)
        sync_folder(folder)
    except OSError as error:
        raise Problem(f"backup failed, backups/: {error.strerror}", "df -h backups; ls -ld backups", USAGE) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    backup = Backup(folder / name, manifest)
    seconds = time.monotonic() - began
    progress.line(f"backup backups/{name}: {size(folder_bytes(backup.path))}, read back and whole ({seconds:.1f} s)")
    for old in prune(deployment, held={backup.name}):
        progress.line(f"deleted backups/{old}: more than backup_keep")
    ahead = dated_ahead(deployment)
    if ahead:
        number = f"{len(ahead)} backups are" if len(ahead) > 1 else "one backup is"
        progress.line(
            f"warning: {number} dated in the future (backups/{ahead[0]}): not counted for backup_keep and not deleted"
        )
    return backup


def require_server(deployment: Deployment) -> None:
    """Raise Problem: the bundled server does not run (3), or nothing is applied, which holds how it is reached (2)."""
    if deployment.bundled_database:
        database_container(deployment)
    if not (deployment.applied / "deployment.json").is_file():
        raise Problem(f"database not reachable, {deployment.name}: state/applied is missing", "./clair up", USAGE)


def _facts(deployment: Deployment, dumped: Dumped, folder: Path) -> Dict[str, Any]:
    databases = {
        name: {
            "bytes": folder_bytes(folder / name),
            "size_bytes": dump.size_bytes,
            "seconds": dump.seconds,
            "extensions": dump.extensions,
            "tables": to_json(dump.tables),
        }
        for name, dump in dumped.databases.items()
    }
    return {
        "clair_release": deployment.release,
        "postgres_version": dumped.postgres_version,
        "architecture": deployment.architecture,
        "images": image_identities(deployment),
        "schema": {name: dump.schema for name, dump in dumped.databases.items()},
        "databases": databases,
    }


def _free_second(deployment: Deployment) -> datetime:
    """Return the time now, a second later if a backup has that name already."""
    while True:
        now = datetime.now(timezone.utc).replace(microsecond=0)
        if not (backups_folder(deployment) / f"{deployment.name}-{now:%Y%m%dT%H%M%SZ}").exists():
            return now
        time.sleep(0.1)


def _write_sums(folder: Path, progress: Progress) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = file_sums(folder, names, lambda done: progress.waiting(f"checksums, {size(done)}"))
    progress.end()
    write_file(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in names).encode(), 0o600)


def _sync(folder: Path) -> None:
    """Flush every folder; the files were flushed by whoever wrote them (pg_dump does, and `write_file`)."""
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync_folder(path)


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def main(argv: List[str]) -> int:
    """Run `backup`."""
    parser = Parser("backup", "Dump the databases, read the dump back, and keep the newest (backup_keep).")
    parser.add_switch("--skip-matcher", "SKIP_MATCHER", "leave out the matcher's database: feeds bring its data back")
    parser.add_switch(
        "--with-secrets", "WITH_SECRETS", "put secrets/ into it, encrypted with gpg or openssl of this host"
    )
    for flag, variable, metavar, text in (
        ("--passphrase-file", "PASSPHRASE_FILE", "FILE", "its first line is the passphrase for --with-secrets"),
        ("--recipient", "RECIPIENT", "KEY", "the gpg key for --with-secrets instead of a passphrase"),
        ("--hook", "BACKUP_HOOK", "COMMAND", "run with the path of the finished backup"),
    ):
        parser.add_argument(flag, default=os.environ.get(variable, ""), metavar=metavar, help=f"{text} [{variable}]")
    parser.add_switch("--json", "JSON", "print its manifest, path, size and time as JSON")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    end_like_ctrl_c()
    words = hook_words(options.hook)
    seal = _seal(options.with_secrets, options.passphrase_file, options.recipient)
    progress = Progress()
    with hold_lock(deployment, "backup"):
        refuse_unfinished(deployment)
        backup = make_backup(
            deployment,
            progress,
            options.timeout,
            reason="backup",
            skip_matcher=options.skip_matcher,
            with_secrets=seal,
        )
    path = f"backups/{backup.name}"
    if options.json:
        more = {"path": path, "bytes": folder_bytes(backup.path), "seconds": round(progress.seconds, 1)}
        print(json.dumps({**backup.manifest, **more}, indent=1, sort_keys=True), flush=True)
    else:
        print(path, flush=True)
    run_hook(words, backup.path, options.timeout, progress)
    return 0


def _seal(with_secrets: bool, passphrase_file: str, recipient: str) -> Optional[Seal]:
    """Return how secrets are encrypted, tried, or None without them. Raises Problem (2) as `choose_seal` and `try_seal` do."""
    if with_secrets:
        seal = choose_seal(passphrase_file, recipient)
        try_seal(seal)
        return seal
    for flag, value in (("--passphrase-file", passphrase_file), ("--recipient", recipient)):
        if value:
            raise Problem(
                f"wrong use, backup: {flag} without --with-secrets, so no secrets would be in it",
                f"./clair backup --with-secrets {flag} {shlex.quote(value)}",
                USAGE,
            )
    return None
