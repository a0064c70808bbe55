"""How long a render takes, against Copier on a plain template: as many files of the same sizes, no question, no extension."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from bench.measure import Row, alternate, note, timed_call
from bench.project import copier_command, copy_template

__all__ = ["measure"]

RUNS = 7
FILLER = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do.\n"


def plain_template(ours: Path, folder: Path) -> Path:
    """Write a template with the files of `ours` as filler: same number, same sizes, same share of Jinja files."""
    files = [path for path in sorted((ours / "template").rglob("*")) if path.is_file()]
    for number, path in enumerate(files):
        target = (
            folder / "template" / f"{number // 8}" / f"file-{number}.txt{'.jinja' if path.suffix == '.jinja' else ''}"
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size
        target.write_text((FILLER * (size // len(FILLER) + 1))[:size], encoding="utf-8")
    (folder / "copier.yml").write_text("_subdirectory: template\n", encoding="utf-8")
    return folder


def measure() -> list[Row]:
    """Return the row of `copier copy --defaults`."""
    note("render: copier copy --defaults")
    with tempfile.TemporaryDirectory(prefix="clair-bench-") as name:
        folder = Path(name)
        ours = copy_template(folder / "ours")
        plain = plain_template(ours, folder / "plain")
        numbers = itertools.count()

        def run(template: Path) -> float:
            return timed_call(copier_command(template, folder / f"out-{next(numbers)}"))

        pair = alternate(RUNS, lambda: run(ours), lambda: run(plain))
    return [pair.row("`copier copy --defaults` to Copier on a plain template", "<= 1.5")]
