"""The types of Clair's configuration keys, for decoding; which keys a release knows comes from the project's key list.

Source: quay/clair config/*.go at each release's linked config module.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

from .releases import Release

LOG_LEVELS = ("info", "debug-color", "debug", "warn", "error", "fatal", "panic")

# Anything that is not named here and has no children is a string.
TYPES = {
    "indexer.scanlock_retry": "int",
    "indexer.layer_scan_concurrency": "int",
    "indexer.index_report_request_concurrency": "int",
    "indexer.migrations": "bool",
    "indexer.airgap": "bool",
    "indexer.scanner.dist": "map",
    "indexer.scanner.package": "map",
    "indexer.scanner.repo": "map",
    "matcher.period": "duration",
    "matcher.cache_age": "duration",
    "matcher.update_retention": "int",
    "matcher.max_conn_pool": "int",
    "matcher.migrations": "bool",
    "matcher.disable_updaters": "bool",
    "matcher.disable_enrichment": "bool",
    "matchers.names": "strings",
    "matchers.config": "map",
    "updaters.sets": "strings",
    "updaters.config": "map",
    "notifier.poll_interval": "duration",
    "notifier.delivery_interval": "duration",
    "notifier.disable_summary": "bool",
    "notifier.migrations": "bool",
    "notifier.webhook.headers": "map-of-strings-lists",
    "notifier.webhook.signed": "bool",
    "notifier.amqp.exchange.durability": "bool",
    "notifier.amqp.exchange.auto_delete": "bool",
    "notifier.amqp.uris": "strings",
    "notifier.amqp.rollup": "int",
    "notifier.amqp.direct": "bool",
    "notifier.stomp.uris": "strings",
    "notifier.stomp.rollup": "int",
    "notifier.stomp.direct": "bool",
    "auth.psk.key": "base64",
    "auth.psk.iss": "strings",
    "auth.keyserver.intraservice": "base64",
    "log_level": "level",
    "trace.probability": "float",
    "trace.jaeger.tags": "map-of-strings",
    "trace.jaeger.buffer_max": "int",
}
for _signal in ("trace", "metrics"):
    for _transport in ("http", "grpc"):
        TYPES.update(
            {
                f"{_signal}.otlp.{_transport}.compression": "compressor",
                f"{_signal}.otlp.{_transport}.headers": "map-of-strings",
                f"{_signal}.otlp.{_transport}.insecure": "bool",
                f"{_signal}.otlp.{_transport}.timeout": "duration",
                f"{_signal}.otlp.{_transport}.reconnect": "duration",
            }
        )

GO_TYPES = {
    "int": "int",
    "bool": "bool",
    "duration": "config.Duration",
    "strings": "[]string",
    "map": "map[string]interface {}",
    "map-of-strings": "map[string]string",
    "map-of-strings-lists": "http.Header",
    "base64": "config.Base64",
    "level": "config.LogLevel",
    "compressor": "config.OTLPCompressor",
    "float": "float64",
    "string": "string",
}

# The name of the Go struct that holds the children of a path, for error messages.
GO_STRUCTS = {
    "": "Config",
    "tls": "TLS",
    "indexer": "Indexer",
    "indexer.scanner": "ScannerConfig",
    "matcher": "Matcher",
    "matchers": "Matchers",
    "updaters": "Updaters",
    "notifier": "Notifier",
    "notifier.webhook": "Webhook",
    "notifier.amqp": "AMQP",
    "notifier.amqp.tls": "TLS",
    "notifier.amqp.exchange": "Exchange",
    "notifier.stomp": "STOMP",
    "notifier.stomp.tls": "TLS",
    "notifier.stomp.user": "Login",
    "auth": "Auth",
    "auth.psk": "AuthPSK",
    "auth.keyserver": "AuthKeyserver",
    "trace": "Trace",
    "trace.jaeger": "Jaeger",
    "trace.otlp": "TraceOTLP",
    "trace.sentry": "Sentry",
    "metrics": "Metrics",
    "metrics.prometheus": "Prometheus",
    "metrics.otlp": "MetricOTLP",
}
for _signal, _struct in (("trace", "Trace"), ("metrics", "Metric")):
    GO_STRUCTS[f"{_signal}.otlp.http"] = f"{_struct}OTLPHTTP"
    GO_STRUCTS[f"{_signal}.otlp.grpc"] = f"{_struct}OTLPgRPC"


def embedded_structs(path: str) -> str:
    """Return the embedded structs that Go names between the parent of `path` and its last part."""
    parent, _, name = path.rpartition(".")
    kind = {"http": "HTTP", "grpc": "gRPC"}.get(parent.rpartition(".")[2], "") if ".otlp." in parent else ""
    if not kind:
        return ""
    own = {"HTTP": ("url_path",), "gRPC": ("reconnect", "service_config")}[kind]
    return f"OTLP{kind}Common." if name in own else f"OTLP{kind}Common.OTLPCommon."


def _key_list() -> Path:
    named = os.environ.get("CLAIR_DOUBLE_CONFIG_KEYS")
    if named:
        return Path(named)
    beside = Path(__file__).with_name("clair-config-keys.json")
    if beside.exists():  # in the image
        return beside
    return Path(__file__).parents[3] / "extensions" / "data" / "clair-config-keys.json"


@lru_cache(maxsize=1)
def known_keys(release: Release) -> frozenset[str]:
    """Return every dotted path the release's configuration knows."""
    keysets = json.loads(_key_list().read_text(encoding="utf-8"))["keysets"]
    fitting = [name for name in keysets if release.since(name)]
    return frozenset(keysets[max(fitting, key=lambda name: [int(part) for part in name.split(".")])])
