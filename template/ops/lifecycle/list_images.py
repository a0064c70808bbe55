"""Lists every image this deployment uses, tools included, one a line: for `docker save` or a mirror (`images`).

Reads the rendered settings only, so that it works before anything is started and without Docker.
Exit codes: 0 done; 2 wrong use. Environment: JSON=1.
"""

from __future__ import annotations

import json
from typing import List

from ..host.read_arguments import Parser
from ..settings import load_deployment


def main(argv: List[str]) -> int:
    """Run `images`."""
    parser = Parser("images", "List every image with its tag, one a line.")
    parser.add_switch("--json", "JSON", "one JSON object on stdout: component to image")
    options = parser.parse_args(argv)
    images = {name: str(image) for name, image in load_deployment(applied=False).facts["images"].items()}
    print(json.dumps(images, indent=1, sort_keys=True) if options.json else "\n".join(sorted(set(images.values()))))
    return 0
