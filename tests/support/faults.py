"""A fault as docs/faults.md shows it: the tests that arrange faults and the page that lists them share this form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """One case: its name (the test's id and the page's first column), how it comes about, and what is said.

    `arguments` are those of the command, with an image below the registry in front where it is another one than usual,
    or a command's name. `sentence` and `hint` hold placeholders.
    """

    case: str
    arguments: str
    arrange: Callable[[Any], Any]
    sentence: str
    hint: str
    code: int

    def told(self, **values: str) -> str:
        """Return what stands on standard error, with the placeholders' values."""
        text = f"{self.sentence}\nHINT: {self.hint}\n"
        for name, value in values.items():
            text = text.replace(name, value)
        return text


def fault_rows(faults: Iterable[Fault]) -> list[list[str]]:
    """Return the cells of a table of docs/faults.md: case, line, hint, exit code."""
    return [[fault.case, f"`{fault.sentence}`", f"`{fault.hint}`", f"`{fault.code}`"] for fault in faults]


def fault_table(faults: Iterable[Fault]) -> str:
    """Return the table as the page holds it."""
    lines = ["| Case | Line | HINT | Code |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in fault_rows(faults))]) + "\n"
