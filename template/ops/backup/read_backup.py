"""Reads backups: which there are, what their manifests say, and whether each file is still what it was.

A backup is a folder `backups/NAME`; `SHA256SUMS` lists every other file in it, so that `sha256sum -c SHA256SUMS` works
too. A folder whose name begins with a dot was never finished and is none. Writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..errors import NO, USAGE, Problem
from ..settings import Deployment
from ..state.build_parts import CLAIR_SERVICES
from .measure_tables import Table, from_json

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
_CHUNK_BYTES = 1024 * 1024
_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)+(?:-[0-9A-Za-z.]+)?")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)")


@dataclass(frozen=True)
class Backup:
    """A backup: its folder (absolute) and its parsed manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def made_at(self) -> str:
        """When it was made, UTC, ISO 8601."""
        return str(self.manifest["made_at"])

    @property
    def databases(self) -> List[str]:
        """The databases it holds, in the order of the data's flow."""
        return [name for name in CLAIR_SERVICES if name in self.manifest["databases"]]

    @property
    def schema(self) -> Dict[str, int]:
        """The highest migration of each database it holds; 0 where there was none yet."""
        return {name: int(self.manifest["schema"][name]) for name in self.databases}

    @property
    def postgres_major(self) -> int:
        """The major of the server it was made from."""
        return int(str(self.manifest["postgres_version"]).partition(".")[0])

    def tables(self, database: str) -> Dict[str, Table]:
        """Return what each table of a database held."""
        return from_json(self.manifest["databases"][database]["tables"])

    def extensions(self, database: str) -> Dict[str, str]:
        """Return the extensions of a database and the schema of each."""
        return {str(name): str(schema) for name, schema in self.manifest["databases"][database]["extensions"].items()}

    def size_bytes(self, database: str) -> int:
        """Return how large a database was on the server, with its indexes."""
        return int(self.manifest["databases"][database]["size_bytes"])


def backups_folder(deployment: Deployment) -> Path:
    """Return the folder of the backups."""
    return deployment.root / "backups"


def backups(deployment: Deployment) -> List[Backup]:
    """Return this deployment's backups whose manifest can be read, the oldest first; their content is not looked at."""
    folder = backups_folder(deployment)
    found = []
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.name.startswith(".") or not (path / MANIFEST).is_file():
            continue
        try:
            backup = read_manifest(path)
        except Problem:  # damaged, or somebody else's folder: `check_backup` says so to whoever names it
            continue
        if backup.manifest["deployment_name"] == deployment.name:
            found.append(backup)
    return sorted(found, key=lambda backup: (backup.made_at, backup.name))


def newest_backup(deployment: Deployment) -> Optional[Backup]:
    """Return the newest of `backups`, or None."""
    return next(reversed(backups(deployment)), None)


def read_manifest(path: Path, summed: bool = False) -> Backup:
    """Return the backup in a folder by its manifest alone; `summed`: only if the manifest is what it was when it was made.

    Raises Problem (2) if it is no backup or one of a format this command does not know, (1) if the manifest is damaged.
    """
    path = path.resolve()
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if summed:
            # Before anything is concluded from it.
            _require_sum(path)
        if manifest["format"] != FORMAT:
            reason = f"format {manifest['format']}, and this command reads format {FORMAT}"
            raise Problem(f"backup not usable, {path.name}: {reason}", "ls backups", USAGE)
        backup = Backup(path, manifest)
        wrong = _wrong_member(backup)
    except FileNotFoundError as error:
        what = "no such folder" if not path.is_dir() else f"it has no {MANIFEST}, so it is no backup"
        raise Problem(f"backup not found, {path.name}: {what}", "ls backups", USAGE) from error
    except NotADirectoryError as error:
        raise Problem(f"backup not found, {path.name}: a backup is a folder", "ls backups", USAGE) from error
    except OSError as error:
        raise Problem(
            f"backup unreadable, {path.name}: {error.strerror}", f"ls -l {shlex.quote(str(path))}", USAGE
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(path.name, f"{MANIFEST} is not readable") from error
    if wrong:
        raise damaged(path.name, f"{MANIFEST} {wrong}")
    return backup


def _wrong_member(backup: Backup) -> str:
    """Return what is wrong in a manifest, or an empty text.

    Everything that is read later is read once here: raises ValueError, KeyError, TypeError or AttributeError for what cannot be.
    """
    manifest = backup.manifest
    for name in backup.databases:
        _ = backup.tables(name), backup.extensions(name), backup.size_bytes(name)
    _ = backup.schema, backup.postgres_major
    if not backup.databases or set(manifest["databases"]) != set(backup.databases):
        return "names databases that are not Clair's"
    for member in ("deployment_name", "made_at", "clair_release", "postgres_version"):
        if not isinstance(manifest[member], str):
            return f"has a {member} that is no text"
    if datetime.strptime(backup.made_at, _TIME).strftime(_TIME) != backup.made_at:
        return "has a made_at that is no time"
    if not _RELEASE.fullmatch(manifest["clair_release"]):
        return "has a clair_release that is no release"
    skipped = manifest["skipped"]
    if not isinstance(skipped, list) or not all(name in CLAIR_SERVICES for name in skipped):
        return "has a member skipped that is no list of Clair's databases"
    return ""


def _require_sum(path: Path) -> None:
    """Raise Problem (1) if the manifest is not what `SHA256SUMS` says."""
    if file_sums(path, [MANIFEST])[MANIFEST] != read_sums(path)[MANIFEST]:
        raise damaged(path.name, f"{MANIFEST} is not what it was when the backup was made")


def check_backup(path: Path, tick: Callable[[int], None] = lambda done: None) -> Backup:
    """Read all of a backup and return it if every file is what it was when it was made.

    `tick` gets the number of bytes read so far. Raises Problem: no backup (2), one byte is other, a file is missing or
    too many (1).
    """
    backup = read_manifest(path, summed=True)
    path = backup.path
    sums = read_sums(path)
    present = {
        found.relative_to(path).as_posix() for found in path.rglob("*") if not found.is_dir() or found.is_symlink()
    }
    missing, extra = sorted(set(sums) - present), sorted(present - set(sums) - {SUMS})
    if missing:
        raise damaged(backup.name, f"{missing[0]} is missing")
    if extra:
        raise damaged(backup.name, f"{extra[0]} does not belong to it")
    for name, found in file_sums(path, list(sums), tick).items():
        if found != sums[name]:
            raise damaged(backup.name, f"{name} is not what it was when the backup was made")
    for name in backup.databases:
        if f"{name}/toc.dat" not in sums:
            raise damaged(backup.name, f"{name}/toc.dat is missing")
    return backup


def read_sums(path: Path) -> Dict[str, str]:
    """Return the sha256 of each file as `SHA256SUMS` has it. Raises Problem (1) if it cannot be read."""
    try:
        text = (path / SUMS).read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise damaged(path.name, f"{SUMS} is missing") from error
    except (OSError, ValueError) as error:
        raise damaged(path.name, f"{SUMS} is not readable") from error
    found = [_SUM.fullmatch(line) for line in text.split("\n")[:-1]]
    sums = {match.group(2): match.group(1) for match in found if match}
    if not text.endswith("\n") or len(sums) != len(found) or MANIFEST not in sums or ".." in "/".join(sums).split("/"):
        raise damaged(path.name, f"{SUMS} is not readable")
    return sums


def file_sums(path: Path, names: List[str], tick: Callable[[int], None] = lambda done: None) -> Dict[str, str]:
    """Return the sha256 of files below a folder, two at a time (hashing lets the other thread run).

    Raises Problem (1) if one cannot be read.
    """
    done = [0]

    def digest(name: str) -> str:
        total = hashlib.sha256()
        try:
            with (path / name).open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    total.update(chunk)
                    done[0] += len(chunk)
        except OSError as error:
            raise damaged(path.name, f"{name} cannot be read: {error.strerror}") from error
        return total.hexdigest()

    with ThreadPoolExecutor(max_workers=2) as pool:
        results = {}
        for name, result in zip(names, pool.map(digest, names)):
            results[name] = result
            tick(done[0])
    return results


def damaged(name: str, what: str) -> Problem:
    """Return the Problem (1) for a backup that is not whole."""
    return Problem(f"backup damaged, {name}: {what}", "ls backups", NO)
