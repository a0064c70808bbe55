"""Columns the way Go's text/tabwriter lays them out: a column is as wide as its widest cell among neighbouring lines that have it."""

from __future__ import annotations


def align(lines: list[str], padding: int = 1) -> str:
    """Return tab-separated lines with their cells aligned; the last cell of a line belongs to no column."""
    rows = [line.split("\t") for line in lines]
    widths: list[dict[int, int]] = [{} for _ in rows]
    deepest = max((len(row) for row in rows), default=0)
    for column in range(deepest):
        start = 0
        while start < len(rows):
            if len(rows[start]) - 1 <= column:
                start += 1
                continue
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            width = max(len(row[column]) for row in rows[start:end]) + padding
            for position in range(start, end):
                widths[position][column] = width
            start = end
    return "".join(
        "".join(cell.ljust(width[place]) if place in width else cell for place, cell in enumerate(row)) + "\n"
        for row, width in zip(rows, widths)
    )
