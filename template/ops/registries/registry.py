"""A registry as the scan needs it: from an image's name and a platform to a digest, its layers and where they are.

Reads the registry over HTTP and the user's Docker credentials; writes nothing. Protocol: OCI distribution-spec v1.1.0.
A layer's address is what clairctl would hand the indexer: the end of the chain of redirects, with the Authorization
header where that end is the registry itself (quay/clair cmd/clairctl/manifest.go at v4.9.0).
"""

from __future__ import annotations

import hashlib
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import UNDECIDED, Problem
from ..host.escape_text import printable
from ..host.read_json import Object, Unreadable, read_object
from ..host.run_parallel import run_parallel
from ..network.open_connection import Deadline, NoAnswer
from ..network.retry_request import Notice, retry_request
from ..network.web import Answer, Client
from .choose_platform import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageManifest,
    IndexEntry,
    choose_entry,
    config_platform,
    image_manifest,
    index_entries,
    is_index,
    no_platform,
)
from .find_credentials import Credentials, find_credentials
from .log_in_registry import Login, unreadable
from .parse_reference import Platform, Reference, allows_plain_http, is_digest
from .remember_layers import Found, Layer

ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
CONFIG_LIMIT_BYTES = 16 * 1024 * 1024
REDIRECT_LIMIT = 10
REDIRECTS = (301, 302, 303, 307, 308)
BUSY_ATTEMPTS = 5
# How long a registry that may speak plain HTTP has to answer the question whether it speaks TLS.
TLS_PROBE_SECONDS = 3.0
LAYER_THREADS = 4


@dataclass(frozen=True)
class Image:
    """One image of one platform: what is scanned. `name` is what was asked for, `digest` what it means now.

    `id` is its id in the local Docker, empty for an image of a registry.
    """

    name: str
    digest: str
    platform: Platform
    layers: tuple[str, ...]
    id: str = ""


class Registry:
    """The repository of one image reference in its registry."""

    def __init__(
        self,
        client: Client,
        reference: Reference,
        deadline: Deadline,
        *,
        credentials: Callable[[Reference], Credentials] = find_credentials,
        notice: Notice = lambda text: None,
        found: Optional[Found] = None,
    ) -> None:
        self._client = client
        self._reference = reference
        self._deadline = deadline
        self._notice = notice
        self._login = Login(reference, credentials, self._send)
        self._found = Found() if found is None else found
        self._asked: Optional[tuple[str, Object]] = None
        self._lock = threading.Lock()

    def resolve(self, wanted: Platform) -> Image:
        """Return the image for `wanted`.

        Raises Problem: 2 for no such image or platform or no login, 3 for a registry that cannot be read.
        """
        try:
            digest, document = self._root()
            if not is_index(document):
                return self._image(digest, document, lambda manifest: self._platform(manifest, wanted))
            entries = index_entries(document)
            entry = choose_entry(entries, wanted)
            if entry is None:
                raise no_platform(str(self._reference), wanted, entries)
            return self._entry_image(entry)
        except Unreadable as error:
            raise unreadable(self._reference, str(error)) from error

    def entries(self, wanted: Platform) -> list[IndexEntry]:
        """Return the images of the index, one for each platform; of a single image that one, whatever it is built for.

        `wanted` only words the refusal of an index that lists no platform. Raises Problem as resolve does.
        """
        try:
            digest, document = self._root()
            if not is_index(document):
                manifest = image_manifest(document, str(self._reference))
                return [IndexEntry(digest, self._platform(manifest, None))]
            entries = list(dict.fromkeys(index_entries(document)))
        except Unreadable as error:
            raise unreadable(self._reference, str(error)) from error
        if not entries:
            raise no_platform(str(self._reference), wanted, entries)
        return entries

    def resolve_entry(self, entry: IndexEntry) -> Image:
        """Return the image of one of `entries`. Raises Problem as resolve does."""
        try:
            return self._entry_image(entry)
        except Unreadable as error:
            raise unreadable(self._reference, str(error)) from error

    def _entry_image(self, entry: IndexEntry) -> Image:
        digest, document = self._manifest(entry.digest)
        if is_index(document):  # an index within an index's own entry leads nowhere
            raise no_platform(str(self._reference), entry.platform, index_entries(document))
        return self._image(digest, document, lambda manifest: entry.platform)

    def _image(self, digest: str, document: Object, built_for: Callable[[ImageManifest], Platform]) -> Image:
        manifest = image_manifest(document, str(self._reference))
        return Image(str(self._reference), digest, built_for(manifest), manifest.layers)

    def _platform(self, manifest: ImageManifest, wanted: Optional[Platform]) -> Platform:
        return config_platform(self._config(manifest.config), str(self._reference), wanted)

    def _root(self) -> tuple[str, Object]:
        """Return what the reference means, asked once: all platforms must be of one index, though a tag moves."""
        if self._asked is None:
            self._asked = self._manifest(self._reference.reference)
        return self._asked

    def locate(self, layers: tuple[str, ...]) -> list[Layer]:
        """Return the layers with addresses that can be fetched now. Raises Problem as resolve does."""
        found: dict[str, Layer] = {}

        def put(digest: str) -> Callable[[], None]:
            return lambda: found.update({digest: self._locate(digest)})

        run_parallel([put(digest) for digest in dict.fromkeys(layers)], LAYER_THREADS)
        return [found[digest] for digest in layers]

    def forget_token(self) -> None:
        """Drop the token, so that the next request gets a new one: the indexer may meet layers after it expired."""
        self._login.forget()
        self._found.forget(self._reference.repository)

    def _manifest(self, reference: str) -> tuple[str, Object]:
        answer, _ = self._get(f"manifests/{reference}", {"Accept": ACCEPT}, limit_bytes=MANIFEST_LIMIT_BYTES)
        digest = reference if is_digest(reference) else f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        self._check(digest, answer.body, "manifest")
        return digest, read_object(answer.body)

    def _config(self, digest: str) -> Object:
        answer, _ = self._get(f"blobs/{digest}", {}, limit_bytes=CONFIG_LIMIT_BYTES)
        self._check(digest, answer.body, "configuration")
        return read_object(answer.body)

    def _check(self, digest: str, body: bytes, what: str) -> None:
        algorithm, _, expected = digest.partition(":")
        if hashlib.new(algorithm, body).hexdigest() != expected:
            raise unreadable(self._reference, f"the {what} has another digest than {digest}")

    def _locate(self, digest: str) -> Layer:
        known = self._found.layer(self._reference.repository, digest)
        if known is not None:
            return known
        # One byte is asked for: only the address at the end of the redirects matters.
        _, url = self._get(f"blobs/{digest}", {"Range": "bytes=0-0"}, want_body=False)
        authorization = self._login.authorization
        headers = {"Authorization": [authorization]} if authorization and self._is_own(url) else {}
        layer = Layer(digest, url, headers)
        self._found.remember(self._reference.repository, layer)
        return layer

    def _get(self, path: str, headers: dict[str, str], **options: Any) -> tuple[Answer, str]:
        """Return the answer to a GET below the repository and the address it came from, logging in on the way."""
        url = f"{self._base()}/v2/{self._reference.path}/{path}"
        sent = self._login.authorization
        answer, final = self._follow(url, headers, **options)
        if answer.status == 401 and self._is_own(final):
            self._login.renew(answer, sent)
            answer, final = self._follow(url, headers, **options)
        if answer.status in (200, 206):
            return answer, final
        raise self._login.refused(answer, path)

    def _follow(self, url: str, headers: dict[str, str], **options: Any) -> tuple[Answer, str]:
        for _ in range(REDIRECT_LIMIT):
            authorization = self._login.authorization
            own = {"Authorization": authorization} if authorization and self._is_own(url) else {}
            answer = self._send("GET", url, {**headers, **own}, **options)
            if answer.status not in REDIRECTS or not answer.header("Location"):
                return answer, url
            url = urllib.parse.urljoin(url, answer.header("Location"))
        raise unreadable(self._reference, f"more than {REDIRECT_LIMIT} redirects")

    def _send(self, method: str, url: str, headers: dict[str, str], **options: Any) -> Answer:
        try:
            return retry_request(
                lambda: self._client.request(method, url, self._deadline, headers=headers, **options),
                self._deadline,
                f"registry {self._reference.domain}",
                notice=self._notice,
                busy_attempts=BUSY_ATTEMPTS,
            )
        except NoAnswer as error:
            raise self._unreachable(error, url) from error

    def _base(self) -> str:
        """Return scheme and host: plain HTTP only where clairctl uses it, and there only if TLS is not spoken."""
        host = self._reference.host
        with self._lock:
            if host not in self._found.schemes:
                scheme = "https"
                if allows_plain_http(host):
                    probe = Deadline(min(TLS_PROBE_SECONDS, self._deadline.remaining_or_zero()))
                    try:
                        self._client.request("GET", f"https://{host}/v2/", probe, want_body=False)
                    except NoAnswer as error:
                        if error.kind in ("untrusted", "name"):
                            raise self._unreachable(error, f"https://{host}/") from error
                        scheme = "http"
                self._found.schemes[host] = scheme
        return f"{self._found.schemes[host]}://{host}"

    def _is_own(self, url: str) -> bool:
        parts = urllib.parse.urlsplit(url)
        scheme = self._found.schemes.get(self._reference.host, "")
        return (parts.scheme, parts.netloc.lower()) == (scheme, self._reference.host.lower())

    def _unreachable(self, error: NoAnswer, url: str) -> Problem:
        hint = f"docker manifest inspect {self._reference}"
        if error.kind == "untrusted":
            hint = "cp THE-CA-OF-THE-REGISTRY.pem config/ca/ && make services"
        host = printable(urllib.parse.urlsplit(url).netloc)
        return Problem(f"registry unreachable, {host}: {error.reason}", hint, UNDECIDED)
