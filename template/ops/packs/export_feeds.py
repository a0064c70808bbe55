"""The command `feeds-export`: loads the feeds of this deployment on a host with internet and packs them into one file.

Runs `clairctl export-updaters --strict -z` of the applied Clair release in a container, with the matcher's own settings of
updaters and no secret; needs neither database nor matcher. Writes FILE, whole or not at all; where nothing is applied yet,
secrets and `state/applied/`. Families that this release cannot load are left out and named.
Exit codes: 0 exported; 2 wrong use or configuration; 3 an updater failed, or not done in time. Environment: FILE, TIMEOUT in
seconds (7200).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..clair.run_clairctl import GIBIBYTE, Clairctl, failure, size, usage
from ..errors import UNDECIDED, USAGE, Problem
from ..feeds.list_needed import asked_families, is_enrichment
from ..feeds.match_updaters import duration
from ..feeds.show_feeds import moment
from ..host.heed_signals import end_like_ctrl_c
from ..host.read_arguments import Parser
from ..host.show_progress import Progress
from ..host.state_lock import hold_lock
from ..host.write_files import make_folder
from ..settings import Deployment, load_deployment
from ..state.apply_state import apply_state
from ..state.create_secrets import create_missing
from .form_pack import FORMAT, KIND
from .judge_export import ExportLog
from .write_pack import PackWriter, check_target

TIMEOUT_SECONDS = 7200.0
PARTS = ("tools", "ca")
_TEMPLATE = re.compile(r"^_commit: *['\"]?([^\s'\"]+)", re.MULTILINE)


@dataclass(frozen=True)
class Plan:
    """What is exported: families with their facts, those left out with the reason, and clairctl's configuration."""

    families: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]
    sets: list[str]
    config: Mapping[str, Any]


def plan_export(settings: Mapping[str, Any], updaters: Mapping[str, Any]) -> Plan:
    """Return the plan for deployment.json's `feeds` and the section `updaters` of the matcher's configuration.

    A family whose feed is gone from its default place is left out unless the configuration names another place for it.
    Raises Problem (2) if nothing is left.
    """
    catalogue = settings["catalogue"]
    config = updaters.get("config") or {}
    asked = {name: catalogue.get(name) or {} for name in asked_families(settings)}
    left_out = {
        name: str(family["never_loads"])
        for name, family in asked.items()
        if family.get("never_loads") and not _has_own_place(family, config)
    }
    families = {name: family for name, family in asked.items() if name not in left_out}
    unwanted = {one for name in left_out for one in asked[name].get("sets") or ()}
    wanted = updaters.get("sets")
    if not isinstance(wanted, list):  # without a list clairctl would run every set it has
        wanted = sorted({one for family in families.values() for one in family.get("sets") or ()})
    sets = [str(one) for one in wanted if one not in unwanted]
    if not families or not sets:
        raise Problem(
            "feeds not exported, updater_families: none of them can be loaded by this release", "./clair feeds", USAGE
        )
    return Plan(families, left_out, sets, {"updaters": {"sets": sets, "config": config}})


def _has_own_place(family: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return any(name in (family.get("sets") or ()) or re.fullmatch(family["updaters"], name) for name in config)


def matcher_updaters(deployment: Deployment) -> Mapping[str, Any]:
    """Return the section `updaters` of the applied matcher's configuration. Raises Problem (2)."""
    path = deployment.applied / "tools" / "config.yaml"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return dict(document.get("updaters") or {})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Problem(f"settings unreadable, state/applied/tools/config.yaml: {error}", "./clair up") from error


def prepare(deployment: Deployment, progress: Progress) -> Deployment:
    """Make sure that clairctl has what it mounts; return the deployment as it is applied then.

    Raises Problem (2): nothing is applied and the database is external, so that passwords are still to come.
    """
    if all((deployment.applied / part).is_dir() for part in PARTS):
        return deployment
    if not deployment.bundled_database:
        raise Problem("feeds not exported, state/applied: nothing is applied yet", "./clair up", USAGE)
    with hold_lock(deployment, "feeds-export"):
        for name in create_missing(deployment)[0]:
            progress.line(f"created secrets/{name}")
        apply_state(deployment, PARTS)
    return load_deployment(deployment.root)


def template_release(root: Path) -> str:
    """Return the release of the template that rendered this deployment, as its answers file has it."""
    try:
        match = _TEMPLATE.search((root / ".copier-answers.yml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        match = None
    return match.group(1) if match else "unknown"


def manifest(deployment: Deployment, plan: Plan, log: ExportLog, exported_at: float) -> dict[str, Any]:
    """Return what a pack tells of itself. Its data is at least as new as the beginning of the export."""
    began = moment(exported_at)
    return {
        "format": FORMAT,
        "kind": KIND,
        "clair_release": deployment.release,
        "template_release": template_release(deployment.root),
        "exported_at": began,
        "families": [name for name, family in plan.families.items() if not is_enrichment(name, family)],
        "enrichment": any(is_enrichment(name, family) for name, family in plan.families.items()),
        "left_out": dict(plan.left_out),
        "sets": plan.sets,
        "updaters": {
            name: {"exported_at": began, "finished_at": finished} for name, finished in sorted(log.updaters.items())
        },
    }


@contextmanager
def only_one(deployment: Deployment) -> Iterator[None]:
    """Keep a second export of this deployment away. Raises Problem (3); other commands are not held up."""
    make_folder(deployment.state, 0o700)
    descriptor = os.open(deployment.state / "feeds-export.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Problem(
            "deployment busy, state/feeds-export.lock: another export is running", "./clair ps", UNDECIDED
        ) from error
    finally:
        os.close(descriptor)


def export_feeds(deployment: Deployment, target: Path, timeout_seconds: float, progress: Progress) -> None:
    """Write the pack of a deployment. Raises Problem: an updater failed (3), the file cannot be written (2)."""
    plan = plan_export(deployment.facts["feeds"], matcher_updaters(deployment))
    clairctl, log, began = Clairctl(deployment, "clairctl"), ExportLog(), time.time()
    progress.line(f"exporting {', '.join(plan.families)} for Clair {deployment.release} to {target}")
    for name, reason in plan.left_out.items():
        progress.line(f"left out: {name}, {reason}")
    progress.line(
        f"limits: {clairctl.memory_mib} MiB of memory and {clairctl.spool_bytes // GIBIBYTE} GiB of disk in its container"
    )

    def line(text: str) -> None:
        problem = log.read(text)
        if problem:
            progress.line(problem)

    with PackWriter(target) as pack:

        def tick() -> None:
            of = f" of {log.total}" if log.total else ""
            written = f", {size(pack.size)} written" if pack.size else ""
            progress.waiting(f"{len(log.updaters)}{of} updaters done{written}")

        outcome = clairctl.run(
            ["export-updaters", "--strict", "-z"],
            config=json.dumps(plan.config).encode(),
            take=pack.write,
            line=line,
            tick=tick,
            timeout_seconds=timeout_seconds,
        )
        progress.end()
        what = f"feeds not exported, {target.name}"
        problem = log.problem(plan.families)
        if outcome.code != 0 or outcome.spool_full:
            raise failure(what, outcome, clairctl, problem or "")
        if problem is not None:
            raise Problem(f"{what}: {problem}", "./clair feeds-export, once the feed answers", UNDECIDED)
        pack.finish(manifest(deployment, plan, log, began))
        written = pack.size
    progress.line(
        f"exported {len(log.updaters)} updaters in {duration(outcome.seconds)}, {size(written)}; {usage(outcome)}"
    )
    progress.line(f"next: copy {target.name} and run ./clair feeds-import {target.name}")


def main(argv: Sequence[str]) -> int:
    """Run `feeds-export`."""
    parser = Parser("feeds-export", "Load the feeds of this deployment here and pack them into one file.")
    parser.add_file("the pack")
    parser.add_timeout(TIMEOUT_SECONDS)
    options = parser.parse_args(argv)
    target = check_target(options.file, "feeds-export")
    deployment = load_deployment()
    end_like_ctrl_c()
    progress = Progress()
    try:
        with only_one(deployment):
            export_feeds(prepare(deployment, progress), target, options.timeout, progress)
    finally:
        progress.end()
    print(target)
    sys.stdout.flush()
    return 0
