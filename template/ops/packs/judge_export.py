"""Whether an export of feeds is whole, by what clairctl said while it made it.

Pure. `--strict` is not enough: a set whose list of files cannot be read, and single files that a server refuses, are left
out with a log line and exit code 0 (claircore libvuln/updates/manager.go, alpine/updater.go and debian/updater.go at
v1.5.48); an error while the pack is written is a plain line and exit code 0 as well (cmd/clairctl/export.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..clair.read_console import read_entry
from ..feeds.list_needed import missing_updaters
from ..feeds.read_runs import FACTORY_FAILED, RUNNING
from ..host.escape_text import printable

DONE = "successful update"
# Something is left out, and clairctl goes on.
_LEFT_OUT = {
    FACTORY_FAILED: "the list of feeds could not be read",
    "failed configuring updater, excluding from current run": "an updater refuses its settings",
    "Failed to add updater to updaterset": "an updater could not be made",
    "unexpected status reported": "a file of the feed was refused",
    "unexpected response": "a file of the feed was refused",
    "unable to do request": "a file of the feed could not be asked for",
    "sem acquire failed, ending updater run": "the run was broken off",
}
# 4.9.0 writes it twice at every start.
_HARMLESS = ("invalid compression type: 'none'",)


class ExportLog:
    """What an export has said so far. `updaters` is when each that succeeded did, as clairctl's log has it."""

    def __init__(self) -> None:
        self.total: Optional[int] = None
        self.updaters: dict[str, str] = {}
        self._problems: list[str] = []

    def read(self, line: str) -> Optional[str]:
        """Take a line in; return what is wrong with the export if it tells of that for the first time."""
        entry = read_entry(line)
        problem = None
        if entry is None:
            if line.strip() and not any(text in line for text in _HARMLESS):
                problem = f"clairctl said: {printable(line.strip(), 300)}"
        elif entry.message == RUNNING:
            self.total = int(entry.fields["total"]) if entry.fields.get("total", "").isdigit() else None
        elif entry.message == DONE:
            self.updaters[entry.fields.get("updater", "")] = entry.time
        elif entry.message in _LEFT_OUT:
            about = next((entry.fields[name] for name in ("error", "url", "status") if entry.fields.get(name)), "")
            problem = f"{_LEFT_OUT[entry.message]}: {printable(about, 300)}"
        elif entry.level in ("ERR", "FTL", "PNC") and not entry.message and entry.fields.get("error"):
            # The end: one text for all updaters that failed.
            errors = [text.strip() for text in entry.fields["error"].splitlines() if text.strip()]
            first = errors[1] if errors[0] == "updating errors:" and len(errors) > 1 else errors[0]
            more = f" (and {len(errors) - 2} more)" if len(errors) > 2 else ""
            problem = f"{printable(first, 300)}{more}"
        if problem is not None:
            self._problems.append(problem)
        return problem

    def problem(self, families: Mapping[str, Mapping[str, Any]]) -> Optional[str]:
        """Return why the export is not whole, None if it is. `families` are those that were asked for, from the catalogue."""
        if self._problems:
            more = f" (and {len(self._problems) - 1} more)" if len(self._problems) > 1 else ""
            return self._problems[0] + more
        if self.total is None:
            return "no updater ran"
        if len(self.updaters) < self.total:
            return f"only {len(self.updaters)} of {self.total} updaters succeeded"
        for name, family in families.items():
            missing = missing_updaters(family, self.updaters)
            if missing:
                more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
                return f"the feed {missing[0]} of {name} did not run{more}"
        return None
