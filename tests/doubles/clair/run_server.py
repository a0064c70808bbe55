"""Start the server: `python -m tests.doubles.clair.run_server -conf FILE -mode MODE`."""

from __future__ import annotations

import os
import sys

from .server import main

if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # threads that still wait for a peer must not hold the process up
