"""The lock: one command at a time, and the other one is told who holds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ops.errors import Problem
from ops.host.state_lock import hold_lock

from tests.ops.lifecycle.conftest import Clair


def test_a_second_command_is_told_who_holds_the_lock(clair: Clair) -> None:
    with hold_lock(clair.deployment, "upgrade"):
        result = clair("secrets")

    first, hint = result.err.splitlines()
    assert result.code == 3
    holder = rf"`upgrade`, pid {os.getpid()}, user \S+, since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"deployment busy, state/lock: held by {holder}", first)
    assert hint == "HINT: ./clair secrets, once that has ended"


def test_the_lock_is_free_after_a_failure(clair: Clair) -> None:
    with pytest.raises(RuntimeError), hold_lock(clair.deployment, "up"):
        raise RuntimeError

    with hold_lock(clair.deployment, "up"):
        pass


def test_a_killed_command_leaves_no_lock(clair: Clair) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(clair.folder)!r})\n"
        "from ops.settings import load_deployment\nfrom ops.host.state_lock import hold_lock\n"
        "with hold_lock(load_deployment(), 'up'):\n  print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    assert clair("secrets").code == 3

    holder.kill()
    holder.wait()

    assert clair("secrets").code == 0


def test_nobody_waits_for_the_lock(clair: Clair) -> None:
    with hold_lock(clair.deployment, "up"):
        before = time.monotonic()
        with pytest.raises(Problem, match="deployment busy"), hold_lock(clair.deployment, "down"):
            pass

    assert time.monotonic() - before < 1


def test_commands_at_the_same_time_leave_one_whole_set_of_secrets(clair: Clair) -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: clair("secrets"), range(6)))

    created = [line for result in results for line in result.out.splitlines()]
    assert len(created) == len(set(created)) == 6
    assert {result.code for result in results} <= {0, 3}
    assert 0 in {result.code for result in results}


def test_state_is_for_its_owner_only(clair: Clair) -> None:
    clair.umask = 0o000

    clair("secrets")

    assert (clair.folder / "state").stat().st_mode & 0o777 == 0o700
    assert (clair.folder / "state/lock").stat().st_mode & 0o777 == 0o600
