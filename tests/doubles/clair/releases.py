"""What differs between the releases the double can play.

Sources: shared facts of quay/clair and quay/claircore at each tag (go.mod, migrations, updater/defaults, httptransport).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

_SETS_45 = ("alpine", "aws", "clair.cvss", "debian", "oracle", "photon", "pyupio", "rhcc", "rhel", "suse", "ubuntu")
_SETS_47 = ("alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "photon", "rhcc", "rhel", "suse", "ubuntu")
_SETS_48 = ("alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "photon", "rhcc", "rhel-vex", "suse", "ubuntu")
_SETS_49 = ("alpine", "aws", "clair.cvss", "debian", "oracle", "osv", "photon", "rhel-vex", "suse", "ubuntu")


@dataclass(frozen=True)
class Release:
    """One release of Clair: its name, the claircore it links, its highest migrations, its updater sets and its admin steps."""

    name: str
    claircore: str
    indexer_schema: int
    matcher_schema: int
    notifier_schema: int
    updater_sets: tuple[str, ...]
    admin_pre: tuple[str, ...] = ()
    admin_post: tuple[str, ...] = ()

    def since(self, other: str) -> bool:
        """Say whether this release is `other` or newer."""
        return _numbers(self.name) >= _numbers(other)

    @property
    def version(self) -> str:
        """The version as Clair prints it in logs and in its User-Agent."""
        if self.since("4.7.0"):
            return f"v{self.name} (claircore {self.claircore})"
        return f"v{self.name}"

    @property
    def strict(self) -> bool:
        """Unknown configuration keys stop the service, and drop-ins are merged (cmd/config.go, 4.7.0)."""
        return self.since("4.7.0")

    @property
    def waits_for_database(self) -> bool:
        """An unreachable database is waited for instead of being fatal (pgx v5 and ctxlock v2, 4.9.0)."""
        return self.since("4.9.0")

    @property
    def handles_sigterm(self) -> bool:
        """SIGTERM drains (cmd/clair/os_unix.go, 4.8.0); before, only SIGINT does."""
        return self.since("4.8.0")


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("."))


RELEASES = {
    release.name: release
    for release in (
        Release("4.5.0", "v1.4.11", 5, 8, 3, _SETS_45),
        Release("4.5.1", "v1.4.12", 5, 8, 3, _SETS_45),
        Release("4.6.0", "v1.4.17", 5, 8, 3, _SETS_45),
        Release("4.6.1", "v1.4.21", 5, 8, 3, _SETS_45),
        Release("4.7.0", "v1.5.13", 7, 11, 3, _SETS_47, ("v4.7.0",), ("v4.7.0",)),
        Release("4.7.1", "v1.5.15", 7, 12, 3, _SETS_47, ("v4.7.0",), ("v4.7.0",)),
        Release("4.7.2", "v1.5.19", 7, 12, 3, _SETS_47, ("v4.7.0", "v4.7.3"), ("v4.7.0",)),
        Release("4.7.3", "v1.5.25", 7, 12, 3, _SETS_47, ("v4.7.0", "v4.7.3"), ("v4.7.0",)),
        Release("4.7.4", "v1.5.27", 7, 12, 3, _SETS_47, ("v4.7.0", "v4.7.3"), ("v4.7.0",)),
        Release("4.8.0", "v1.5.32", 7, 13, 3, _SETS_48, ("v4.7.0", "v4.7.3", "v4.8.0"), ("v4.7.0", "v4.8.0")),
        Release("4.9.0", "v1.5.48", 8, 16, 3, _SETS_49, ("v4.7.0", "v4.7.3", "v4.8.0"), ("v4.7.0", "v4.8.0")),
    )
}


def current_release() -> Release:
    """Return the release to play, from `CLAIR_DOUBLE_RELEASE` (the image sets it)."""
    return RELEASES[os.environ.get("CLAIR_DOUBLE_RELEASE", "4.9.0")]
