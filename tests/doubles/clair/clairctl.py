"""The program `clairctl`: flags before the command, flags before its arguments, errors on standard error (cmd/clairctl/main.go).

Help texts are the double's own; exit codes are the original's, wrong usage included, which is 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from . import log_lines
from .clairctl_report import CommandFailed, CommandPanicked
from .releases import Release, current_release

_COMMANDS = ("manifest", "report", "export-updaters", "import-updaters", "delete")
_FLAGS: dict[str, dict[str, bool]] = {  # name: takes a value
    "": {"D": False, "q": False, "config": True, "c": True, "issuer": True, "iss": True, "version": False, "v": False},
    "manifest": {},
    "report": {
        "host": True, "out": True, "o": True, "keep-going": False, "k": False, "novel": False,
    },
    "export-updaters": {"strict": False, "gzip": False, "g": False, "zstd": False, "z": False},
    "import-updaters": {"gzip": False, "g": False, "zstd": False, "z": False},
    "delete": {"host": True},
    "check-config": {"out": True, "o": True},
    "admin": {},
}  # fmt: skip
_SAME = {"c": "config", "iss": "issuer", "o": "out", "k": "keep-going", "g": "gzip", "z": "zstd", "v": "version"}


class _WrongUsage(Exception):
    pass


class _Help(Exception):
    pass


def main(arguments: list[str]) -> int:
    """Run a command; returns the exit code."""
    release = current_release()
    commands = [*_COMMANDS, *(["check-config", "admin"] if release.since("4.7.0") else [])]
    log_lines.use_console(modern=release.since("4.7.0"))
    command = ""
    try:
        common, rest = _parse("", arguments)
        if "version" in common:
            print(f"clairctl version {release.version}")
            return 0
        if "D" in common or "q" in common:
            log_lines.set_minimum("debug" if "D" in common else "warn")
        if not rest or rest[0] in ("help", "h"):
            raise _Help
        command = rest[0]
        if command not in commands:
            return _fail(f"No help topic for '{command}'", 3)
        flags, rest = _parse(command, rest[1:])
        return _run(command, common, flags, rest, release)
    except _WrongUsage as problem:
        print(f"Incorrect Usage: {problem}\n")
        _help(command, commands)
        return 0
    except _Help:
        _help(command, commands)
        return 0
    except CommandFailed as problem:
        return _fail(str(problem), 1)
    except CommandPanicked:
        print("panic: runtime error: invalid memory address or nil pointer dereference\n"
              "[signal SIGSEGV: segmentation violation]", file=sys.stderr)  # fmt: skip
        return 2


def _run(command: str, common: dict[str, str], flags: dict[str, str], rest: list[str], release: Release) -> int:
    path = common.get("config") or os.environ.get("CLAIR_CONF") or "config.yaml"
    issuer = common.get("issuer") or "clairctl"
    host = flags.get("host") or os.environ.get("CLAIR_API") or "http://localhost:6060/"
    compression = "zstd" if "zstd" in flags else "gzip" if "gzip" in flags else ""
    if command in ("manifest", "report", "delete"):
        from . import clairctl_report as commands

        if command == "manifest":
            commands.manifest_command(rest, release)
            return 0
        from .clairctl_admin import config_or_none

        if not rest:
            raise CommandFailed("missing needed arguments")
        config = config_or_none(path, release)
        if command == "delete":
            commands.delete_command(rest, host, config, issuer, release)
            return 0
        output = flags.get("out", "text")
        commands.report_command(rest, host, output, "keep-going" in flags, "novel" in flags, config, issuer, release)
        return 0
    from . import clairctl_admin as admin

    if command == "check-config":
        admin.check_config_command(rest, flags.get("out", "json"), release)
        return 0
    if command == "admin":
        try:
            admin.admin_command(rest, path, release)
        except admin.UnknownTopic as topic:
            return _fail(f"No help topic for '{topic}'", 3)
        return 0
    from . import clairctl_feeds as feeds

    config = admin.required_config(path, release)
    if command == "export-updaters":
        feeds.export_command(rest, compression, "strict" in flags, config, release)
    else:
        feeds.import_command(rest, compression, config, release)
    return 0


def _parse(command: str, arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    known = _FLAGS[command]
    found: dict[str, str] = {}
    waiting = list(arguments)
    while waiting and waiting[0].startswith("-") and waiting[0] != "-":
        word = waiting.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        if name in ("h", "help"):
            raise _Help
        if name not in known:
            raise _WrongUsage(f"flag provided but not defined: -{name}")
        if known[name]:
            if not equals:
                if not waiting:
                    raise _WrongUsage(f"flag needs an argument: -{name}")
                value = waiting.pop(0)
        elif equals and value.lower() in ("false", "f", "0"):
            continue
        if command == "report" and name in ("o", "out") and value not in ("text", "json", "xml"):
            raise _WrongUsage(f'invalid value "{value}" for flag -{name}: unrecognized output format "{value}"')
        found[_SAME.get(name, name)] = value or "true"
    return found, waiting


def _fail(text: str, code: int) -> int:
    sys.stdout.flush()
    log_lines.log("error", "", "", error=text)
    return code


def _help(command: str, commands: list[str]) -> None:
    if command:
        print(f"usage: clairctl {command} [options] ARGUMENT...\noptions:")
        for name in _FLAGS[command]:
            print(f"  -{name}")
        return
    print("clairctl, a test double\n\nusage: clairctl [global options] command [options] ARGUMENT...\n\ncommands:")
    for name in commands:
        print(f"  {name}")
