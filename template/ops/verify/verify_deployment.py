"""The command `verify`: is this deployment working, end to end.

Reads the journal of a change, asks docker for the containers, each service for /readyz, every service through the edge, the matcher's database for the
feeds; writes nothing. Exit codes: 0 all is well (warnings included); 1 something does not work; 2 wrong use or
configuration; 3 nothing is broken, but something could not be told (a feed that is not loaded yet included).
Environment overrides: TIMEOUT (seconds, 60), JSON=1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from ..backup.read_backup import newest_backup
from ..clair.reach_edge import deployment_edge
from ..errors import NO, UNDECIDED, Problem
from ..feeds.match_updaters import read_feeds
from ..feeds.read_ledger import LedgerSession
from ..host import engine
from ..host.read_arguments import Parser
from ..host.run_parallel import run_parallel
from ..host.show_activity import Activity
from ..host.watch_start import Container, containers, works
from ..host.write_output import write_output
from ..network.open_connection import Deadline
from ..settings import Deployment, load_deployment
from ..state.track_change import unfinished_problem
from .verify_edge import FAILED, OK, PROBES, UNKNOWN, WARNING, Check, edge_checks
from .verify_feeds import feed_checks

TIMEOUT_SECONDS = 60.0
# A daily backup that failed once is no news; twice is.
BACKUP_WARNING_HOURS = 48
THREADS = 8
# Only shell builtins, which every release's image has: the status word of the answer to GET /readyz.
READY = "exec 3<>/dev/tcp/127.0.0.1/8089 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 10 _ code _ <&3 && echo $code"


def guarded(name: str, call: Callable[[], list[Check]]) -> list[Check]:
    """Return what `call` found, or one check that tells why it found nothing."""
    try:
        return call()
    except Problem as problem:
        return [Check(name, UNKNOWN if problem.code == UNDECIDED else FAILED, problem.sentence, problem.hint)]


def change_checks(deployment: Deployment) -> list[Check]:
    """Return a failed check if a change is not finished: until it is, the edge is closed, and other faults are its."""
    problem = unfinished_problem(deployment)
    if problem is None:
        return []
    return [Check("no unfinished change", FAILED, problem.sentence, problem.hint)]


def container_checks(deployment: Deployment, found: Sequence[Container]) -> list[Check]:
    """Return for each service whether all of its replicas are healthy."""
    checks = []
    for service, settings in deployment.facts["services"].items():
        own = [container for container in found if container.service == service]
        # Right after a start Docker has not asked yet.
        healthy = sum(
            works(container) if container.health == "starting" else container.health == "healthy" for container in own
        )
        wanted = int(settings.get("replicas", 1))
        told = ", ".join(f"{container.name} {container.health}" for container in own) or "no container"
        hint = "" if healthy >= wanted else f"./clair logs {service}" if own else "./clair up"
        checks.append(Check(f"container {service}", OK if healthy >= wanted else FAILED, told, hint))
    return checks


def readiness(container: Container) -> Check:
    """Return whether a Clair container says on /readyz that it is ready: database reached, migrations done."""
    result = engine.docker(["exec", container.id, "bash", "-c", READY], timeout_seconds=20, check=False)
    code = result.stdout.strip()
    told = f"/readyz HTTP {code}" if code else "no answer to /readyz"
    hint = "" if code == "200" else f"./clair logs {container.service}"
    return Check(f"{container.name} ready", OK if code == "200" else FAILED, told, hint)


def volume_checks(deployment: Deployment) -> list[Check]:
    """Return the sizes of this deployment's volumes, as information."""
    words = ["system", "df", "--verbose", "--format", "{{json .Volumes}}"]
    listed = json.loads(engine.docker(words, timeout_seconds=20).stdout or "null") or []
    own = {
        str(item["Name"]): str(item["Size"]) for item in listed if str(item["Name"]).startswith(f"{deployment.name}_")
    }
    told = ", ".join(f"{name.partition('_')[2]} {size}" for name, size in sorted(own.items()))
    return [Check("volumes", OK, told)] if told else []


def backup_checks(deployment: Deployment, now: datetime) -> list[Check]:
    """Return the age of the newest backup: a deployment without a fresh one works, and is one fault away from losing its data."""
    name = "last backup"
    newest = newest_backup(deployment)
    if newest is None:
        return [Check(name, WARNING, "none yet", "./clair backup")]
    try:
        made_at = datetime.strptime(newest.made_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return [Check(name, WARNING, f"{newest.name} says no time", "./clair backup")]
    hours = (now - made_at).total_seconds() / 3600
    if hours > BACKUP_WARNING_HOURS:
        return [Check(name, WARNING, f"{newest.name}, {hours / 24:.0f} days old", "./clair backup")]
    return [Check(name, OK, f"{newest.name}, {hours:.0f} hours old")]


def all_checks(deployment: Deployment, deadline: Deadline) -> list[Check]:
    """Run every check, many at a time, and return them in the order of the way an image takes."""
    services = [service for service in PROBES if service in deployment.facts["services"]]
    found: list[Container] = []
    checks = change_checks(deployment)
    checks += guarded("docker", lambda: found.extend(containers(deployment)) or container_checks(deployment, found))  # type: ignore[func-returns-value]
    groups: list[Callable[[], list[Check]]] = [
        lambda container=container: guarded(f"{container.name} ready", lambda: [readiness(container)])  # type: ignore[misc]
        for container in sorted(found, key=lambda container: container.name)
        if container.service in services and container.state == "running"
    ]
    edge = deployment_edge(deployment)
    groups += [lambda call=call: [call()] for call in edge_checks(edge, services, deadline)]  # type: ignore[misc]
    groups.append(lambda: guarded("feed ledger", lambda: _feeds(deployment, deadline)))
    groups.append(lambda: guarded("volumes", lambda: volume_checks(deployment)))
    groups.append(lambda: guarded("last backup", lambda: backup_checks(deployment, datetime.now(timezone.utc))))
    for group in run_parallel(groups, THREADS):
        checks += group
    return checks


def _feeds(deployment: Deployment, deadline: Deadline) -> list[Check]:
    settings = deployment.facts["feeds"]
    session = LedgerSession(deployment, deadline)
    try:
        ledger = session.ledger()
    finally:
        session.close()
    readable = Check("feed ledger", OK, f"{len(ledger.rows)} updaters, read by the role ledger")
    return [readable, *feed_checks(settings, read_feeds(settings), ledger)]


def verdict_code(checks: Sequence[Check]) -> int:
    """Return the exit code of a list of checks."""
    results = {check.result for check in checks}
    return NO if FAILED in results else UNDECIDED if UNKNOWN in results else 0


def table(checks: Sequence[Check]) -> list[str]:
    """Return the lines of the table."""
    width = max(len(check.name) for check in checks)
    lines = [f"{'CHECK':<{width}}  {'RESULT':<7}  DETAIL"]
    return lines + [f"{check.name:<{width}}  {check.result:<7}  {check.detail}" for check in checks]


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser("verify", "Check that this deployment works, end to end, through the edge.")
    parser.add_switch("--json", "JSON", "print a JSON document")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    deployment = load_deployment()
    with Activity(f"checking {deployment.name}"):
        checks = all_checks(deployment, Deadline(options.timeout))
    code = verdict_code(checks)
    if options.json:
        document = {"format": 1, "exit_code": code, "checks": [check._asdict() for check in checks]}
        write_output([json.dumps(document, indent=1) + "\n"], "")
    else:
        write_output((line + "\n" for line in table(checks)), "")
    if code:
        bad = [check for check in checks if check.result == (FAILED if code == NO else UNKNOWN)]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        state = "not working" if code == NO else "not verified"
        hint = bad[0].hint or "./clair ps"
        raise Problem(f"deployment {state}, {deployment.name}: {bad[0].name}: {bad[0].detail}{more}", hint, code)
    return 0
