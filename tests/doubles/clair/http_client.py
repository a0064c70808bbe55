"""Outgoing HTTP as Go's default transport does it: proxies from the environment, authorities from SSL_CERT_DIR, redirects followed."""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

from .name_lookup import lookup_words

Headers = Mapping[str, "str | list[str]"]


class RequestFailed(Exception):
    """No answer; the text is Go's: `Get "URL": dial tcp: ...`."""


class Response:
    """An open answer: status, headers, and a body to read."""

    def __init__(self, raw: http.client.HTTPResponse, connection: http.client.HTTPConnection, url: str) -> None:
        self.status = raw.status
        self.reason = raw.reason
        self.headers = raw.headers
        self.url = url
        self._raw = raw
        self._connection = connection

    def read(self, size: int | None = None) -> bytes:
        """Read the body, or up to `size` bytes of it."""
        return self._raw.read() if size is None else self._raw.read(size)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in pieces."""
        while piece := self._raw.read(262144):
            yield piece

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context)
    return context


def load_authorities(context: ssl.SSLContext) -> None:
    """Load every certificate in SSL_CERT_FILE and in the folders of SSL_CERT_DIR, whatever its file is called, as Go does."""
    single = os.environ.get("SSL_CERT_FILE")
    folders = (os.environ.get("SSL_CERT_DIR") or "/etc/ssl/certs:/etc/pki/tls/certs").split(":")
    paths = [single] if single else []
    for folder in folders:
        try:
            paths += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        except OSError:
            continue
    bundles = [path for path in paths if path.endswith("ca-certificates.crt")]
    for path in [*bundles, *(path for path in paths if path not in bundles and not _is_hashed(path, bundles))]:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError):  # Go skips what holds no certificate
            continue


def _is_hashed(path: str, bundles: list[str]) -> bool:
    """Debian's folder holds each certificate again under a hash: the bundle beside it is enough."""
    return any(os.path.dirname(bundle) == os.path.dirname(path) for bundle in bundles) and os.path.islink(path)


def request(
    method: str,
    url: str,
    headers: Headers | None = None,
    body: bytes | Iterable[bytes] | None = None,
    timeout_seconds: float | None = None,
    maximum_redirects: int = 10,
    forbid_public: bool = False,
) -> Response:
    """Send a request and return the open answer.

    Args:
        body: bytes are sent with a length; an iterable is sent in chunks.
        forbid_public: refuse addresses that are not private, as an air-gapped indexer does.

    Raises:
        RequestFailed: nothing answered.
    """
    for _ in range(maximum_redirects + 1):
        response = _once(method, url, headers or {}, body, timeout_seconds, forbid_public)
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            return response
        response.close()
        target = urljoin(url, location)
        if urlsplit(target).netloc != urlsplit(url).netloc:
            headers = {name: value for name, value in (headers or {}).items() if name.lower() != "authorization"}
        if response.status == 303 or (response.status in (301, 302) and method == "POST"):
            method, body = "GET", None
        url = target
    raise RequestFailed(f'{method.title()} "{url}": stopped after {maximum_redirects} redirects')


def _once(
    method: str,
    url: str,
    headers: Headers,
    body: bytes | Iterable[bytes] | None,
    timeout_seconds: float | None,
    forbid_public: bool,
) -> Response:
    parts = urlsplit(url)
    verb = method.title()
    if parts.scheme not in ("http", "https"):
        raise RequestFailed(f'{verb} "{url}": unsupported protocol scheme "{parts.scheme}"')
    if not parts.hostname:
        raise RequestFailed(f'{verb} "{url}": http: no Host in request URL')
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise RequestFailed(f'{verb} "{url}": {error}') from error
    proxy = _proxy_for(parts.scheme, parts.hostname, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: http.client.HTTPConnection
    proxied_headers: dict[str, str] = {}
    if proxy:
        where = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        credentials = _basic(where.username, where.password)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                where.hostname or "", where.port or 80, timeout=timeout_seconds, context=_context()
            )
            connection.set_tunnel(parts.hostname, port, credentials)
        else:
            connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=timeout_seconds)
            target = url
            proxied_headers = credentials
    elif parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_seconds, context=_context())
    else:
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_seconds)
    try:
        if forbid_public and not proxy:
            _refuse_public(parts.hostname, port)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc.rpartition("@")[2])
        names = {name.lower() for name in headers}
        for name, value in {**headers, **proxied_headers}.items():
            for item in value if isinstance(value, list) else [value]:
                connection.putheader(name, item)
        if "user-agent" not in names:
            connection.putheader("User-Agent", "Go-http-client/1.1")
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif isinstance(body, bytes):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body, encode_chunked=chunked)
        return Response(connection.getresponse(), connection, url)
    except _Forbidden as error:
        raise RequestFailed(f'{verb} "{url}": dial tcp {error}: disallowed by policy') from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise RequestFailed(f'{verb} "{url}": {_go_words(error, connection.host, connection.port)}') from error


class _Forbidden(OSError):
    pass


def _refuse_public(host: str, port: int) -> None:
    address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    if not ipaddress.ip_address(address).is_private:
        raise _Forbidden(f"{address}:{port}")


def _go_words(error: Exception, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"dial tcp: {lookup_words(host, error)}"
    if isinstance(error, TimeoutError) and not error.errno:
        return "context deadline exceeded"
    if isinstance(error, ssl.SSLCertVerificationError):
        if "self-signed" in str(error) or "unable to get" in str(error):
            return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "EOF"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {host}:{port}: read: connection reset by peer"
    if isinstance(error, OSError) and error.errno:
        return f"dial tcp {_address(host, port)}: connect: {os.strerror(error.errno).lower()}"
    return str(error)


def _address(host: str, port: int) -> str:
    try:
        return f"{socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]}:{port}"
    except OSError:
        return f"{host}:{port}"


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    import base64
    from urllib.parse import unquote

    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode()}


def _proxy_for(scheme: str, host: str, port: int) -> str:
    proxy = os.environ.get(f"{scheme.upper()}_PROXY") or os.environ.get(f"{scheme}_proxy") or ""
    if not proxy or host == "localhost" or _is_loopback(host):
        return ""
    for entry in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(","):
        entry = entry.strip().lower()
        if not entry:
            continue
        if entry == "*":
            return ""
        if "/" in entry:
            try:
                if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                    return ""
            except ValueError:
                pass
            continue
        name, colon, only_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if colon and only_port != str(port):
            continue
        if name.startswith("*"):
            name = name[1:]
        if name.startswith("."):
            if host.lower().endswith(name):
                return ""
        elif host.lower() == name or host.lower().endswith("." + name):
            return ""
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def decoded(response: Response) -> bytes:
    """Read the whole body and undo gzip, which Go's transport asks for and undoes on its own."""
    data = response.read()
    if response.headers.get("Content-Encoding") == "gzip":
        return zlib.decompress(data, 31)
    return data
