"""How long `./clair scan` takes for an image that is indexed, against clairctl's report of it on the same stack.

The stack is what `make demo KEEP=1` leaves: the rendered defaults with a sample feed and sample images. clairctl runs as
users run it beside a deployment, in a container with the host's network and a config that holds the key, through the
same edge.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.engine import docker, remove_project
from bench.measure import BenchError, Row, alternate, note, timed_call
from bench.project import ROOT, with_interpreter

__all__ = ["measure"]

RUNS = 15
DEMO_SECONDS = 600.0


def measure() -> list[Row]:
    """Return the row of `./clair scan`."""
    note("scan: ./clair scan of an indexed image (about a minute)")
    log = start_demo()
    kept = re.search(r"kept: (\S+) in (\S+)", log)
    again = re.search(r"scan again: .*\./clair scan (\S+)", log)
    if not kept or not again:
        raise BenchError(f"the demo kept nothing to measure: {' / '.join(log.splitlines()[-3:])}")
    folder, image = Path(kept.group(2)), again.group(1)
    host = image.partition(":")[0]
    environment = {"NO_PROXY": host, "no_proxy": host, **with_interpreter()}
    floor = clairctl(folder, image)
    try:
        pair = alternate(
            RUNS,
            lambda: timed_call([folder / "clair", "scan", image], environment=environment, accept=(0, 1)),
            lambda: timed_call(floor),
        )
    finally:
        remove_project(kept.group(1))
        shutil.rmtree(workspace(folder, kept.group(1)), ignore_errors=True)
    return [pair.row("`./clair scan` of an indexed image to `docker run ... clairctl report`", "<= 1.0")]


def start_demo() -> str:
    """Run the demo, keep what it started, and return what it told; the answers in DATA reach it by the environment."""
    result = subprocess.run(
        [sys.executable, "-m", "demo.run"],
        cwd=ROOT,
        env={**os.environ, "KEEP": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    return result.stderr


def workspace(folder: Path, name: str) -> Path:
    """Return the temporary folder that the demo made, which is the repository's or its parent."""
    return folder.parent if folder.parent.name.startswith(name) else folder


def clairctl(folder: Path, image: str) -> list[str]:
    """Return the command that has clairctl report the image through the edge."""
    facts = json.loads((folder / "ops" / "deployment.json").read_text(encoding="utf-8"))
    return docker(
        *("run", "--rm", "--network", "host", "--volume", f"{folder}/state/applied/tools:/config:ro"),
        *("--entrypoint", "/bin/clairctl", facts["images"]["clair"], "--config", "/config/config.yaml"),
        *("report", "--host", f"http://127.0.0.1:{facts['edge']['port']}/", image),
    )
