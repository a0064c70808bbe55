"""The lifecycle tests' project and fake docker, for commands that ask the receiver."""

from __future__ import annotations

from tests.ops.lifecycle.conftest import clair, clair_of

__all__ = ["clair", "clair_of"]
