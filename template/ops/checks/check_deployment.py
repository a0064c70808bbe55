"""Checks everything that can be known before a start and prints all findings, each with what mends it (`check`).

Reads the rendered files, the secrets and Docker; writes nothing. Exit codes: 0 nothing that stops a start (warnings are
printed); 1 a check failed; 2 wrong use. Environment: OFFLINE=1 (no Docker is asked), JSON=1, ALLOW_SMALL=1 (a host below
the size's minimum is a warning).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Collection, List, Optional

from ..errors import NO, Problem
from ..host.read_arguments import Parser
from ..settings import Deployment, load_deployment
from ..state.refuse_change import applied_facts, has_data, older_release_problem
from ..state.track_change import unfinished_problem
from . import check_files, check_host
from .findings import Finding, failures, from_problem, show


def all_findings(
    deployment: Deployment, offline: bool = False, allow_small: bool = False, without: Collection[str] = ()
) -> List[Finding]:
    """Return everything that is wrong, except of the checks in `without`; Docker is asked side by side."""
    findings: List[Finding] = []
    host = [] if offline else [check for name, check in check_host.CHECKS if name not in without]
    with ThreadPoolExecutor(len(check_host.CHECKS)) as pool:
        asked = [pool.submit(check, deployment, allow_small) for check in host]
        for name, check in check_files.CHECKS:
            findings += check(deployment) if name not in without else []
        for future in asked:
            findings += future.result()
    # A daemon that does not answer is said once, not by each who asked it.
    return list(dict.fromkeys(findings))


def require(deployment: Deployment, allow_small: bool = False, without: Collection[str] = ()) -> None:
    """Print all findings of a deployment that is about to start.

    Raises Problem (the finding's code, 1 for several) if one of them stops it.
    """
    _stop(deployment, all_findings(deployment, allow_small=allow_small, without=without))


def require_merged(deployment: Deployment) -> None:
    """Refuse what an update of the template could not merge, before anything else is looked at; asks no Docker.

    Raises Problem (1).
    """
    _stop(deployment, check_files.update_findings(deployment))


def _older_release(deployment: Deployment) -> Optional[Problem]:
    applied = applied_facts(deployment)
    problem = older_release_problem(deployment, applied) if applied else None
    try:
        return problem if problem and has_data(deployment) else None
    except Problem:
        # Docker does not answer, which is a finding of its own.
        return problem


def _stop(deployment: Deployment, findings: List[Finding]) -> None:
    stopping = failures(findings)
    if len(stopping) == 1:
        show([finding for finding in findings if finding.warning])
        raise Problem(stopping[0].sentence, stopping[0].hint, stopping[0].code)
    show(findings)
    if stopping:
        raise Problem(f"not started, {deployment.name}: {len(stopping)} checks failed, see above", "make check", NO)


def main(argv: List[str]) -> int:
    """Run `check`."""
    parser = Parser("check", "Check everything that can be known before a start.")
    parser.add_switch("--offline", "OFFLINE", "ask no Docker")
    parser.add_switch("--json", "JSON", "one JSON object on stdout")
    parser.add_switch("--allow-small", "ALLOW_SMALL", "only warn if this host is smaller than deployment_size asks for")
    options = parser.parse_args(argv)
    deployment = load_deployment(applied=False)
    # Not of `require`'s: the commands that go on with a change, or refuse one, say it themselves.
    unfinished = unfinished_problem(deployment) or (None if options.offline else _older_release(deployment))
    findings = [from_problem(unfinished)] if unfinished else []
    findings += all_findings(deployment, options.offline, options.allow_small)
    names = ["change", *(name for name, _ in check_files.CHECKS)] + (
        [] if options.offline else [name for name, _ in check_host.CHECKS]
    )
    stopping = failures(findings)
    if options.json:
        report = {"ok": not stopping, "checked": names, "findings": [finding.as_dict() for finding in findings]}
        print(json.dumps(report, indent=1))
    else:
        show(findings)
        if not stopping:
            print(f"check passed: {', '.join(names)}")
    return NO if stopping else 0
