"""Faults that a test can ask for; the package's docstring lists the environment variables."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass


@dataclass
class _Rule:
    method: str
    prefix: str
    fault: str
    left: int | None


def _rules(text: str) -> list[_Rule]:
    rules = []
    for part in text.split(";"):
        words = part.split()
        if not words:
            continue
        method, prefix, fault, *count = words
        rules.append(_Rule(method, prefix, fault, int(count[0]) if count else None))
    return rules


def _seconds(name: str, default: float = 0.0) -> float:
    return float(os.environ.get(name) or default)


_lock = threading.Lock()
_active = _rules(os.environ.get("CLAIR_DOUBLE_FAULT", ""))

FAIL_MIGRATION = os.environ.get("CLAIR_DOUBLE_FAIL_MIGRATION", "")
NEVER_READY = bool(os.environ.get("CLAIR_DOUBLE_NEVER_READY"))
READY_DELAY_SECONDS = _seconds("CLAIR_DOUBLE_READY_DELAY_SECONDS")
ANSWER_DELAY_SECONDS = _seconds("CLAIR_DOUBLE_DELAY_SECONDS")
TIME_FACTOR = _seconds("CLAIR_DOUBLE_TIME_FACTOR", 1.0)
FEED_TIMEOUT_SECONDS = _seconds("CLAIR_DOUBLE_FEED_TIMEOUT_SECONDS", 10.0)


def fault_for(method: str, path: str) -> str:
    """Return the fault for a request, or an empty string; counts down rules that are limited."""
    if not _active:
        return ""
    with _lock:
        for rule in _active:
            if rule.method in ("*", method) and path.startswith(rule.prefix) and rule.left != 0:
                if rule.left is not None:
                    rule.left -= 1
                return rule.fault
    return ""


def migration_fails(identifier: int) -> bool:
    """Say whether this migration is asked to fail."""
    return FAIL_MIGRATION in ("any", str(identifier))
