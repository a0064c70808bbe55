"""Writes files and folders with the modes it is told, whatever the umask, and whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict

from ..errors import Problem


def make_folder(path: Path, mode: int) -> None:
    """Make a folder if it is missing and set its mode where it belongs to this user.

    Raises Problem (2) if it cannot be made or used.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_mode & 0o7777 != mode:
            path.chmod(mode)
        usable = os.access(path, os.W_OK | os.X_OK)
    except PermissionError:
        # chmod by a user who does not own the folder, or a parent that refuses: said below.
        usable = False
    except OSError as error:
        reason = dangling(path) or error.strerror
        raise Problem(f"folder not made, {path.name}: {reason}", f"ls -ld {path.name}") from error
    if not usable and not path.exists():
        raise Problem(f"folder not made, {path.name}: permission denied", 'sudo chown "$(id -u):$(id -g)" .')
    if not usable:
        raise Problem(
            f"folder not writable, {path.name}: permission denied", f'sudo chown -R "$(id -u):$(id -g)" {path.name}'
        )


def dangling(path: Path) -> str:
    """Return what is wrong with a link that leads nowhere, or an empty text."""
    lost = path.is_symlink() and not path.exists()
    return f"it is a link to {path.readlink()}, which is not there; is its disk mounted?" if lost else ""


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it: readers see the old or the new one.

    Raises Problem (2) if the folder refuses it or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error


def sync_folder(folder: Path) -> None:
    """Bring a folder's own entries to the disk: after a power loss a file that was renamed into it has its new name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tree(folder: Path, files: Dict[str, bytes], mode: int = 0o444) -> None:
    """Write files given by their path below `folder`; folders are 0755."""
    make_folder(folder, 0o755)
    for name, content in sorted(files.items()):
        for parent in reversed(list(Path(name).parents)[:-1]):
            make_folder(folder / parent, 0o755)
        write_file(folder / name, content, mode)


def read_tree(folder: Path) -> Dict[str, bytes]:
    """Return every file below `folder` by its path; a missing folder is an empty tree."""
    tree: Dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_file():
            tree[path.relative_to(folder).as_posix()] = path.read_bytes()
    return tree


def _not_written(path: Path, error: OSError) -> Problem:
    return Problem(
        f"file not written, {path.parent.name}/{path.name}: {error.strerror}", f"df -h . ; ls -ld {path.parent.name}"
    )
