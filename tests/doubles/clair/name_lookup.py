"""How Go words a host name that cannot be resolved."""

from __future__ import annotations

import socket
from functools import lru_cache


def lookup_words(host: str, error: OSError) -> str:
    """Return `lookup HOST on SERVER: reason`."""
    words = "no such host" if error.errno in (socket.EAI_NONAME, -5) else "i/o timeout"
    return f"lookup {host} on {_name_server()}: {words}"


@lru_cache(maxsize=1)
def _name_server() -> str:
    try:
        with open("/etc/resolv.conf", encoding="utf-8") as handle:
            for line in handle:
                words = line.split()
                if words[:1] == ["nameserver"] and len(words) > 1:
                    return f"{words[1]}:53"
    except OSError:
        pass
    return "127.0.0.1:53"
