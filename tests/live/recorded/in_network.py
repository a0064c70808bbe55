"""Run a program of the double as if this machine were in the network of the recordings: `in_network clair|clairctl ARGUMENT...`.

Environment: RECORDED_PLACES, the ports on this machine by the recordings' `host:port`, as JSON. A host that is not among them
does not exist, so nothing leaves this machine; only addresses are what they are.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
from typing import Any

# The recordings' name server never answered for this host.
SILENT = "nowhere.invalid"


def main(program: str, arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    _put_names_in_place(json.loads(os.environ["RECORDED_PLACES"]))
    if program == "clair":
        from tests.doubles.clair.server import main as clair

        return clair(arguments)
    from tests.doubles.clair.clairctl import main as clairctl

    return clairctl(arguments)


def _put_names_in_place(places: dict[str, int]) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *others: Any, **options: Any) -> Any:
        if f"{host}:{port}" in places:
            return real("127.0.0.1", places[f"{host}:{port}"], *others, **options)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            code = socket.EAI_AGAIN if host == SILENT else socket.EAI_NONAME
            raise socket.gaierror(code, "not in the network of the recordings") from None
        return real(host, port, *others, **options)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as the programs of the double's image end
