"""The updater sets whose data the double does not read: each makes the original's first request and then fails like it.

A set whose factory asks the network first leaves no row when that fails. The others have updaters of their own, which leave a row
with the error. Source: claircore aws, oracle, photon, suse, ubuntu, rhel, rhel/vex, updater/osv, enricher/cvss at each release.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from .feeds import Feed, FeedProblem, get
from .releases import Release

_FIRST_REQUESTS = {
    "aws": ("https://cdn.amazonlinux.com/2/core/latest/x86_64/mirror.list", "aws: failed to create client: "),
    "osv": ("https://osv-vulnerabilities.storage.googleapis.com/ecosystems.txt", "osv: martian request: "),
    "rhel": ("https://access.redhat.com/security/data/oval/v2/PULP_MANIFEST", "rhel: "),
    "rhel-vex": ("https://security.access.redhat.com/data/csaf/v2/vex/archive_latest.txt", "rhel-vex: "),
    "ubuntu": ("https://api.launchpad.net/1.0/ubuntu/series", "ubuntu: error requesting series collection: "),
    "suse": ("https://support.novell.com/security/oval/", "suse: unable to do request: "),
    "photon": ("https://packages.vmware.com/photon/photon_oval_definitions/", "photon: unable to do request: "),
    "rhcc": ("https://access.redhat.com/security/data/metrics/cvemap.xml", "rhcc: "),
}


class ElsewhereFactory:
    """A set of the original that needs the internet."""

    def __init__(self, name: str, config: dict[str, Any], release: Release) -> None:
        self._name = name
        self._release = release
        self._url, self._prefix = _FIRST_REQUESTS.get(name, ("", ""))
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
        if config.get("url"):
            self._url = str(config["url"])
        if config.get("feed_root"):
            self._url = urljoin(str(config["feed_root"]), self._url.rpartition("/")[2])

    def fetch(self, fingerprint: str) -> tuple[bytes, str]:
        status, reason, _, _ = get(self._url, {}, self._prefix)
        if status != 200:
            raise FeedProblem(f"{self._prefix}unexpected response: {status} {reason}")
        raise FeedProblem(f"{self.name}: the test double does not read this feed")

    def parse(self, body: bytes) -> list[dict[str, Any]]:
        return []


def elsewhere(name: str, config: dict[str, Any], release: Release) -> ElsewhereFactory | StaticFactory:
    """Return the factory of a set that the double does not read."""
    if name == "oracle":
        years = range(2007, 2027)
        return StaticFactory(
            [
                UnreadFeed(
                    f"oracle-{year}-updater",
                    f"https://linux.oracle.com/security/oval/com.oracle.elsa-{year}.xml.bz2",
                    "ovalutil: ",
                )
                for year in years
            ]
        )
    if name == "clair.cvss":
        version = "2.0" if release.since("4.9.0") else "1.1"
        root = str(config.get("feed_root") or f"https://nvd.nist.gov/feeds/json/cve/{version}/")
        return StaticFactory([UnreadFeed("clair.cvss", urljoin(root, f"nvdcve-{version}-2016.meta"), "", "enrichment")])
    if name == "pyupio":
        return StaticFactory(
            [UnreadFeed("pyupio", "https://github.com/pyupio/safety-db/archive/master.zip", "pyupio: ")]
        )
    return ElsewhereFactory(name, config, release)
