"""Deletes this deployment's containers, volumes, networks, secrets and applied state, after listing them (`destroy`).

Needs the deployment's name as confirmation. Finds everything by Compose's labels, so that it also works when half is gone or
the Compose file cannot be read. Never touches `backups/` and `reports/`. Exit codes: 0 gone; 1 something is left; 2 no or a
wrong confirmation, or the applied state is of another name; 3 Docker does not answer. Environment: CONFIRM.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Dict, List, Sequence

from ..errors import NO, USAGE, Problem
from ..host import engine
from ..host.read_arguments import Parser
from ..host.remove_scratch import SCRATCH
from ..host.state_lock import hold_lock
from ..settings import Deployment, load_deployment
from ..state.refuse_change import applied_facts, renamed_problem

# Kind: how to list (identity, tab, name), how to delete. In the order of deletion: a volume in use cannot go.
_KINDS = {
    "container": (["ps", "--all", "--format", "{{.ID}}\t{{.Names}}"], ["rm", "--force", "--volumes"]),
    "volume": (["volume", "ls", "--format", "{{.Name}}\t{{.Name}}"], ["volume", "rm", "--force"]),
    "network": (["network", "ls", "--format", "{{.ID}}\t{{.Name}}"], ["network", "rm"]),
}


def found(deployment: Deployment) -> Dict[str, Dict[str, str]]:
    """Return what Docker holds of this deployment: kind to identity to name."""
    labels = (f"com.docker.compose.project={deployment.name}", f"{SCRATCH}={deployment.name}")
    result: Dict[str, Dict[str, str]] = {kind: {} for kind in _KINDS}
    for kind, (words, _) in _KINDS.items():
        for label in labels:
            rows = engine.docker([*words, "--filter", f"label={label}"], timeout_seconds=60).stdout.splitlines()
            for identity, tab, name in (row.partition("\t") for row in rows):
                if tab:
                    result[kind][identity] = name
    return result


def listing(deployment: Deployment, things: Dict[str, Dict[str, str]]) -> List[str]:
    """Return a line for everything that would be deleted."""
    lines = [f"{kind} {name}" for kind, names in things.items() for name in sorted(names.values())]
    if deployment.secrets.is_dir():
        lines += [f"secret secrets/{path.name}" for path in sorted(deployment.secrets.iterdir())]
    if deployment.applied.exists():
        lines.append("folder state/")
    return lines


def destroy(deployment: Deployment, things: Dict[str, Dict[str, str]]) -> None:
    """Delete everything; the lock must be held.

    Raises Problem (1) with what is left if Docker or the file system refuses something.
    """
    refused: List[str] = []
    for kind, (_, words) in _KINDS.items():
        if things[kind]:
            result = engine.docker([*words, *things[kind]], check=False, timeout_seconds=300)
            refused += [line for line in result.stderr.splitlines() if line.strip() and "no such" not in line.lower()]
    if not refused:
        # Kept until Docker's part is gone: without them a database that is left could not be opened again.
        for folder in (deployment.secrets, deployment.state):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                refused.append(f"{folder.name}/: {error.strerror}")
    if refused:
        raise Problem(
            f"not all destroyed, {deployment.name}: {refused[0]}", f"make destroy CONFIRM={deployment.name}", NO
        )


def refusal(deployment: Deployment, confirm: str) -> Problem:
    """Return the Problem (2) for a confirmation that is missing or wrong."""
    reason = f"{confirm!r} is not its name" if confirm else "its name is needed as confirmation"
    hint = f"if this is what you intend: make destroy CONFIRM={deployment.name}"
    return Problem(f"nothing destroyed, {deployment.name}: {reason}", hint, USAGE)


def main(argv: Sequence[str]) -> int:
    """Run `destroy`."""
    parser = Parser("destroy", "DESTROY this deployment's containers, volumes, networks and secrets; all data is lost.")
    parser.add_argument("--confirm", default=os.environ.get("CONFIRM", ""), metavar="NAME", help="its name [CONFIRM]")
    options = parser.parse_args(argv)
    deployment = load_deployment(applied=False)
    # Its secrets and state would go, and containers and volumes of the applied name stay.
    problem = renamed_problem(deployment, applied_facts(deployment) or {})
    if problem:
        raise problem
    things = found(deployment)
    lines = listing(deployment, things)
    for line in lines:
        print(line)
    if options.confirm != deployment.name:
        raise refusal(deployment, options.confirm)
    if lines:
        with hold_lock(deployment, "destroy"):
            destroy(deployment, things)
    print(f"destroyed: {len(lines)} things; backups/ and reports/ stay", file=sys.stderr)
    return 0
