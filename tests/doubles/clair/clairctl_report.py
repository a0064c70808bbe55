"""`clairctl manifest`, `report` and `delete` (cmd/clairctl/manifest.go, report.go, delete.go, client.go and the formatters)."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from . import http_client
from .config_loading import Config
from .config_validation import url_problem
from .digests import parse_digest
from .registry_client import RegistryClient, RegistryProblem, parse_reference
from .releases import Release
from .service_clients import Signer
from .text_table import align


class CommandFailed(Exception):
    """A command ends with exit code 1; the text is what it prints."""


class Canceled(Exception):
    """Another image failed first."""


def manifest_command(images: list[str], release: Release) -> None:
    """Print Clair's manifest of each image.

    Raises:
        CommandFailed: no argument, or an image that cannot be read.
    """
    if not images:
        raise CommandFailed("missing needed arguments")
    for image in images:
        sys.stdout.write(json.dumps(inspect(image, release), separators=(",", ":")))


def inspect(image: str, release: Release) -> dict[str, Any]:
    """Return Clair's manifest of an image.

    Raises:
        CommandFailed: the registry refuses.
    """
    try:
        client = RegistryClient(parse_reference(image), release)
        document, digest = client.image()
        return {"hash": digest, "layers": client.layers(document)}
    except RegistryProblem as problem:
        raise CommandFailed(str(problem)) from problem


def report_command(
    images: list[str],
    host: str,
    output: str,
    keep_going: bool,
    novel: bool,
    config: Config | None,
    issuer: str,
    release: Release,
) -> None:
    """Index each image and print its report; what cannot be reported is printed, and is no failure.

    Raises:
        CommandFailed: an image cannot be read or indexed.
    """
    if not images:
        raise CommandFailed("missing needed arguments")
    client = ApiClient(host, config, issuer, release)
    formatter = {"text": _TextFormatter, "json": _JSONFormatter, "xml": _XMLFormatter}[output]()
    failed = threading.Event()
    problems: list[str] = []
    crashes: list[CommandPanicked] = []
    lock = threading.Lock()

    def one(image: str) -> None:
        try:
            result = _report_one(image, client, novel, keep_going and len(images) > 1, release, failed)
            with lock:
                if result and not failed.is_set():
                    formatter.add(*result)
        except CommandFailed as problem:
            with lock:
                problems.append(str(problem))
            failed.set()
        except Canceled:
            return
        except CommandPanicked as crash:
            crashes.append(crash)

    threads = [threading.Thread(target=one, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crashes:
        raise crashes[0]
    if problems:
        raise CommandFailed(problems[0])
    formatter.close()


def _report_one(
    image: str, client: ApiClient, novel: bool, keep_going: bool, release: Release, failed: threading.Event
) -> tuple[str, str, dict[str, Any] | None, str] | None:
    try:
        registry = RegistryClient(parse_reference(image), release)
        _, digest = registry.image()
    except RegistryProblem as problem:  # --keep-going does not help here
        raise CommandFailed(str(problem)) from problem
    _check(failed)
    try:
        known = client.knows(digest)
        if not (known and novel):
            manifest = inspect(image, release)
            _check(failed)
            client.knows(digest)
            client.index(manifest)
    except CommandFailed:
        if keep_going:
            return None
        raise
    _check(failed)
    try:
        return image, digest, client.vulnerability_report(digest), ""
    except CommandFailed as problem:
        return image, digest, None, f"{image}({digest}): {problem}"


def _check(failed: threading.Event) -> None:
    if failed.is_set():
        raise Canceled


def delete_command(digests: list[str], host: str, config: Config | None, issuer: str, release: Release) -> None:
    """Delete index reports.

    Raises:
        CommandFailed: no argument, a malformed digest, or a refusal.
    """
    if not digests:
        raise CommandFailed("missing needed arguments")
    try:
        parsed = [parse_digest(digest) for digest in digests]
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    client = ApiClient(host, config, issuer, release)
    status, _ = client.call("DELETE", "/indexer/api/v1/index_report", parsed)
    if status != 200:
        raise CommandFailed(f"unexpected return status: {status}")


class ApiClient:
    """Clair's API seen from clairctl."""

    def __init__(self, host: str, config: Config | None, issuer: str, release: Release) -> None:
        self._host = host
        words = url_problem(host)
        if words:
            raise CommandFailed(words)
        self._agent = f"clairctl/{release.version}"
        self._signer = None
        if config is not None:
            self._signer = Signer(config, release, issuer)
            self._signer.add(host)

    def knows(self, digest: str) -> bool:
        """Say whether the indexer has a report.

        Raises:
            CommandFailed: it answers neither yes nor no.
        """
        status, _ = self.call("GET", f"/indexer/api/v1/index_report/{digest}")
        if status not in (200, 304, 404):
            raise CommandFailed(f"unexpected return status: {status}")
        return status != 404

    def index(self, manifest: dict[str, Any]) -> None:
        """Have a manifest indexed.

        Raises:
            CommandFailed: the indexer refuses or fails.
        """
        status, body = self.call("POST", "/indexer/api/v1/index_report", manifest)
        if status not in (200, 201):
            raise CommandFailed(f"unexpected return status: {status}")
        report = self._json(body)
        if not report.get("success") and report.get("err"):
            raise CommandFailed(f"indexer error: {report['err']}")

    def vulnerability_report(self, digest: str) -> dict[str, Any]:
        """Return the report.

        Raises:
            CommandFailed: there is none.
        """
        status, body = self.call("GET", f"/matcher/api/v1/vulnerability_report/{digest}")
        if status == 304:
            raise CommandFailed("not modified")
        if status != 200:
            raise CommandFailed(f"unexpected return status: {status}")
        return self._json(body)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send a request and return status and body.

        Raises:
            CommandFailed: nothing answered.
        """
        parts = urlsplit(self._host)
        base = parts.path.rstrip("/")
        url = f"{parts.scheme}://{parts.netloc}{base}{path}"
        headers: dict[str, str | list[str]] = {"User-Agent": self._agent, "Accept-Encoding": "gzip"}
        if self._signer:
            headers.update(self._signer.headers(url))
        pieces = None if body is None else iter([json.dumps(body, separators=(",", ":")).encode()])
        try:
            with http_client.request(method, url, headers, pieces) as response:
                return response.status, http_client.decoded(response)
        except http_client.RequestFailed as error:
            raise CommandFailed(str(error)) from error
        except (OSError, http_client.http.client.HTTPException) as error:
            raise CommandFailed("unexpected EOF") from error

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            document = json.loads(body)
        except ValueError as error:
            raise CommandFailed(f"json decode error [pos 0]: {error}") from error
        return document if isinstance(document, dict) else {}


class _TextFormatter:
    def add(self, image: str, digest: str, report: dict[str, Any] | None, problem: str) -> None:
        name = os.path.basename(image)
        lines: list[str] = []
        if report is None:
            lines.append(f"{name}\terror\t{problem}")
        elif not report.get("package_vulnerabilities"):
            lines.append(f"{name}\tok")
        else:
            for package_id, identifiers in sorted(report["package_vulnerabilities"].items()):
                package = report["packages"][package_id]
                for identifier in identifiers:
                    entry = report["vulnerabilities"][identifier]
                    line = f"{name}\tfound\t{package['name']}\t{package['version']}\t{entry['name']}"
                    if entry.get("fixed_in_version"):
                        line += f"\t(fixed: {entry['fixed_in_version']})"
                    lines.append(line)
        sys.stdout.write(align(lines))
        sys.stdout.flush()

    def close(self) -> None:
        return


class _JSONFormatter:
    def add(self, image: str, digest: str, report: dict[str, Any] | None, problem: str) -> None:
        sys.stdout.write(json.dumps(report, separators=(",", ":"), ensure_ascii=False))

    def close(self) -> None:
        return


class _XMLFormatter:
    def __init__(self) -> None:
        self._suites: list[str] = []

    def add(self, image: str, digest: str, report: dict[str, Any] | None, problem: str) -> None:
        if report is None:  # the original reads the report before it looks at the error
            raise CommandPanicked
        cases = []
        failures = 0
        for package_id, package in report["packages"].items():
            name = _attribute(f"{package['name']} {package['version']}")
            identifiers = (report.get("package_vulnerabilities") or {}).get(package_id)
            if identifiers is None:
                cases.append(f'<testcase name="{name}"></testcase>')
                continue
            failures += 1
            names = "".join(f"&#xA;&#x9;{escape(report['vulnerabilities'][one]['name'])}" for one in identifiers)
            text = f"Found the following vulnerabilities:{names}"
            cases.append(f'<testcase name="{name}"><failure>{text}</failure></testcase>')
        self._suites.append(
            f'<testsuite name="{_attribute(image)}" tests="{len(cases)}" errors="0" failures="{failures}"><properties>'
            f'<property name="manifest" value="{report["manifest_hash"]}"></property></properties>{"".join(cases)}'
            "</testsuite>"
        )

    def close(self) -> None:
        sys.stdout.write(f"<testsuites>{''.join(self._suites)}</testsuites>")


class CommandPanicked(Exception):
    """The original crashes here: exit code 2 and a trace on standard error."""


def _attribute(text: str) -> str:
    return escape(text, {'"': "&#34;", "'": "&#39;"})
