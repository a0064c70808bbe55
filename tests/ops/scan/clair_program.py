"""Runs `./clair` in a process of its own, where names that end in .local lead to loopback."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from ops.__main__ import main

_resolve = socket.getaddrinfo


def _loopback(host: object, *args: object, **kwargs: object) -> object:
    return _resolve("127.0.0.1" if str(host).endswith(".local") else host, *args, **kwargs)  # type: ignore[arg-type]


socket.getaddrinfo = _loopback  # type: ignore[assignment]
code = main(sys.argv[1:])
sys.stdout.flush()
# Not getrusage: its peak is inherited from the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(f"peak {peak.split()[1]} KiB", file=sys.stderr)
sys.exit(code)
