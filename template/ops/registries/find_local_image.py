"""Finds an image in the local Docker: its id and its platform, or the names that come near.

Reads the local Docker; writes nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UNDECIDED, Problem
from ..host import engine
from ..host.escape_text import printable
from ..host.explain_failure import explain
from .parse_reference import Platform, normalised_platform

CALL_SECONDS = 60.0
NEAR_NAMES = 3


@dataclass(frozen=True)
class LocalImage:
    """An image of the local Docker: the name it was asked for by, its id (`sha256:...`), what it runs on."""

    name: str
    id: str
    platform: Platform


def find_local_image(name: str) -> LocalImage:
    """Return the local image that Docker knows by `name`, a name or an id.

    Raises Problem: 2 for no such image, with near names; 3 if Docker gives no readable answer.
    """
    if not name:
        raise Problem("wrong use, clair scan-local: no image given", "./clair scan-local myapp:latest")
    result = engine.docker(
        ["image", "inspect", "--format", "{{json .}}", "--", name], timeout_seconds=CALL_SECONDS, check=False
    )
    if result.returncode != 0:
        text = result.stderr.lower()
        if "no such image" in text or "no such object" in text:
            raise _not_found(name)
        if "invalid reference format" in text or "repository name must be lowercase" in text:
            raise Problem(f"not an image name, {printable(name)!r}: Docker cannot read it", "docker image ls")
        raise explain("docker image inspect", result.stderr)
    try:
        fields = json.loads(result.stdout)
        platform = normalised_platform(*(str(fields.get(key) or "") for key in ("Os", "Architecture", "Variant")))
        return LocalImage(name, str(fields["Id"]), platform)
    except (ValueError, KeyError, AttributeError) as error:
        # What replaces `docker` by the variable DOCKER answers in another form.
        raise Problem(
            f"image unreadable, {printable(name)}: Docker's answer is not understood",
            f"docker image inspect {name}",
            UNDECIDED,
        ) from error


def _not_found(name: str) -> Problem:
    listed = engine.docker(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], timeout_seconds=CALL_SECONDS)
    near = near_names(name, [line for line in listed.stdout.split() if "<none>" not in line])
    told = f"; near ones are {', '.join(near)}" if near else ""
    hint = f"./clair scan-local {near[0]}" if near else "docker image ls"
    return Problem(f"image not found, {printable(name)}: the local Docker has none of that name{told}", hint)


def near_names(name: str, known: Sequence[str]) -> list[str]:
    """Return the names of `known` that may be meant: other tags of the same repository, then what is spelled like it."""
    repository = name.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    same = [one for one in known if one.rpartition(":")[0].rpartition("/")[2] == repository.rpartition("/")[2]]
    spelled = difflib.get_close_matches(name, known, NEAR_NAMES, 0.6)
    return list(dict.fromkeys([*difflib.get_close_matches(name, same, NEAR_NAMES, 0.0), *spelled]))[:NEAR_NAMES]
