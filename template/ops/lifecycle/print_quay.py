"""The command `quay`: the block for Quay's config.yaml that makes a Quay registry use this deployment.

Reads the deployment's settings and, with --show-key, `secrets/psk`; writes to standard output. Exit codes: 0 printed;
2 the deployment is not made for a Quay registry. Environment override: SHOW_KEY=1. Keys: quay/quay
util/config/schema.py (FEATURE_SECURITY_SCANNER, SECURITY_SCANNER_V4_ENDPOINT, SECURITY_SCANNER_V4_PSK: the key in
base64, as in `secrets/psk`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..clair.bearer import decode_key
from ..clair.reach_edge import edge_url
from ..errors import USAGE, Problem
from ..host.read_arguments import Parser
from ..host.write_output import write_output
from ..registries.parse_reference import is_loopback
from ..settings import Deployment, load_deployment


def quay_block(deployment: Deployment, endpoint: str, show_key: bool) -> list[str]:
    """Return the lines of the block. Raises Problem (2) if the key is to be shown and cannot be read."""
    key = "# content of secrets/psk; ./clair quay --show-key prints it here"
    if show_key:
        text = deployment.secret("psk").strip()
        decode_key(text)
        key = json.dumps(text)  # a JSON string is a YAML string, whatever stands in it
    lines = [
        "# For Quay's config.yaml",
        "FEATURE_SECURITY_SCANNER: true",
        f"SECURITY_SCANNER_V4_ENDPOINT: {json.dumps(endpoint)}",
        f"SECURITY_SCANNER_V4_PSK: {key}",
    ]
    host = endpoint.partition("://")[2]
    if is_loopback(host):
        lines.insert(1, "# Quay must reach this address: loopback works only on this machine, outside a container.")
    return lines


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser("quay", "Print the block for Quay's config.yaml.")
    parser.add_switch("--show-key", "SHOW_KEY", "print the pre-shared key itself")
    options = parser.parse_args(argv)
    deployment = load_deployment()
    if not deployment.facts.get("quay_enabled"):
        raise Problem(
            "quay not enabled, quay_enabled: this deployment was rendered without it, so its edge refuses Quay's "
            "DELETE and the issuer quay",
            "copier update --trust --defaults -d quay_enabled=true && ./clair up",
            USAGE,
        )
    lines = quay_block(deployment, edge_url(deployment), options.show_key)
    write_output((line + "\n" for line in lines), "")
    return 0
