"""Clair's own checks of a decoded configuration, with its messages, defaults and lints (config/validate.go and the Validate methods)."""

from __future__ import annotations

import os
import re
from typing import Any

from .config_loading import Config, ConfigProblem, go_os_error
from .releases import Release


class _Stop(Exception):
    pass


def validate(config: Config, release: Release) -> list[str]:
    """Fill in defaults and return the lints.

    Raises:
        ConfigProblem: `failed to validate config: ...` as the release prints it.
    """
    lints: list[str] = []
    try:
        _top(config, release, lints)
        _tls(config, "tls")
        if config.mode in ("indexer", "combo"):
            _indexer(config, lints)
        if config.mode in ("matcher", "combo"):
            _matcher(config, release, lints)
        if config.mode in ("notifier", "combo"):
            _notifier(config, release, lints)
        _deliveries(config, lints)
        _psk(config)
        for signal in ("trace", "metrics"):
            for transport in ("http", "grpc"):
                _otlp(config, f"{signal}.otlp.{transport}")
    except _Stop as stop:
        raise ConfigProblem(f"failed to validate config: {stop}") from stop
    return lints


def split_host_port(address: str) -> tuple[str, str]:
    """Split like Go's net.SplitHostPort.

    Raises:
        ValueError: with Go's message.
    """
    if address.startswith("["):
        end = address.find("]")
        if end < 0:
            raise ValueError(f"address {address}: missing ']' in address")
        if end + 1 == len(address):
            raise ValueError(f"address {address}: missing port in address")
        if address[end + 1] != ":":
            raise ValueError(f"address {address}: missing port in address")
        return address[1:end], address[end + 2 :]
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address {address}: missing port in address")
    if ":" in host:
        raise ValueError(f"address {address}: too many colons in address")
    return host, port


def url_problem(text: str) -> str:
    """Return what Go's url.Parse would say about `text`, or an empty string."""
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        return f"parse {_quoted(text)}: net/url: invalid control character in URL"
    if text.startswith(":"):
        return f"parse {_quoted(text)}: missing protocol scheme"
    scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", text)
    rest = text[scheme.end() :] if scheme else text
    if not scheme and not rest.startswith("/") and ":" in rest.split("/", 1)[0]:
        return f"parse {_quoted(text)}: first path segment in URL cannot contain colon"
    bad_escape = re.search(r"%(?![0-9a-fA-F]{2}).{0,2}", rest)
    if bad_escape:
        return f"parse {_quoted(text)}: invalid URL escape {_quoted(bad_escape.group(0))}"
    if rest.startswith("//"):
        authority = rest[2:].split("/", 1)[0].split("?", 1)[0]
        host = authority.rpartition("@")[2]
        if host.startswith("[") and "]" not in host:
            return f"parse {_quoted(text)}: missing ']' in host"
        if " " in host:
            return f'parse {_quoted(text)}: invalid character " " in host name'
        port = re.search(r":([^\]]*)$", host)
        if port and not re.fullmatch(r"\d*", port.group(1)):
            return f"parse {_quoted(text)}: invalid port {_quoted(':' + port.group(1))} after host"
    return ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _top(config: Config, release: Release, lints: list[str]) -> None:
    if not config.get("http_listen_addr"):
        config.set("http_listen_addr", ":6060")
    if config.get("matcher.disable_updaters"):
        config.set("updaters.sets", [])
    try:
        split_host_port(config.get("http_listen_addr"))
    except ValueError as error:
        raise _Stop(str(error)) from error
    if not config.get("introspection_addr"):
        lints.append("introspection address not provided, default will be used (at $.introspection_addr)")


def _connstring(config: Config, path: str, lints: list[str]) -> None:
    text = config.get(path, "")
    where = f"(at $.{path})"
    if not text:
        if not any(name.startswith("PG") for name in os.environ):
            lints.append(f"connection string is empty and no relevant environment variables found {where}")
    elif text.startswith("postgresql://") or "=" in text:
        pass
    elif "://" in text:
        lints.append(f"connection string looks like a URL but scheme is unrecognized {where}")
    else:
        lints.append(f"unable to make sense of connection string {where}")


def _indexer(config: Config, lints: list[str]) -> None:
    if not config.get("indexer.scanlock_retry"):
        config.set("indexer.scanlock_retry", 1)
    if not config.get("indexer.index_report_request_concurrency"):
        config.set("indexer.index_report_request_concurrency", 4 * (os.cpu_count() or 1))
        lints.append(
            "automatically sizing number of concurrent requests (at $.indexer.index_report_request_concurrency)"
        )
    _connstring(config, "indexer.connstring", lints)
    if config.get("indexer.scanlock_retry") > 10:
        lints.append("large values will increase latency (at $.indexer.scanlock_retry)")
    concurrency = config.get("indexer.layer_scan_concurrency", 0)
    if concurrency and concurrency < 4:
        lints.append(
            "small values will limit resource utilization and increase latency (at $.indexer.layer_scan_concurrency)"
        )
    elif concurrency > 32:
        lints.append("large values may exceed resource quotas (at $.indexer.layer_scan_concurrency)")


def _matcher(config: Config, release: Release, lints: list[str]) -> None:
    default_period = 6 * 3600.0 if release.since("4.7.0") else 1800.0
    if not config.get("matcher.period"):
        config.set("matcher.period", default_period)
    retention = config.get("matcher.update_retention", 0)
    if retention < 0:
        config.set("matcher.update_retention", 0)
    elif retention < 2:
        config.set("matcher.update_retention", 10)
    if not config.get("matcher.cache_age"):
        config.set("matcher.cache_age", config.get("matcher.period"))
    if config.mode == "matcher":
        address = config.get("matcher.indexer_addr", "")
        if not address:
            raise _Stop("matcher mode requires a remote Indexer address")
        problem = url_problem(address)
        if problem:
            raise _Stop(f"failed to parse matcher mode IndexerAddr string: {problem}")
    _connstring(config, "matcher.connstring", lints)
    period = config.get("matcher.period")
    if period < default_period:
        lints.append("updater period is very aggressive: most sources are updated daily (at $.matcher.period)")
    if config.get("matcher.update_retention") == 0:
        lints.append("update garbage collection is off (at $.matcher.update_retention)")
    if config.get("matcher.cache_age") < period / 2:
        lints.append("expiry very low: may result in increased workload (at $.matcher.cache_age)")
    if config.get("matcher.max_conn_pool"):
        lints.append("this parameter will be ignored in a future release (at $.matcher.max_conn_pool)")


def _notifier(config: Config, release: Release, lints: list[str]) -> None:
    shortest, poll, delivery = (60.0, 6 * 3600.0, 3600.0) if release.since("4.9.0") else (1.0, 5.0, 5.0)
    if config.get("notifier.poll_interval", 0.0) < shortest:
        config.set("notifier.poll_interval", poll)
    if config.get("notifier.delivery_interval", 0.0) < shortest:
        config.set("notifier.delivery_interval", delivery)
    if config.mode == "notifier":
        if not config.get("notifier.indexer_addr"):
            raise _Stop("notifier mode requires a remote Indexer")
        if not config.get("notifier.matcher_addr"):
            raise _Stop("notifier mode requires a remote Matcher")
    _connstring(config, "notifier.connstring", lints)
    kinds = [kind for kind in ("amqp", "stomp", "webhook") if config.get(f"notifier.{kind}") is not None]
    if not kinds:
        lints.append("no delivery mechanisms specified (at $.notifier)")
    elif len(kinds) > 1:
        lints.append("multiple delivery mechanisms specified (at $.notifier)")
    if release.since("4.9.0"):
        for name, shortest_sensible in (("poll_interval", poll), ("delivery_interval", delivery)):
            if config.get(f"notifier.{name}") < shortest_sensible:
                lints.append(f"interval is very fast: may result in increased workload (at $.notifier.{name})")
    if config.get("notifier.disable_summary"):
        lints.append(
            "disabling notification summary significantly increases memory consumption (at $.notifier.disable_summary)"
        )


def _callback(config: Config, path: str, lints: list[str]) -> None:
    callback = config.get(f"{path}.callback", "")
    if not callback.endswith("/"):
        config.set(f"{path}.callback", callback + "/")
        lints.append(f'URL should end in a "/" (at $.{path}.callback)')
    problem = url_problem(config.get(f"{path}.callback"))
    if problem:
        raise _Stop(f"failed to parse callback url: {problem}")


def _deliveries(config: Config, lints: list[str]) -> None:
    concerned = config.mode in ("notifier", "combo")
    if concerned and config.get("notifier.webhook") is not None:
        problem = url_problem(config.get("notifier.webhook.target", ""))
        if problem:
            raise _Stop(f"failed to parse target url: {problem}")
        _callback(config, "notifier.webhook", lints)
        if config.get("notifier.webhook.signed"):
            lints.append("setting will be removed in a future release (at $.notifier.webhook.signed)")
    if config.get("notifier.amqp") is not None:
        if concerned:
            if not config.get("notifier.amqp.routing_key"):
                raise _Stop("AMQP config requires the routing key field")
            if not config.get("notifier.amqp.uris"):
                raise _Stop("missing URIs for AMQP broker")
            for uri in config.get("notifier.amqp.uris"):
                if url_problem(uri):
                    raise _Stop(f"invalid URI {_quoted(uri)}: {url_problem(uri)}")
            if not config.get("notifier.amqp.direct"):
                _callback(config, "notifier.amqp", lints)
        _tls(config, "notifier.amqp.tls")
        if not config.get("notifier.amqp.exchange.type"):
            raise _Stop("field required")
    if config.get("notifier.stomp") is not None:
        if concerned:
            if not config.get("notifier.stomp.uris"):
                raise _Stop("missing URIs for STOMP broker")
            for uri in config.get("notifier.stomp.uris"):
                try:
                    split_host_port(uri)
                except ValueError as error:
                    raise _Stop(f"bad host:port {_quoted(uri)}: {error}") from error
            if not config.get("notifier.stomp.direct"):
                _callback(config, "notifier.stomp", lints)
        _tls(config, "notifier.stomp.tls")


def _psk(config: Config) -> None:
    psk: Any = config.get("auth.psk")
    if psk is None:
        return
    if not psk.get("key"):
        raise _Stop("key is empty (at )")
    if not psk.get("iss"):
        raise _Stop("no issuers defined (at .iss)")


def _tls(config: Config, path: str) -> None:
    tls: Any = config.get(path)
    if tls is None:
        return
    if bool(tls.get("cert")) != bool(tls.get("key")):
        raise _Stop("both tls cert and key are required")
    for name in (tls.get("root_ca"), tls.get("cert"), tls.get("key")):
        if name:
            try:
                os.stat(name)
            except OSError as error:
                raise _Stop(f"error accessing {_quoted(name)}: stat {name}: {go_os_error(error)}") from error


def _otlp(config: Config, path: str) -> None:
    block: Any = config.get(path)
    if block is None:
        return
    _tls(config, f"{path}.client_tls")
    url_path = block.get("url_path", "")
    if url_path and not url_path.startswith("/"):
        raise _Stop(f"path {_quoted(url_path)} must be absolute (at .URLPath)")
