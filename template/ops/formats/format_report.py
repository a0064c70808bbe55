"""The formats of a scan's report by name; each in a module of its own, loaded only if it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from ..verdict.report import Report

# Name to module and function; the function takes a Report and yields the text in pieces.
_FORMATS = {
    "table": ("format_table", "table_report"),
    "json": ("format_json", "json_report"),
    "sarif": ("format_sarif", "sarif_report"),
    "junit": ("format_junit", "junit_report"),
    "markdown": ("format_markdown", "markdown_report"),
    "cyclonedx": ("format_cyclonedx", "cyclonedx_report"),
    "html": ("format_html", "html_report"),
}
FORMATS = tuple(_FORMATS)


def format_report(report: Report, name: str) -> Iterator[str]:
    """Return the text of a report in the format `name`, in pieces."""
    module, function = _FORMATS[name]
    pieces: Iterator[str] = getattr(import_module(f".{module}", __package__), function)(report)
    return pieces
