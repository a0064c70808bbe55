"""Where a fleet's run stands, on disk: what is done survives `kill -9`, and nothing of it is kept in memory.

Below `state/fleet/LIST/`: `run.json` (when the run began, with which options, the name of its report), `journal` (a line
per image that is done: exit code, key, result), `last` (a line per image: key, digest, the indexer's state at that time,
the last result that was decided). A line is in the file whole or is dropped. At the end the journal becomes
`reports/NAME.jsonl` in the list's order and `last` anew, each under another name first.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, Optional

from ..errors import UNDECIDED
from ..host.read_json import Object
from ..host.write_files import make_folder, write_file
from ..settings import Deployment
from .compare_fleet import summarise
from .store_lines import Place, not_written, open_lines, read_lines, replace_file

# A run that was cut longer ago than this is not gone on with: half of its results would be of another day.
RESUME_HOURS = 24.0
SYNC_SECONDS = 1.0


class FleetJournal:
    """The journal of one list's runs. Its folder is there and locked by the caller."""

    def __init__(self, folder: Path, reports: Path) -> None:
        self._folder = folder
        self._reports = reports
        self._run = folder / "run.json"
        self._path = folder / "journal"
        self._done: dict[str, tuple[int, Place]] = {}
        self._synced = 0.0
        self._file: Optional[BinaryIO] = None
        self._last: dict[str, Place] = {}
        self._indexed: dict[str, str] = {}
        self._last_file = open_lines(folder / "last")
        for (key, digest, state), place in read_lines(self._last_file, 3):
            self._last[key] = place
            self._indexed[digest] = state
        self.started_at = 0.0
        self.name = ""

    @property
    def done(self) -> dict[str, int]:
        """The exit code of each image that is done, by its key."""
        return {key: code for key, (code, _) in self._done.items()}

    @property
    def compared(self) -> bool:
        """True if there was a run before, which this one is compared with."""
        return bool(self._last)

    @property
    def indexed(self) -> dict[str, str]:
        """The indexer's state in which each manifest was indexed, by digest, as of the last run."""
        return self._indexed

    def known(self, key: str) -> bool:
        """Return whether the last run knew an image."""
        return key in self._last

    @property
    def last_keys(self) -> list[str]:
        """The images of the last run."""
        return list(self._last)

    def previous(self, key: str) -> Optional[Object]:
        """Return what the last decided result of an image was, or None."""
        place = self._last.get(key)
        if place is None or self._last_file is None:
            return None
        found: Object = json.loads(os.pread(self._last_file.fileno(), place.length, place.offset))
        return found or None

    def begin(self, options: Object, restart: bool) -> bool:
        """Go on with a run that was cut, or begin anew; return whether it goes on.

        It goes on if it was cut within RESUME_HOURS, had the same `options`, and not `restart`.
        """
        header = self._header()
        goes_on = (
            not restart
            and header is not None
            and header["options"] == options
            and 0 <= time.time() - header["started_at"] < RESUME_HOURS * 3600
        )
        if header is not None and not goes_on:
            self._drop(header)
        if header is None or not goes_on:
            self.started_at = time.time()
            self.name = self._reserve(self.started_at)
            content = {"started_at": self.started_at, "name": self.name, "options": options}
            with suppress(FileNotFoundError):
                self._path.unlink()
            write_file(self._run, json.dumps(content).encode(), 0o600)
        else:
            self.started_at, self.name = header["started_at"], header["name"]
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        end = 0
        for (code, key), place in read_lines(self._file, 2):
            self._done[key] = (int(code), place)
            end = place.offset + place.length + 1
        self._file.truncate(end)
        self._file.seek(end)
        return goes_on

    def write(self, key: str, code: int, document: str) -> None:
        """Add the result of an image, a JSON text of one line; it counts from the moment this returns."""
        if self._file is None:
            raise ValueError("the run has not begun")
        head, body = f"{code}\t{key}\t".encode(), document.encode("ascii")
        offset = self._file.tell()
        try:
            self._file.write(head + body + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise not_written(self._path, error) from error
        self._done[key] = (code, Place(offset + len(head), len(body)))

    def results(self, keys: Sequence[str]) -> Iterator[Object]:
        """Yield the results of images in the order of `keys`, one at a time."""
        for key in keys:
            yield json.loads(self._result(key))

    def finish(self, keys: Sequence[str]) -> Path:
        """Write the report and what the next run is compared with; return the report's path.

        Done again after a cut in the middle it does the same.
        """
        report = self._reports / f"{self.name}.jsonl"
        replace_file(report, (self._result(key) + b"\n" for key in keys), self._reports / f".{self.name}.new")
        replace_file(self._folder / "last", self._last_lines(keys), self._folder / "last.new")
        return report

    def forget(self) -> None:
        """Say that the run is over: the next one begins anew."""
        header = self._header()
        if header is not None:
            self._drop(header)

    def _result(self, key: str) -> bytes:
        if self._file is None:
            raise ValueError("the run has not begun")
        place = self._done[key][1]
        return os.pread(self._file.fileno(), place.length, place.offset)

    def _last_lines(self, keys: Sequence[str]) -> Iterator[bytes]:
        for key in keys:
            document = json.loads(self._result(key))
            # Of an image that is undecided today, what was decided before stays what the next run is compared with.
            decided = summarise(document) if self._done[key][0] != UNDECIDED else self.previous(key) or {}
            digest, state = document["digest"] or "", document["index_state"] or ""
            if not state:
                digest = decided.get("digest", "")
                state = self._indexed.get(digest, "")
            yield f"{key}\t{digest}\t{state}\t".encode() + json.dumps(decided).encode() + b"\n"

    def _header(self) -> Optional[Object]:
        try:
            header: Object = json.loads(self._run.read_text(encoding="utf-8"))
            return {
                "started_at": float(header["started_at"]),
                "name": str(header["name"]),
                "options": header["options"],
            }
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ):  # no run was cut, or its file is damaged: then it begins anew
            return None

    def _drop(self, header: Object) -> None:
        for path in (self._run, self._reports / f".{header['name']}.new", self._path):
            with suppress(FileNotFoundError):
                path.unlink()

    def _reserve(self, now: float) -> str:
        """Return a name for the report that no other run has or had."""
        make_folder(self._reports, 0o700)
        stamp = datetime.fromtimestamp(now, timezone.utc).strftime("fleet-%Y%m%dT%H%M%SZ")
        for number in itertools.count(1):
            name = stamp if number == 1 else f"{stamp}-{number}"
            if (self._reports / f"{name}.jsonl").exists():
                continue
            try:
                os.close(os.open(self._reports / f".{name}.new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            except OSError as error:
                raise not_written(self._reports / name, error) from error
            return name
        raise AssertionError  # count() never ends


def list_folder(deployment: Deployment, path: Path) -> Path:
    """Return the folder of a list's runs, made if it is missing: named for the file, and for where it stands."""
    place = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:40].strip(".-") or "list"
    folder = deployment.state / "fleet" / f"{stem}-{place}"
    for one in (deployment.state, folder.parent, folder):
        make_folder(one, 0o700)
    return folder
