"""The updater sets whose data the double does not read: each makes the original's first request and then fails like it.

A set whose factory asks the network first leaves no row when that fails. The others have updaters of their own, which leave a row
with the error. Source: claircore aws, oracle, photon, suse, ubuntu, rhel, rhel/vex, updater/osv, enricher/cvss at each release.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from urllib.parse import urljoin

from .feeds import Feed, FeedProblem, get
from .releases import Release

_OVAL = "https://support.novell.com/security/oval/"
_PHOTON = "https://packages.vmware.com/photon/photon_oval_definitions/com.vmware.phsa-"
_ORACLE = "https://linux.oracle.com/security/oval/com.oracle.elsa-"
_AMAZON_PREFIX = "failed to create client: failed to make request for mirrors: "


def _first_request(name: str, release: Release) -> tuple[str, str]:
    """Return the address a factory asks first, and how its error starts."""
    if name == "suse":
        url = "https://ftp.suse.com/pub/projects/security/oval/"
        return url, f'suse: error requesting "{url}": '
    return {
        "osv": ("https://osv-vulnerabilities.storage.googleapis.com/ecosystems.txt", ""),
        "rhel": ("https://access.redhat.com/security/data/oval/v2/PULP_MANIFEST", ""),
        "ubuntu": ("https://api.launchpad.net/1.0/ubuntu/series", "ubuntu: error requesting series collection: "),
    }[name]


class ElsewhereFactory:
    """A set of the original that needs the internet."""

    def __init__(self, name: str, config: dict[str, Any], release: Release) -> None:
        self._name = name
        self._url, self._prefix = _first_request(name, release)
        if config.get("url"):
            self._url = str(config["url"])

    def updaters(self) -> list[Feed]:
        """Make the first request.

        Raises:
            FeedProblem: it failed, or answered with what the double does not read.
        """
        status, reason, _, _ = get(self._url, {}, self._prefix)
        if status != 200:
            raise FeedProblem(f"{self._prefix}unexpected response: {status} {reason}")
        raise FeedProblem(f"{self._name}: the test double does not read this feed")


class StaticFactory:
    """A set whose updaters are known without asking the network; each fails on its own and leaves a row."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = feeds

    def updaters(self) -> list[Feed]:
        """Return the set's updaters."""
        return self._feeds


class UnreadFeed(Feed):
    """An updater whose document the double fetches but does not read."""

    def __init__(self, name: str, url: str, prefix: str, kind: str = "vulnerability") -> None:
        super().__init__(name)
        self.kind = kind
        self._url = url
        self._prefix = prefix

    def configure(self, config: dict[str, Any]) -> None:
        """Take another address."""
        if config.get("url"):
            self._url = str(config["url"])

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        """Make the first request.

        Raises:
            FeedProblem: always, in the end.
        """
        status, reason, _, _ = get(self._url, {}, self._prefix)
        if status != 200:
            raise FeedProblem(f"{self._prefix}unexpected response: {status} {reason}")
        raise FeedProblem(f"{self.name}: the test double does not read this feed")

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        """Return nothing, for nothing was read."""
        return []


def elsewhere(name: str, config: dict[str, Any], release: Release) -> ElsewhereFactory | StaticFactory:
    """Return the factory of a set that the double does not read."""
    known = _static_feeds(name, config, release)
    return StaticFactory(known) if known else ElsewhereFactory(name, config, release)


def _static_feeds(name: str, config: dict[str, Any], release: Release) -> list[Feed]:
    """Return the updaters of a set whose list needs no network."""
    red_hat = "https://security.access.redhat.com/data/"
    if not release.since("4.8.0"):
        red_hat = "https://access.redhat.com/security/data/"
    if name == "aws":
        return _amazon(release)
    if name == "oracle":
        years = range(2007, datetime.now(timezone.utc).year + (1 if release.since("4.9.0") else 0))
        return [UnreadFeed(f"oracle-{year}-updater", f"{_ORACLE}{year}.xml.bz2", "") for year in years]
    if name == "photon":
        return [
            UnreadFeed(f"photon-updater-{part}", f"{_PHOTON}{part}.xml", "")
            for part in ("photon1", "photon2", "photon3")
        ]
    if name == "suse" and not release.since("4.9.0"):
        names = ["opensuse.leap.15.0", "opensuse.leap.15.1"]
        names += [f"suse.linux.enterprise.server.{number}" for number in (11, 12, 15)]
        return [UnreadFeed(f"suse-updater-{part}", f"{_OVAL}{part}.xml", "") for part in names]
    if name == "rhcc":
        return [UnreadFeed("rhel-container-updater", f"{red_hat}metrics/cvemap.xml", "rhcc: error making request: ")]
    if name == "rhel-vex":
        url = f"{red_hat}csaf/v2/vex/archive_latest.txt"
        return [UnreadFeed("rhel-vex", url, "could not get compressed file URL: ")]
    if name == "clair.cvss":
        version = "2.0" if release.since("4.9.0") else "1.1"
        root = str(config.get("feed_root") or f"https://nvd.nist.gov/feeds/json/cve/{version}/")
        return [UnreadFeed("clair.cvss", urljoin(root, f"nvdcve-{version}-2002.meta"), "", "enrichment")]
    if name == "pyupio":
        return [UnreadFeed("pyupio", "https://github.com/pyupio/safety-db/archive/master.tar.gz", "")]
    return []


def _amazon(release: Release) -> list[Feed]:
    mirrors = {
        "1": "http://repo.us-west-2.amazonaws.com/2018.03/updates/x86_64/mirror.list",
        "2": "https://cdn.amazonlinux.com/2/core/latest/x86_64/mirror.list",
    }
    if release.since("4.7.1"):
        mirrors["2023"] = "https://cdn.amazonlinux.com/al2023/core/mirrors/latest/x86_64/mirror.list"
    kind = "AL" if release.since("4.7.1") else "linux"
    return [UnreadFeed(f"aws-{kind}{number}-updater", url, _AMAZON_PREFIX) for number, url in mirrors.items()]
