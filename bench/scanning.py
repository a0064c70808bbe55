"""How long `./clair scan` takes for an image that is indexed, against clairctl's report of it on the same stack.

The stack is the demo's: the rendered defaults with a sample feed and sample images. clairctl runs as users run it beside
a deployment, in a container with the host's network, with a config that holds the key; it goes through the same edge.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from pathlib import Path

from bench.engine import docker, remove_project
from bench.measure import BenchError, Row, alternate, note, timed_call
from bench.project import with_interpreter
from demo import run as demo

__all__ = ["measure"]

RUNS = 15


def measure() -> list[Row]:
    """Return the row of `./clair scan`."""
    note("scan: ./clair scan of an indexed image (about a minute)")
    name = f"clair-bench-{secrets.token_hex(3)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    progress = demo.Progress()
    try:
        facts = demo.render(folder, demo.answers(name, os.environ.get("DATA", "")))
        demo.add_samples(folder, facts)
        demo.start_server(name, folder)
        demo.start(folder)
        image = f"{demo.server_address(name)}/{demo.SAMPLE}"
        demo.wait_for_decision(folder, image, progress)
        host = image.partition(":")[0]
        environment = {"NO_PROXY": host, "no_proxy": host, **with_interpreter()}
        floor = clairctl(folder, image)
        pair = alternate(
            RUNS,
            lambda: timed_call([folder / "clair", "scan", image], environment=environment, accept=(0, 1)),
            lambda: timed_call(floor),
        )
    except demo.DemoError as error:
        raise BenchError(str(error)) from error
    finally:
        remove_project(name)
        demo.remove(name, folder, progress)
    return [pair.row("`./clair scan` of an indexed image to `docker run ... clairctl report`", "<= 1.0")]


def clairctl(folder: Path, image: str) -> list[str]:
    """Return the command that has clairctl report the image through the edge."""
    facts = json.loads((folder / "ops" / "deployment.json").read_text(encoding="utf-8"))
    return docker(
        *("run", "--rm", "--network", "host", "--volume", f"{folder}/state/applied/tools:/config:ro"),
        *("--entrypoint", "/bin/clairctl", facts["images"]["clair"], "--config", "/config/config.yaml"),
        *("report", "--host", f"http://127.0.0.1:{facts['edge']['port']}/", image),
    )
