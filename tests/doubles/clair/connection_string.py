"""PostgreSQL connection strings the way pgx reads them: key words or URL, PG* variables, and the password file without mode checks.

Source: jackc/pgconn config.go (pgx v4) and jackc/pgx/v5/pgconn config.go, jackc/pgpassfile.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit


class ConnectionStringProblem(Exception):
    """The connection string cannot be parsed."""


_ENVIRONMENT = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "database",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGAPPNAME": "application_name",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGSSLMODE": "sslmode",
    "PGSSLKEY": "sslkey",
    "PGSSLCERT": "sslcert",
    "PGSSLROOTCERT": "sslrootcert",
}
_PAIR = re.compile(r"\s*([^\s=]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\]|\\.)*))", re.S)
_NOT_SENT = {
    "host", "port", "database", "user", "password", "passfile", "connect_timeout", "sslmode", "sslkey", "sslcert",
    "sslrootcert", "sslpassword", "sslsni", "service", "servicefile", "target_session_attrs", "min_read_buffer_size",
    "statement_cache_mode", "statement_cache_capacity", "description_cache_capacity", "default_query_exec_mode",
    "prefer_simple_protocol", "krbsrvname", "krbspn",
}  # fmt: skip


@dataclass
class ConnectionTarget:
    """Where to connect and as whom; `parameters` are sent to the server at start-up."""

    hosts: list[tuple[str, int]]
    user: str
    database: str
    password: str
    sslmode: str
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    connect_timeout_seconds: float = 0.0
    pool_size: int = 4
    parameters: dict[str, str] = field(default_factory=dict)


def parse_connection_string(text: str, application_name: str = "", modern: bool = True) -> ConnectionTarget:
    """Resolve a connection string with the environment and the password file; `modern` chooses the wording of pgx v5.

    Raises:
        ConnectionStringProblem: the string, a port or a number in it is malformed.
    """
    settings = {"port": "5432", "host": "/tmp", "sslmode": "prefer"}
    for candidate in ("/var/run/postgresql", "/private/tmp"):
        if os.path.isdir(candidate):
            settings["host"] = candidate
            break
    try:
        settings["user"] = getpass.getuser()
    except (KeyError, OSError):  # the user id has no name
        settings["user"] = ""
    settings["passfile"] = os.path.join(os.path.expanduser("~"), ".pgpass")
    for variable, name in _ENVIRONMENT.items():
        if os.environ.get(variable):
            settings[name] = os.environ[variable]
    if text.startswith(("postgres://", "postgresql://")):
        settings.update(_from_url(text))
    elif text:
        settings.update(_from_words(text, modern))
    hosts = settings["host"].split(",")
    ports = settings["port"].split(",")
    targets = []
    for position, host in enumerate(hosts):
        port = ports[position] if position < len(ports) else ports[0]
        if not port.isdigit() or not 0 < int(port) < 65536:
            reason = "outside range" if port.isdigit() else f'strconv.ParseUint: parsing "{port}": invalid syntax'
            raise ConnectionStringProblem(f"cannot parse `{text}`: invalid port ({reason})")
        targets.append((host, int(port)))
    if settings["sslmode"] not in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"):
        raise ConnectionStringProblem(f"cannot parse `{text}`: failed to configure TLS (sslmode is invalid)")
    connect_timeout, bad = _number(settings, "connect_timeout", 0)
    if bad:
        raise ConnectionStringProblem(f"cannot parse `{text}`: invalid connect_timeout ({bad})")
    pool_size, bad = _number(settings, "pool_max_conns", max(4, os.cpu_count() or 1))
    if bad:
        raise ConnectionStringProblem(
            f"cannot parse `{text}`: cannot parse pool_max_conns ({bad})"
            if modern
            else f"cannot parse pool_max_conns: {bad}"
        )
    if pool_size < 1:
        raise ConnectionStringProblem(f"cannot parse `{text}`: pool_max_conns too small: {pool_size}")
    password = settings.get("password", "")
    if not password:
        password = _from_password_file(settings["passfile"], targets[0], settings.get("database", ""), settings["user"])
    parameters = {
        name: value for name, value in settings.items() if name not in _NOT_SENT and not name.startswith("pool_")
    }
    parameters.setdefault("application_name", application_name)
    return ConnectionTarget(
        hosts=targets,
        user=settings["user"],
        database=settings.get("database", ""),
        password=password,
        sslmode=settings["sslmode"],
        sslrootcert=settings.get("sslrootcert", ""),
        sslcert=settings.get("sslcert", ""),
        sslkey=settings.get("sslkey", ""),
        connect_timeout_seconds=connect_timeout,
        pool_size=pool_size,
        parameters={name: value for name, value in parameters.items() if value},
    )


def _number(settings: dict[str, str], name: str, default: int) -> tuple[int, str]:
    """Return the number, and what Go says about a text that is none."""
    value = settings.get(name)
    if not value:
        return default, ""
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        return default, f'strconv.ParseInt: parsing "{value}": invalid syntax'
    return int(value), ""


def _from_words(text: str, modern: bool) -> dict[str, str]:
    settings: dict[str, str] = {}
    position, end = 0, len(text.rstrip())
    while position < end:
        pair = _PAIR.match(text, position)
        if not pair:
            problem = "keyword/value (invalid keyword/value)" if modern else "DSN (invalid dsn)"
            raise ConnectionStringProblem(f"cannot parse `{text}`: failed to parse as {problem}")
        value = pair.group(2) if pair.group(2) is not None else pair.group(3)
        name = "database" if pair.group(1) == "dbname" else pair.group(1)
        settings[name] = re.sub(r"\\(.)", r"\1", value)
        position = pair.end()
    return settings


def _from_url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    settings: dict[str, str] = {}
    user_part, at, host_part = parts.netloc.rpartition("@")
    if at:
        user, colon, password = user_part.partition(":")
        settings["user"] = unquote(user)
        if colon:
            settings["password"] = unquote(password)
    hosts, ports = [], []
    for address in host_part.split(","):
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", address)
        if not match:
            raise ConnectionStringProblem(f"cannot parse `{text}`: failed to parse as URL")
        if match.group(1):
            hosts.append(unquote(match.group(1).strip("[]")))
        if match.group(2):
            ports.append(match.group(2))
    if hosts:
        settings["host"] = ",".join(hosts)
    if ports:
        settings["port"] = ",".join(ports)
    if parts.path.lstrip("/"):
        settings["database"] = unquote(parts.path.lstrip("/"))
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        settings["database" if name == "dbname" else name] = value
    return settings


def _from_password_file(path: str, target: tuple[str, int], database: str, user: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:  # pgx ignores a password file it cannot read
        return ""
    host = "localhost" if target[0].startswith("/") else target[0]
    wanted = (host, str(target[1]), database, user)
    for line in lines:
        if line.startswith("#"):
            continue
        fields = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", line)]
        if len(fields) == 5 and all(got in ("*", want) for got, want in zip(fields, wanted)):
            return fields[4]
    return ""
