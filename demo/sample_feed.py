"""Writes a small sample feed in the feeds' own formats, and adds to it while it is served.

Not a statement about security: the identifiers and versions are real, the selection and the urgencies are a sample.
What is written below a folder, each where and as the updaters of Clair ask for it:

- `alpine/`: Alpine's secdb. Clair asks for `last-update`, then for `v3.3/`, `v3.4/`, ... until one answers 404.
- `mirror/debian/dists/`: a Debian mirror's Release files, found through HTML listings; `Sources.gz` for Clair 4.5, 4.6.
- `tracker/data/json`: Debian's security tracker (Clair 4.7 and newer); `oval/`: Debian's OVAL files (Clair 4.5, 4.6).
- `cvss/`: NVD's yearly CVE feeds, version 2.0 (Clair 4.9) and version 1.1 (before), one file per year since 2002.
- `redhat/`: the two mapping files without which the indexer answers 500 to every scan.

Formats as read by claircore v1.4.12 (Clair 4.5.1), v1.5.32 (4.8.0) and v1.5.48 (4.9.0): alpine/updater.go,
debian/updater.go, debian/sourcemapper.go, enricher/cvss/, rhel/repositoryscanner.go, rhel/rhcc/scanner.go.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

CREATED = "2024-01-02T03:04:05Z"
MODIFIED_SECONDS = 1704164645  # CREATED as seconds since 1970

# Alpine releases must be contiguous from 3.3 on. Only the last ones have files here: the matcher sends at most
# ten requests a second to a server, so every further file makes a first start of the demo slower.
ALPINE_RELEASES = tuple(f"3.{minor}" for minor in range(3, 20))
ALPINE_RELEASES_WITH_DATA = ("3.18", "3.19")
# Code name and point release; sid has no version, and Clair skips it for that.
DEBIAN_RELEASES = {"bullseye": "11.11", "bookworm": "12.12", "trixie": "13.1", "sid": ""}
# First year: claircore enricher/cvss/cvss.go. It asks for each year up to the current one.
CVSS_YEARS = range(2002, 2051)


class DebianEntry(NamedTuple):
    """One CVE of a Debian source package: `fixed` is a version, "0" (not affected) or empty (no fix yet)."""

    source: str
    id: str
    urgency: str
    fixed: str
    description: str = ""
    release: str = "bookworm"


class AlpineEntry(NamedTuple):
    """One CVE of an Alpine origin package: `fixed` is a version, or "0" (not affected)."""

    origin: str
    id: str
    fixed: str
    repository: str = "main"
    release: str = "3.18"


class Finding(NamedTuple):
    """One line of a report: severity as Clair 4.7 and newer normalises it."""

    package: str
    id: str
    severity: str
    fixed: str


DEBIAN_ENTRIES = (
    DebianEntry("glibc", "CVE-2023-6246", "high", "2.36-9+deb12u4", "heap overflow in the syslog code"),
    DebianEntry("glibc", "CVE-2024-2961", "medium", "2.36-9+deb12u6", "out-of-bounds write in iconv, ISO-2022-CN-EXT"),
    DebianEntry("glibc", "CVE-2010-4756", "unimportant", "", "glob expressions can use much CPU time and memory"),
    DebianEntry("openssl", "CVE-2023-5678", "low", "3.0.13-1~deb12u1", "excessive time spent in X9.42 DH keys"),
    DebianEntry("openssl", "CVE-2024-6119", "medium", "3.0.14-1~deb12u2", "invalid read while checking X.509 names"),
    DebianEntry("xz-utils", "CVE-2025-31115", "not yet assigned", "5.4.1-1", "use after free in the threaded decoder"),
    # Fixed before the sample image was made, or never there: none of these may be reported.
    DebianEntry("openssl", "CVE-2022-3602", "high", "3.0.7-1", "buffer overflow in punycode decoding"),
    DebianEntry("xz-utils", "CVE-2024-3094", "high", "0", "malicious code in the upstream tarballs of 5.6"),
    DebianEntry("zlib", "CVE-2022-37434", "medium", "1:1.2.11.dfsg-4.1", "heap over-read in inflate"),
    DebianEntry("glibc", "CVE-2023-6246", "high", "2.31-13+deb11u8", "heap overflow in the syslog code", "bullseye"),
)

ALPINE_ENTRIES = (
    AlpineEntry("busybox", "CVE-2022-48174", "1.36.1-r1"),
    AlpineEntry("busybox", "CVE-2023-42366", "1.36.1-r6"),
    AlpineEntry("openssl", "CVE-2023-2975", "3.1.1-r2"),
    AlpineEntry("openssl", "CVE-2023-3446", "3.1.1-r3"),
    AlpineEntry("openssl", "CVE-2023-3817", "3.1.2-r0"),
    AlpineEntry("openssl", "CVE-2023-5363", "3.1.4-r0"),
    AlpineEntry("openssl", "CVE-2023-5678", "3.1.4-r1"),
    # Fixed before the sample image was made, or never there: none of these may be reported.
    AlpineEntry("busybox", "CVE-2021-42374", "1.34.0-r0"),
    AlpineEntry("musl", "CVE-2020-28928", "1.2.2_pre2-r0"),
    AlpineEntry("zlib", "CVE-2023-45853", "0"),
    AlpineEntry("chromium", "CVE-2023-2033", "112.0.5615.121-r0", "community"),
    AlpineEntry("openssl", "CVE-2023-5678", "3.1.4-r1", "main", "3.19"),
)

# CVSS 3.1 vector and base score. CVE-2025-31115 and CVE-2010-4756 have none here: their severity stays what it is.
CVSS = {
    "CVE-2022-48174": ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
    "CVE-2023-42366": ("AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H", 5.5),
    "CVE-2023-2975": ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N", 5.3),
    "CVE-2023-3446": ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L", 5.3),
    "CVE-2023-3817": ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L", 5.3),
    "CVE-2023-5363": ("AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
    "CVE-2023-5678": ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L", 5.3),
    "CVE-2023-6246": ("AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
    "CVE-2024-2961": ("AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:L", 7.3),
    "CVE-2024-6119": ("AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
}

# Binary packages per source package, as Debian's Sources files tell; Clair 4.5 and 4.6 need it to read OVAL.
DEBIAN_BINARIES = {
    "glibc": "libc-bin, libc-dev-bin, libc6, libc6-dev, locales, nscd",
    "openssl": "libssl-dev, libssl-doc, libssl3, openssl",
    "xz-utils": "liblzma-dev, liblzma5, xz-utils",
    "zlib": "zlib1g, zlib1g-dev",
}

_DEBIAN_FINDINGS = frozenset(
    {
        *(Finding(name, "CVE-2023-6246", "Critical", "2.36-9+deb12u4") for name in ("libc6", "libc-bin")),
        *(Finding(name, "CVE-2024-2961", "High", "2.36-9+deb12u6") for name in ("libc6", "libc-bin")),
        *(Finding(name, "CVE-2010-4756", "Low", "") for name in ("libc6", "libc-bin")),
        *(Finding(name, "CVE-2023-5678", "Medium", "3.0.13-1~deb12u1") for name in ("libssl3", "openssl")),
        *(Finding(name, "CVE-2024-6119", "High", "3.0.14-1~deb12u2") for name in ("libssl3", "openssl")),
        Finding("liblzma5", "CVE-2025-31115", "Unknown", "5.4.1-1"),
    }
)
_DEBIAN_UNFIXED = frozenset(finding for finding in _DEBIAN_FINDINGS if not finding.fixed)
_ALPINE_FINDINGS = frozenset(
    Finding(package, entry.id, "Unknown", entry.fixed)
    for entry in ALPINE_ENTRIES[:7]
    for package in {"busybox": ("busybox", "busybox-binsh", "ssl_client"), "openssl": ("libcrypto3", "libssl3")}[
        entry.origin
    ]
)

# What Clair must report for each sample image, by reference and platform's architecture ("" for any).
EXPECTED: dict[tuple[str, str], frozenset[Finding]] = {
    ("sample/debian:12", ""): _DEBIAN_FINDINGS,
    ("sample/debian:12-updated", ""): _DEBIAN_UNFIXED,
    ("sample/alpine:3.18", ""): _ALPINE_FINDINGS,
    ("sample/alpine:3.18-updated", ""): frozenset(),
    ("sample/multi:1", "amd64"): _DEBIAN_UNFIXED,
    ("sample/multi:1", "arm64"): _DEBIAN_FINDINGS,
    ("sample/arm64-only:1", "arm64"): _DEBIAN_FINDINGS,
    ("sample/empty:1", ""): frozenset(),
    ("sample/unknown:1", ""): frozenset(),
    ("sample/ubuntu:22.04", ""): frozenset(),
}


def _reads_oval(release: str) -> bool:
    """Clair 4.5 and 4.6 read Debian's OVAL files; newer ones refuse to be configured with them."""
    return release.startswith(("4.5.", "4.6."))


def _with_epoch(version: str) -> str:
    """Return a Debian version as OVAL writes it; an empty one (no fix yet) as 0:0."""
    return version if ":" in version else f"0:{version or '0'}"


def expected_findings(
    reference: str, architecture: str = "", release: str = "4.9.0", scored: bool = False
) -> frozenset[Finding]:
    """Return what a Clair release must report for a sample image; raises KeyError if there is no such sample.

    From OVAL, Clair 4.5 and 4.6 know no severity of a Debian package, and name every version with its epoch. What has no
    severity gets that of its CVSS score where the scores are loaded (`scored`).
    """
    key = (reference, architecture) if (reference, architecture) in EXPECTED else (reference, "")
    found = EXPECTED[key]
    if _reads_oval(release) and "alpine" not in reference:
        found = frozenset(one._replace(severity="Unknown", fixed=_with_epoch(one.fixed)) for one in found)
    return frozenset(_with_score(one) for one in found) if scored else found


def _with_score(finding: Finding) -> Finding:
    if finding.severity != "Unknown" or finding.id not in CVSS:
        return finding
    return finding._replace(severity=_severity(CVSS[finding.id][1]).capitalize())


def matcher_settings(url: str, release: str) -> dict[str, Any]:
    """Return the part of the matcher's config that points the updaters at the sample feed, for a Clair release.

    `url` is where the feed's folder is served, without a slash at its end.
    """
    debian = {"mirror_url": f"{url}/mirror/"}
    if _reads_oval(release):
        debian |= {"archive_url": f"{url}/mirror/", "oval_url": f"{url}/oval/"}
    else:
        debian |= {"json_url": f"{url}/tracker/data/json"}
    cvss = {"feed_root": f"{url}/cvss/"}
    return {"updaters": {"config": {"alpine": {"url": f"{url}/alpine/"}, "debian": debian, "clair.cvss": cvss}}}


def indexer_settings(url: str) -> dict[str, Any]:
    """Return the part of the indexer's config that points the mapping files at the sample feed."""
    repositories = {"rhel-repository-scanner": {"repo2cpe_mapping_url": f"{url}/redhat/repository-to-cpe.json"}}
    containers = {"rhel_containerscanner": {"name2repos_mapping_url": f"{url}/redhat/container-name-repos-map.json"}}
    return {"indexer": {"scanner": {"repo": repositories, "package": containers}}}


def tracker_document(entries: Iterable[DebianEntry]) -> dict[str, Any]:
    """Return the security tracker's JSON: source package, CVE, release."""
    document: dict[str, Any] = {}
    for entry in entries:
        data: dict[str, Any] = {"status": "resolved", "urgency": entry.urgency}
        if entry.fixed:
            data |= {"repositories": {entry.release: entry.fixed}, "fixed_version": entry.fixed}
        else:
            data |= {"status": "open", "repositories": {entry.release: "0"}, "nodsa": "Minor issue", "nodsa_reason": ""}
        issue = document.setdefault(entry.source, {}).setdefault(
            entry.id, {"scope": "local", "description": entry.description, "releases": {}}
        )
        issue["releases"][entry.release] = data
    return document


def tracker_entries(document: dict[str, Any]) -> list[DebianEntry]:
    """Return the entries of a security tracker's JSON: the reverse of `tracker_document`."""
    return [
        DebianEntry(source, identifier, data["urgency"], data.get("fixed_version", ""), issue["description"], release)
        for source, issues in document.items()
        for identifier, issue in issues.items()
        for release, data in issue["releases"].items()
    ]


def oval_document(entries: Iterable[DebianEntry], release: str) -> str:
    """Return Debian's OVAL file of one release.

    Versions carry their epoch. An issue without a fix has version 0:0, which Clair takes for "every version"; a package
    that is not affected has no definition.
    """
    definitions, tests, objects, states = [], [], [], []
    linux = 'version="1" xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux"'
    affected = (one for one in entries if one.release == release and one.fixed != "0")
    for number, entry in enumerate(affected, start=1):
        name = "oval:org.debian.oval"
        link = f"https://security-tracker.debian.org/tracker/{entry.id}"
        version = _with_epoch(entry.fixed)
        comment = f"{entry.source} DPKG is earlier than {version}"
        definitions.append(
            f'<definition class="vulnerability" id="oval:org.debian:def:{number}" version="1"><metadata>'
            f'<title>{entry.id}</title><affected family="unix">'
            f"<platform>Debian GNU/Linux {DEBIAN_RELEASES[release].partition('.')[0]}</platform>"
            f"<product>{entry.source}</product></affected>"
            f'<reference ref_id="{entry.id}" ref_url="{link}" source="CVE"/>'
            f"<description>{escape(entry.description)}</description></metadata>"
            f'<criteria operator="AND"><criterion comment="{comment}" test_ref="{name}:tst:{number}"/></criteria>'
            "</definition>"
        )
        tests.append(
            f'<dpkginfo_test id="{name}:tst:{number}" {linux} check="all" check_existence="at_least_one_exists" '
            f'comment="{comment}"><object object_ref="{name}:obj:{number}"/>'
            f'<state state_ref="{name}:ste:{number}"/></dpkginfo_test>'
        )
        objects.append(
            f'<dpkginfo_object id="{name}:obj:{number}" {linux}><name>{entry.source}</name></dpkginfo_object>'
        )
        states.append(
            f'<dpkginfo_state id="{name}:ste:{number}" {linux}>'
            f'<evr datatype="debian_evr_string" operation="less than">{version}</evr></dpkginfo_state>'
        )
    sections = {"definitions": definitions, "tests": tests, "objects": objects, "states": states}
    body = "\n".join(f"<{tag}>\n" + "\n".join(lines) + f"\n</{tag}>" for tag, lines in sections.items())
    schema = "http://oval.mitre.org/XMLSchema"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<oval_definitions xmlns="{schema}/oval-definitions-5" xmlns:oval="{schema}/oval-common-5">\n'
        f"<generator><oval:product_name>Debian</oval:product_name><oval:schema_version>5.11.2</oval:schema_version>"
        f"<oval:timestamp>{CREATED}</oval:timestamp></generator>\n{body}\n</oval_definitions>\n"
    )


def secdb_document(entries: Iterable[AlpineEntry], release: str, repository: str) -> dict[str, Any]:
    """Return Alpine's secdb of one release and repository: package, fixed version, CVEs."""
    packages: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        if (entry.release, entry.repository) == (release, repository):
            packages.setdefault(entry.origin, {}).setdefault(entry.fixed, []).append(entry.id)
    return {
        "apkurl": "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
        "archs": ["aarch64", "ppc64le", "s390x", "x86_64"],
        "reponame": repository,
        "urlprefix": "https://dl-cdn.alpinelinux.org/alpine",
        "distroversion": f"v{release}",
        "packages": [{"pkg": {"name": name, "secfixes": fixes}} for name, fixes in packages.items()],
    }


def secdb_entries(document: dict[str, Any]) -> list[AlpineEntry]:
    """Return the entries of a secdb: the reverse of `secdb_document`."""
    return [
        AlpineEntry(one["pkg"]["name"], identifier, fixed, document["reponame"], document["distroversion"][1:])
        for one in document["packages"]
        for fixed, identifiers in one["pkg"]["secfixes"].items()
        for identifier in identifiers
    ]


def _severity(score: float) -> str:
    limits = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.1, "LOW"))
    return next((name for limit, name in limits if score >= limit), "NONE")


def cvss_documents(year: int) -> dict[str, dict[str, Any]]:
    """Return NVD's feed of one year, by the version of its format."""
    scored = {
        identifier: {
            "version": "3.1",
            "vectorString": f"CVSS:3.1/{vector}",
            "baseScore": score,
            "baseSeverity": _severity(score),
        }
        for identifier, (vector, score) in CVSS.items()
        if identifier.startswith(f"CVE-{year}-")
    }
    metrics = {
        identifier: {"cvssMetricV31": [{"source": "nvd@nist.gov", "type": "Primary", "cvssData": data}]}
        for identifier, data in scored.items()
    }
    return {
        "2.0": {
            "resultsPerPage": len(scored),
            "startIndex": 0,
            "totalResults": len(scored),
            "format": "NVD_CVE",
            "version": "2.0",
            "timestamp": "2024-01-02T03:04:05.000",
            "vulnerabilities": [
                {"cve": {"id": identifier, "vulnStatus": "Analyzed", "metrics": data}}
                for identifier, data in metrics.items()
            ],
        },
        "1.1": {
            "CVE_data_type": "CVE",
            "CVE_data_format": "MITRE",
            "CVE_data_version": "4.0",
            "CVE_data_numberOfCVEs": str(len(scored)),
            "CVE_data_timestamp": "2024-01-02T03:04Z",
            "CVE_Items": [
                {
                    "cve": {"CVE_data_meta": {"ID": identifier, "ASSIGNER": "cve@mitre.org"}},
                    "impact": {"baseMetricV3": {"cvssV3": data}},
                }
                for identifier, data in scored.items()
            ],
        },
    }


def write_file(path: Path, content: str | bytes, modified_seconds: float | None = None) -> bool:
    """Replace a file at once, so that nobody reads half of it; return false if it already has this content.

    Last-Modified counts whole seconds, and Debian's updater takes an equal one for "unchanged": a file that exists
    becomes at least a second newer, whatever the clock says.
    """
    data = content.encode() if isinstance(content, str) else content
    older = 0.0
    if path.exists():
        if path.read_bytes() == data:
            return False
        older = path.stat().st_mtime
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    seconds = modified_seconds if modified_seconds is not None else max(time.time(), older + 1)
    os.utime(fresh, (seconds, seconds))
    fresh.replace(path)
    return True


def _text(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def _write_debian(folder: Path, entries: list[DebianEntry], modified_seconds: float | None) -> None:
    write_file(folder / "tracker" / "data" / "json", _text(tracker_document(entries)), modified_seconds)
    for release, version in DEBIAN_RELEASES.items():
        if version:
            path = folder / "oval" / f"oval-definitions-{release}.xml"
            write_file(path, oval_document(entries, release), modified_seconds)


def _write_mirror(folder: Path, modified_seconds: float) -> None:
    sources = "".join(
        f"Package: {source}\nBinary: {binaries}\nVersion: 1\n\n" for source, binaries in DEBIAN_BINARIES.items()
    )
    for release, version in DEBIAN_RELEASES.items():
        dist = folder / "mirror" / "debian" / "dists" / release
        number = f"Version: {version}\n" if version else ""
        text = f"Origin: Debian\nLabel: Debian\nSuite: {release}\n{number}Codename: {release}\n"
        text += "Date: Tue, 02 Jan 2024 03:04:05 UTC\nArchitectures: all amd64 arm64 ppc64el s390x\n"
        write_file(dist / "Release", text, modified_seconds)
        for component in ("main", "contrib", "non-free"):
            packed = gzip.compress((sources if component == "main" else "").encode(), mtime=0)
            write_file(dist / component / "source" / "Sources.gz", packed, modified_seconds)


def _write_cvss(folder: Path, modified_seconds: float) -> None:
    for year in CVSS_YEARS:
        for version, document in cvss_documents(year).items():
            text = _text(document).encode()
            packed = gzip.compress(text, mtime=0)
            meta = {
                "lastModifiedDate": "2024-01-02T03:04:05-05:00",
                "size": len(text),
                "zipSize": len(packed),
                "gzSize": len(packed),
                "sha256": hashlib.sha256(text).hexdigest().upper(),
            }
            name = f"nvdcve-{version}-{year}"
            lines = "".join(f"{key}:{value}\r\n" for key, value in meta.items())
            write_file(folder / "cvss" / f"{name}.meta", lines, modified_seconds)
            write_file(folder / "cvss" / f"{name}.json.gz", packed, modified_seconds)


def write_feed(folder: Path) -> None:
    """Write the whole sample feed into `folder`, always the same bytes and times."""
    alpine = folder / "alpine"
    for release in ALPINE_RELEASES:
        (alpine / f"v{release}").mkdir(parents=True, exist_ok=True)
    for release in ALPINE_RELEASES_WITH_DATA:
        for repository in ("main", "community"):
            document = secdb_document(ALPINE_ENTRIES, release, repository)
            write_file(alpine / f"v{release}" / f"{repository}.json", _text(document), MODIFIED_SECONDS)
    write_file(alpine / "last-update", f"{CREATED}\n", MODIFIED_SECONDS)
    _write_mirror(folder, MODIFIED_SECONDS)
    _write_debian(folder, list(DEBIAN_ENTRIES), MODIFIED_SECONDS)
    _write_cvss(folder, MODIFIED_SECONDS)
    repositories = {"data": {"rhel-8-for-x86_64-baseos-rpms": {"cpes": ["cpe:/o:redhat:enterprise_linux:8::baseos"]}}}
    containers = {"data": {"ubi8-container": ["ubi8", "ubi8/ubi"]}}
    write_file(folder / "redhat" / "repository-to-cpe.json", _text(repositories), MODIFIED_SECONDS)
    write_file(folder / "redhat" / "container-name-repos-map.json", _text(containers), MODIFIED_SECONDS)


def add_debian_entry(folder: Path, entry: DebianEntry) -> None:
    """Add a CVE to Debian's feed, or replace it, while it is served: Etag and Last-Modified change.

    Clair sees it at the next run of its updaters, which a restart of the matcher starts at once.
    """
    path = folder / "tracker" / "data" / "json"
    entries = tracker_entries(json.loads(path.read_text(encoding="utf-8")))
    key = (entry.source, entry.id, entry.release)
    kept = [one for one in entries if (one.source, one.id, one.release) != key]
    _write_debian(folder, [*kept, entry], None)


def add_alpine_entry(folder: Path, entry: AlpineEntry) -> None:
    """Add a CVE to Alpine's feed, or replace it, while it is served: Etag, Last-Modified and `last-update` change."""
    path = folder / "alpine" / f"v{entry.release}" / f"{entry.repository}.json"
    entries = secdb_entries(json.loads(path.read_text(encoding="utf-8")))
    kept = [one for one in entries if (one.origin, one.id) != (entry.origin, entry.id)]
    if write_file(path, _text(secdb_document([*kept, entry], entry.release, entry.repository))):
        last = folder / "alpine" / "last-update"
        stamp = re.search(r"\d+$", last.read_text(encoding="utf-8").strip())
        count = int(stamp.group()) + 1 if stamp else 1
        write_file(last, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {count}\n")
