"""Stands in for `docker` and `docker compose` in tests: an `exec` or `run` of psql that answers like the ledger's.

Reads FAKE_LEDGER, a JSON file: `rows` (as read_ledger.ROWS selects them; without the last member: in use), `present` (values that exist), `complaint`
(what psql or docker writes on standard error before it ends), `exit`. Appends its arguments and the first line it read
(the password) to FAKE_LEDGER with `.log` at its end.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    path = Path(os.environ["FAKE_LEDGER"])
    ledger = json.loads(path.read_text(encoding="utf-8"))
    password = sys.stdin.readline().rstrip("\n")
    log = Path(f"{path}.log")
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"arguments": arguments, "password": password}) + "\n")
    if "complaint" in ledger:
        print(ledger["complaint"], file=sys.stderr)
        return int(ledger.get("exit", 1))
    time.sleep(ledger.get("delay", 0))
    statement = ""
    for line in sys.stdin:
        statement += line
        if not statement.rstrip().endswith(";"):
            continue
        if "json_build_object" in statement:
            print(
                ledger.get("answer") or json.dumps({"rows": [[*row, False][:6] for row in ledger["rows"]]}), flush=True
            )
        elif match := re.search(r"EXISTS .* = '([^']*)'\)", statement):
            print("t" if match.group(1) in ledger["present"] else "f", flush=True)
        statement = ""
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
