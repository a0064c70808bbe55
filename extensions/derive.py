"""From answers to ready values: what the templates print and what the commands read. Pure; no template decides anything."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .catalogue import Catalogue

__all__ = ["derive"]

CLAIR_PORT = 6060
INTROSPECTION_PORT = 8089
RECEIVER_PORT = 8080
FEED_PERIOD_HOURS = 6  # claircore's default from 4.7.0; a shorter one is called very aggressive by Clair itself
OTLP_HTTP_PORT = 4318
TRACE_PROBABILITY = 0.1  # one request in ten
LEDGER_ROLE = "ledger"
DIGEST = "(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
FEED_AGE_HOURS = 24
PACK_AGE_HOURS = 30 * 24  # an air-gapped deployment gets its feeds by hand
MEBIBYTES_PER_GIBIBYTE = 1024
# Export and import hold one feed at a time in memory, as the matcher does; Go's collector keeps below this share of the limit.
GO_MEMORY_SHARE = 0.9
# For feeds as JSON while a pack is made; about 3.3 million records of Red Hat's feed come to several GiB.
FEED_SPOOL_GIB = 24
CLAIR_SERVICES = ("indexer", "matcher", "notifier")
NEEDED_ISSUERS = ("clairctl", "clair-notifier")  # ./clair and clairctl; the receiver and direct deliveries


def derive(answers: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Return every value that a template prints, as plain JSON types."""
    version = str(answers["clair_version"]).removeprefix("v")
    version = catalogue.newest if version == "newest" else version
    release = catalogue.release(version)
    services = _services(answers, catalogue, release)
    database = _database(answers, catalogue, release, services)
    edge = {**_edge(answers), "routes": _routes(answers)}
    feeds = _feeds(answers, catalogue, version)
    issuers = _issuers(answers)
    images = _images(answers, catalogue, version)
    values = {
        "name": answers["deployment_name"],
        "release": {
            "version": version,
            **{key: str(value) if key == "date" else value for key, value in release.items()},
        },
        "images": images,
        "import_image": images.get("clair-import", images["clair"]),
        "feed_tools": _feed_tools(services["matcher"]),
        "services": services,
        "upstreams": {name: _upstreams(name, services[name], answers) for name in CLAIR_SERVICES if name in services},
        "database": database,
        "edge": edge,
        "feeds": feeds,
        "issuers": issuers,
        "notifier": _notifier(answers, release, edge),
        "proxy": _proxy(answers, services),
        "backup": {"keep": answers["backup_keep"]},
        "trace": _trace(answers),
        "size": _size(answers, catalogue, services),
        "roles": [*database["connection_strings"], LEDGER_ROLE],
    }
    values["commands"] = _commands(answers, values, catalogue)
    return values


def _images(answers: Mapping[str, Any], catalogue: Catalogue, version: str) -> dict[str, str]:
    components = catalogue.components
    majors = components["postgres"]["majors"]
    major = answers.get("database_version", components["postgres"]["default_major"])
    images = {
        "clair": f"{catalogue.clair['image']}:{version}",
        "clair-database": f"{components['postgres']['image']}:{majors[major]['tag']}",
        "traefik": f"{components['traefik']['image']}:{components['traefik']['tag']}",
        "receiver": f"{components['receiver']['image']}:{components['receiver']['tag']}",
        "registry": f"{components['registry']['image']}:{components['registry']['tag']}",
    }
    if import_release := catalogue.release(version)["import_release"]:
        images["clair-import"] = f"{catalogue.clair['image']}:{import_release}"
    if answers["notifier_delivery"] != "bundled":
        del images["receiver"]
    if mirror := answers["image_mirror"].rstrip("/"):
        images = {name: f"{mirror}/{image.split('/', 1)[1]}" for name, image in images.items()}
    return images


def _feed_tools(matcher: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of the containers that export and import feeds: as much as the matcher, which parses the same."""
    memory = matcher["memory"]
    return {
        "memory": memory,
        "go_memory": math.floor(memory * GO_MEMORY_SHARE),
        "cpus": matcher["cpus"],
        "spool_gib": FEED_SPOOL_GIB,
    }


def _services(answers: Mapping[str, Any], catalogue: Catalogue, release: Mapping[str, Any]) -> dict[str, Any]:
    sizes = catalogue.sizes["sizes"][answers["deployment_size"]]["services"]
    names = ["clair-database", "indexer", "matcher", "notifier", "receiver", "traefik"]
    if answers["database_mode"] == "external":
        names.remove("clair-database")
    if answers["notifier_delivery"] == "none":
        names.remove("notifier")
    if answers["notifier_delivery"] != "bundled":
        names.remove("receiver")
    services: dict[str, Any] = {}
    for name in names:
        replicas = answers.get(f"{name}_replicas", 1)
        container = f"{answers['deployment_name']}-{name.removeprefix('clair-')}"
        service = {**sizes[name], "replicas": replicas, "container_name": container if replicas == 1 else None}
        if name in CLAIR_SERVICES and "fixed" in release["pool"]:
            service["pool"] = release["pool"]["fixed"]
        service["networks"] = _networks(name, answers)
        services[name] = service
    return services


def _networks(name: str, answers: Mapping[str, Any]) -> list[str]:
    external = answers["database_mode"] == "external"
    leaves = {
        "indexer": True,  # fetches layers
        "matcher": external or not answers["feeds_offline"],
        "notifier": external
        or answers["notifier_delivery"] not in ("bundled", "none")
        or bool(answers["tracing_endpoint"]),
    }
    networks = {
        "clair-database": ["database"],
        "receiver": ["notifications", "delivery"],  # sends on to targets outside, and shares that way with nobody
        "traefik": ["edge", "clair"],
    }.get(name, ["clair"] if external else ["clair", "database"])
    if name == "notifier" and answers["notifier_delivery"] == "bundled":
        networks = [*networks, "notifications"]
    return [*networks, "egress"] if leaves.get(name) else networks


def _upstreams(name: str, service: Mapping[str, Any], answers: Mapping[str, Any]) -> list[str]:
    if service["replicas"] == 1:
        return [f"http://{name}:{CLAIR_PORT}"]
    prefix = f"{answers['deployment_name']}-{name}"
    return [f"http://{prefix}-{number}:{CLAIR_PORT}" for number in range(1, service["replicas"] + 1)]


def _database(
    answers: Mapping[str, Any], catalogue: Catalogue, release: Mapping[str, Any], services: Mapping[str, Any]
) -> dict[str, Any]:
    bundled = answers["database_mode"] == "bundled"
    major = answers.get("database_version", catalogue.components["postgres"]["default_major"])
    host = "clair-database" if bundled else answers["database_host"]
    port = 5432 if bundled else answers["database_port"]
    sslmode = "disable" if bundled else answers["database_sslmode"]
    connections = catalogue.sizes["reserved_connections"]
    strings = {}
    for name in CLAIR_SERVICES:
        if name not in services:
            continue
        pool = services[name]["pool"]
        connections += pool * services[name]["replicas"]
        setting = release["pool"].get("setting")
        size = f" {setting}={pool}" if setting else ""
        strings[name] = f"host={host} port={port} dbname={name} user={name} sslmode={sslmode}{size}"
    return {
        "mode": answers["database_mode"],
        "version": major,
        "host": host,
        "port": port,
        "sslmode": sslmode,
        "data": catalogue.components["postgres"]["majors"][major]["data"],
        "max_connections": connections,
        "settings": catalogue.sizes["sizes"][answers["deployment_size"]]["postgres"],
        "connection_strings": strings,
    }


def _edge(answers: Mapping[str, Any]) -> dict[str, Any]:
    tls = answers["edge_tls"]
    address = answers["edge_address"]
    ip = ipaddress.ip_address(address)
    reachable = address if not ip.is_unspecified else ("127.0.0.1" if ip.version == 4 else "::1")
    host = answers["edge_hostname"] if tls != "off" else (f"[{reachable}]" if ip.version == 6 else reachable)
    scheme = "http" if tls == "off" else "https"
    default_port = {"http": 80, "https": 443}[scheme]
    port = answers["edge_port"]
    return {
        "address": address,
        "loopback": ip.is_loopback,
        "port": port,
        "tls": tls,
        "hostname": answers["edge_hostname"] if tls != "off" else "",
        "acme_email": answers.get("edge_acme_email", "") if tls == "acme" else "",
        "acme_server": answers.get("edge_acme_server", "") if tls == "acme" else "",
        "url": f"{scheme}://{host}" + ("" if port == default_port else f":{port}"),
        "operations_port": answers["operations_port"],
    }


def _routes(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the edge's allow-list: exact paths, anchored at both ends, each with its one method.

    A deny rule could be walked around with an encoded slash (seen with Clair 4.5.1); the names are those of Clair's API
    (httptransport/server.go at each release).
    """
    report = f"PathRegexp(`^/indexer/api/v1/index_report/{DIGEST}$`)"
    notification = f"PathRegexp(`^/notifier/api/v1/notification/{UUID}$`)"
    notifier = answers["notifier_delivery"] != "none"
    routes = {
        "index": ("indexer", "POST", "Path(`/indexer/api/v1/index_report`)"),
        "index-report": ("indexer", "GET", report),
        "index-state": ("indexer", "GET", "Path(`/indexer/api/v1/index_state`)"),
        "vulnerability-report": ("matcher", "GET", f"PathRegexp(`^/matcher/api/v1/vulnerability_report/{DIGEST}$`)"),
    }
    if notifier:
        routes["notification"] = ("notifier", "GET", notification)
    if answers["quay_enabled"]:
        routes["index-report-delete"] = ("indexer", "DELETE", report)
    if answers["quay_enabled"] and notifier:
        routes["notification-delete"] = ("notifier", "DELETE", notification)
    return {
        name: {"service": service, "rule": f"Method(`{method}`) && {path}"}
        for name, (service, method, path) in routes.items()
    }


def _feeds(answers: Mapping[str, Any], catalogue: Catalogue, version: str) -> dict[str, Any]:
    offline = answers["feeds_offline"]
    loaded = [*answers["updater_families"], *([catalogue.enrichment_name] if answers["enrichment_enabled"] else [])]
    known = {name: catalogue.family(name, version) for name in [*catalogue.family_names, catalogue.enrichment_name]}
    return {
        "offline": offline,
        "families": list(answers["updater_families"]),
        "sets": sorted({set_name for name in loaded for set_name in known[name]["sets"]}),
        "enrichment": answers["enrichment_enabled"],
        "retention": answers["update_retention"],
        "period": f"{FEED_PERIOD_HOURS}h",
        "config": {key: value for name in loaded for key, value in known[name].get("config", {}).items()},
        "egress": sorted({host for name in loaded for host in known[name]["egress"]}),
        "never_loads": {name: known[name]["never_loads"] for name in loaded if known[name]["never_loads"]},
        "limits": {name: known[name]["limits"] for name in loaded if known[name]["limits"]},
        "catalogue": known,
        "os_package_databases": catalogue.families["os_package_databases"],
    }


def _issuers(answers: Mapping[str, Any]) -> list[str]:
    own = answers["auth_issuers"]
    issuers = dict.fromkeys([*NEEDED_ISSUERS, *own, *(["quay"] if answers["quay_enabled"] else [])])
    return list(issuers)


def _notifier(answers: Mapping[str, Any], release: Mapping[str, Any], edge: Mapping[str, Any]) -> dict[str, Any]:
    delivery = answers["notifier_delivery"]
    bundled = delivery == "bundled"
    inside = f"http://notifier:{CLAIR_PORT}"
    target = f"http://receiver:{RECEIVER_PORT}/" if bundled else answers.get("notifier_target", "")
    if delivery == "stomp":
        target = urlsplit(target).netloc  # Clair takes host:port for STOMP
    return {
        "delivery": delivery,
        "target": target,
        "callback": (inside if bundled else edge["url"]) + "/notifier/api/v1/notification/",
        "poll_interval": release["notifier_intervals"]["poll"],
        "delivery_interval": release["notifier_intervals"]["delivery"],
        "shortest_seconds": release["notifier_intervals"]["shortest_seconds"],
        "stomp_virtual_host": release["stomp_virtual_host"],
    }


def _proxy(answers: Mapping[str, Any], services: Mapping[str, Any]) -> dict[str, Any]:
    url = answers["proxy_url"]
    inside = [
        name for name in ("clair-database", "indexer", "matcher", "notifier", "receiver", "traefik") if name in services
    ]
    replicas = [
        f"{answers['deployment_name']}-{name}-{number}"
        for name in CLAIR_SERVICES
        if services.get(name, {}).get("replicas", 1) > 1
        for number in range(1, services[name]["replicas"] + 1)
    ]
    # `registry` exempts NAME.registry, the name under which the indexer meets the registry of one `scan-local`.
    exceptions = ["localhost", "127.0.0.1", "::1", *inside, "registry", *replicas]
    if answers["database_mode"] == "external":
        exceptions.append(answers["database_host"])
    exceptions += answers.get("proxy_exceptions", []) if url else []
    goes_out = ["indexer"]
    if not answers["feeds_offline"]:
        goes_out.append("matcher")
    if answers["notifier_delivery"] == "webhook":
        goes_out.append("notifier")
    if answers["notifier_delivery"] == "bundled":
        goes_out.append("receiver")
    if answers["edge_tls"] == "acme":
        goes_out.append("traefik")
    return {"url": url, "exceptions": list(dict.fromkeys(exceptions)), "services": goes_out if url else []}


def _trace(answers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return Clair's `trace` section: an OTLP client over HTTP (config/otlp.go@v4.9.0 takes host:port, no URL)."""
    if not answers["tracing_endpoint"]:
        return None
    parts = urlsplit(answers["tracing_endpoint"])
    client: dict[str, Any] = {
        "endpoint": parts.netloc if parts.port else f"{parts.netloc}:{OTLP_HTTP_PORT}",
        "insecure": parts.scheme == "http",
    }
    if path := parts.path.rstrip("/"):
        client["url_path"] = path
    return {"name": "otlp", "probability": TRACE_PROBABILITY, "otlp": {"http": client}}


def _size(answers: Mapping[str, Any], catalogue: Catalogue, services: Mapping[str, Any]) -> dict[str, Any]:
    host = catalogue.sizes["sizes"][answers["deployment_size"]]["host"]
    further = sum(service["memory"] * (service["replicas"] - 1) for service in services.values())
    return {
        "name": answers["deployment_size"],
        "memory_gib": host["memory_gib"] + math.ceil(further / MEBIBYTES_PER_GIBIBYTE),
        "cpus": host["cpus"],
    }


def _commands(answers: Mapping[str, Any], values: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Return ops/deployment.json: what `./clair` knows of this deployment, resolved so that it compares no versions."""
    release = values["release"]
    feeds = values["feeds"]
    present = [name for name in CLAIR_SERVICES if name in values["services"]]
    return {
        "format": 1,
        "deployment_name": values["name"],
        "clair_release": release["version"],
        "architecture": answers["architecture"],
        "images": values["images"],
        "database": {key: values["database"][key] for key in ("mode", "version", "host", "port", "sslmode")},
        "edge": {
            "address": values["edge"]["address"],
            "port": values["edge"]["port"],
            "tls": values["edge"]["tls"],
            "hostname": values["edge"]["hostname"],
            "operations_address": "127.0.0.1",
            "operations_port": values["edge"]["operations_port"],
        },
        "services": {
            name: {key: service[key] for key in ("replicas", "request_concurrency") if key in service}
            for name, service in values["services"].items()
        },
        "size": values["size"],
        "feeds": {
            "offline": feeds["offline"],
            "families": feeds["families"],
            "enrichment": feeds["enrichment"],
            "period_hours": FEED_PERIOD_HOURS,
            "max_age_hours": PACK_AGE_HOURS if feeds["offline"] else FEED_AGE_HOURS,
            "tools": {"memory_mib": values["feed_tools"]["memory"], "spool_gib": values["feed_tools"]["spool_gib"]},
            "catalogue": feeds["catalogue"],
            "os_package_databases": feeds["os_package_databases"],
        },
        "auth": {"issuers": values["issuers"], "client_issuer": "clairctl"},
        "backup": values["backup"],
        "quay_enabled": answers["quay_enabled"],
        "notifier_delivery": answers["notifier_delivery"],
        "notifier": {key: values["notifier"][key] for key in ("target", "shortest_seconds")},
        "proxy": values["proxy"],
        "release": {
            "drop_ins": release["drop_ins"],
            "strict": release["strict_config"],
            "stop_signal": release["stop_signal"],
            "number": catalogue.release_number(release["version"]),
            "schema": release["schema"],
            **catalogue.upgrade_steps(release["version"]),
            "clairctl_check_config": release["check_config"],
            "keys": {name: catalogue.keys_of(release["version"], name) for name in present},
            "free_form": list(catalogue.config_keys["free_form"]),
        },
    }
