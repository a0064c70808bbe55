"""Proves a backup: loads it into a scratch server and compares every table with what was measured at the dump (`restore-test`).

Touches nothing of the deployment, bundled or external database alike. Writes nothing that stays. Exit codes: 0 every row is
there; 1 the backup is damaged, or what comes out of it differs; 2 no backup, or wrong use; 3 Docker does not answer, no end in
time, or another restore-test is running. Environment: FILE (default: the newest backup), JSON=1, TIMEOUT in seconds (7200).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

from ..clair.run_clairctl import size
from ..errors import USAGE, Problem
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_files import dangling
from ..settings import Deployment, load_deployment
from ..state.role_passwords import SUPERUSER, identifier
from .dump_databases import folder_bytes
from .load_backup import FOLDER, LoadFollower, extension_statements, load_script, require_room
from .read_backup import Backup, backups_folder, check_backup, newest_backup
from .run_client import Mount
from .scratch_server import Scratch, scratch_server

TIMEOUT_SECONDS = 7200.0
PURPOSE = "restore-test"


def choose_backup(deployment: Deployment, file: str) -> Path:
    """Return the folder of a backup: `file`, from here, from the deployment's folder or from its backups, or the newest.

    Raises Problem (2) if there is none.
    """
    if not file:
        newest = newest_backup(deployment)
        if newest is None:
            lost = dangling(backups_folder(deployment))
            hint = "ls -ld backups" if lost else "./clair backup"
            raise Problem(f"backup not found, backups/: {lost or 'there is none yet'}", hint, USAGE)
        return newest.path
    places = (Path(file), deployment.root / file, backups_folder(deployment) / file)
    return next((path for path in places if path.exists()), deployment.root / file)


def prove(deployment: Deployment, backup: Backup, timeout_seconds: float, progress: Progress) -> Dict[str, Any]:
    """Load a checked backup into a scratch server and return what was found, as `--json` prints it.

    Raises Problem as `LoadFollower.judge` does, and (2) if its PostgreSQL is newer than this deployment's image.
    """
    mounts = [Mount(backup.path, FOLDER)]
    with scratch_server(deployment, PURPOSE, progress, mounts) as scratch:
        refuse_newer_server(backup, _major(scratch))
        require_room("restore-test not begun, Docker's disk", scratch.free_bytes(), backup)
        names = backup.databases
        scratch.psql("".join(f"CREATE DATABASE {identifier(name)} TEMPLATE template0;\n" for name in names))
        for name in names:
            scratch.psql(extension_statements(backup.extensions(name)), name)
        follower = LoadFollower(backup, progress)
        script = load_script(backup, {name: name for name in names}, "guard\n", SUPERUSER, ledger=False)
        client = scratch.run(script, timeout_seconds, line=follower.line, tick=follower.tick)
        progress.end()
        follower.judge(client, "restore-test")
    tables = [table for name in names for table in follower.found[name].values()]
    return {
        "format": 1,
        "backup": backup.name,
        "made_at": backup.made_at,
        "databases": names,
        "tables": len(tables),
        "rows": sum(table.rows for table in tables),
        "seconds": round(progress.seconds, 1),
    }


def refuse_newer_server(backup: Backup, major: int) -> None:
    """Raise Problem (2) if a backup was made from a newer PostgreSQL major than the one it is to be loaded into."""
    if backup.postgres_major > major:
        raise Problem(
            f"backup not usable, {backup.name}: made from PostgreSQL {backup.postgres_major}, and this deployment has {major}",
            f"copier update --trust --defaults --data database_version={backup.postgres_major}",
            USAGE,
        )


def _major(scratch: Scratch) -> int:
    return int(scratch.psql("SELECT current_setting('server_version_num')::int / 10000;\n").strip())


def read_whole(path: Path, progress: Progress) -> Backup:
    """Return a backup after every byte of it was checked, with progress. Raises Problem as `check_backup` does."""
    try:
        return check_backup(path, lambda done: progress.waiting(f"checking {path.name}, {size(done)} read"))
    finally:
        progress.end()


def main(argv: List[str]) -> int:
    """Run `restore-test`."""
    parser = Parser("restore-test", "Prove a backup in a scratch database: every row and every digest.")
    parser.add_file("the backup (default: newest)")
    parser.add_switch("--json", "JSON", "print a JSON document")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    end_like_ctrl_c()
    progress = Progress()
    deployment.state.mkdir(mode=0o700, exist_ok=True)
    with hold_lock(deployment, "restore-test", deployment.state / "restore-test.lock"):
        path = choose_backup(deployment, options.file)
        backup = read_whole(path, progress)
        progress.line(
            f"{backup.name}: {', '.join(backup.databases)} of Clair {backup.manifest['clair_release']}, "
            f"{size(folder_bytes(backup.path))}, whole; loading it into a scratch database"
        )
        found = prove(deployment, backup, options.timeout, progress)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(
            f"{backup.name} proved: {found['rows']} rows of {found['tables']} tables, as at {backup.made_at} "
            f"({found['seconds']} s)"
        )
    return 0
